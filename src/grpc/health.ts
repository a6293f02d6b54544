// grpc.health.v1.Health: serving, and not any more when the daemon drains.

import { type handleUnaryCall, type ServerWritableStream, status } from '@grpc/grpc-js'
import { grpc } from '#service'

const v1 = grpc.health.v1
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = v1.HealthCheckResponse.ServingStatus

type Response = grpc.health.v1.HealthCheckResponse.$Properties
type Watcher = ServerWritableStream<Buffer, Response>

export class Health {
  /** With the empty name, which stands for all of them. */
  readonly #services: ReadonlySet<string>
  readonly #watchers = new Set<Watcher>()
  #status = SERVING

  constructor(services: readonly string[]) {
    this.#services = new Set(['', ...services])
  }

  readonly check: handleUnaryCall<Buffer, Response> = ({ request }, answer) => {
    const service = serviceOf(request)
    if (service !== undefined && this.#services.has(service)) answer(null, { status: this.#status })
    else answer({ code: status.NOT_FOUND, details: 'there is no such service' })
  }

  /** The status now, and again when it changes. */
  readonly watch = (watcher: Watcher): void => {
    const service = serviceOf(watcher.request)
    const isKnown = service !== undefined && this.#services.has(service)
    watcher.write({ status: isKnown ? this.#status : SERVICE_UNKNOWN })
    this.#watchers.add(watcher)
    watcher.on('cancelled', () => this.#watchers.delete(watcher))
  }

  /** Tells all who watch, and ends their calls. */
  drain(): void {
    this.#status = NOT_SERVING
    for (const watcher of this.#watchers) {
      watcher.write({ status: NOT_SERVING })
      watcher.end()
    }
  }
}

/** Undefined where the request cannot be read. */
function serviceOf(request: Buffer): string | undefined {
  try {
    return v1.HealthCheckRequest.decode(request).service
  } catch {
    return undefined
  }
}
