// What listeners and gateways share: the server on the data port, and the queries on it.

import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js'
import { mountQueries, mountUnknown, type RouteParts } from '../api/routes.ts'
import { type LogStatus, status } from '../api/status.ts'
import { Tails } from '../api/tail.ts'
import { Auth } from '../auth.ts'
import type { Config } from '../config/config.ts'
import type { Problem } from '../errors.ts'
import { correlationIdOf, makeCorrelationId } from '../ingest/correlation.ts'
import { Query } from '../results/query.ts'
import { openStores, type Stores } from '../results/stores.ts'
import { LineRate, type Logger } from '../telemetry/logger.ts'
import { openedStores } from './processor.ts'
import { FinalError, type RoleParts } from './role.ts'

const REFUSALS_LOGGED_PER_SECOND = 10
const STATUS_TIMEOUT_MS = 1000

export class DataPort {
  readonly app: TemplatedApp
  readonly stores: Stores
  readonly auth: Auth
  draining = false
  readonly refused: (problem: Problem, correlationId: string) => void
  readonly #parts: RoleParts
  readonly #closeServer: (socket: us_listen_socket) => void
  #socket: us_listen_socket | undefined
  #tails: Tails | undefined

  /** Nothing is mounted yet. */
  static async open(parts: RoleParts): Promise<DataPort> {
    const uWS = await loadServer()
    const { tls } = parts.config.http
    const app = tls ? uWS.SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key }) : uWS.App()
    const stores = await openStores(parts.config.dataDir, parts.config.log.partitions, openedStores)
    return new DataPort(parts, app, stores, uWS.us_listen_socket_close)
  }

  private constructor(
    parts: RoleParts,
    app: TemplatedApp,
    stores: Stores,
    closeServer: (socket: us_listen_socket) => void,
  ) {
    this.#parts = parts
    this.app = app
    this.stores = stores
    this.auth = new Auth(parts.config.auth, 1 / parts.config.cluster.listeners)
    this.refused = refusalLog(parts.logger)
    this.#closeServer = closeServer
  }

  /** Mounts the queries behind what the role has mounted, and listens. `publish`: this port takes events. */
  async listen(log: LogStatus, { publish }: { publish: boolean }): Promise<void> {
    const { config } = this.#parts
    const routes: RouteParts = {
      auth: this.auth,
      refused: this.refused,
      draining: () => this.draining,
      correlationId: (req) => correlationIdOf(req) || makeCorrelationId(),
      query: new Query(this.stores),
      status: () => daemonStatus(this.#parts, this.stores, log),
    }
    this.#tails = new Tails(routes, this.#parts.taps)
    this.#tails.mount(this.app)
    mountQueries(this.app, routes)
    mountUnknown(this.app, routes, { publish })
    this.#socket = await listen(this.app, config)
  }

  /** Takes no new connections, and ends those that would not end by themselves. */
  stopListening(): void {
    this.draining = true
    this.#tails?.drain()
    if (this.#socket !== undefined) this.#closeServer(this.#socket)
  }

  async close(): Promise<void> {
    this.app.close()
    await this.stores.close()
  }
}

export async function daemonStatus({ conversation }: RoleParts, stores: Stores, log: LogStatus) {
  return status(stores, await conversation.ask('daemon', STATUS_TIMEOUT_MS), log)
}

async function loadServer() {
  try {
    return (await import('uWebSockets.js')).default
  } catch (error) {
    const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
    throw new FinalError(
      `uWebSockets.js cannot be loaded: it needs Node 20 with glibc 2.27 or later, or Node 22 to 24 with glibc ` +
        `2.38 or later; this is Node ${process.versions.node} with ` +
        `${header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : 'no glibc'} (${(error as Error).message})`,
      { cause: error },
    )
  }
}

function listen(app: TemplatedApp, config: Config): Promise<us_listen_socket> {
  const { host, port } = config.http.listen
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) resolve(socket)
      else reject(new FinalError(`cannot listen on ${host}:${port}`))
    })
  })
}

/** A line for each refused request, at a bounded rate. Never an event's data. */
export function refusalLog(logger: Logger): (problem: Problem, correlationId: string) => void {
  const rate = new LineRate(REFUSALS_LOGGED_PER_SECOND)
  return (problem, correlationId) => {
    const withheld = rate.next(Date.now())
    if (withheld === undefined) return
    const line = { correlationId, code: problem.code, detail: problem.message, withheld }
    if (problem.code === 'internal') logger.error({ ...line, err: problem.cause }, 'request failed')
    else logger.info(line, 'request refused')
  }
}
