// A gRPC client as docs/grpc.md asks for: over grpc-js, with frames as the bytes that they are.

import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  type Deadline,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js'
import { grpc, millrace } from '#service'
import { type Daemon, frame } from './daemon.ts'
import { generator, type Random } from './random.ts'

const { v1 } = millrace
const RETRY_MS = 5
/** Frames in flight. */
const IN_FLIGHT = 64

export type Ack = millrace.v1.PublishAck
export type AckStream = ClientDuplexStream<Buffer, Ack>

const methods = {
  '/millrace.v1.Ingest/Publish': (bytes: Buffer) => v1.PublishResponse.decode(bytes),
  '/millrace.v1.Query/Rows': (bytes: Buffer) => v1.RowsResponse.decode(bytes),
  '/grpc.health.v1.Health/Check': (bytes: Buffer) => grpc.health.v1.HealthCheckResponse.decode(bytes),
}
type Path = keyof typeof methods

export class GrpcClient {
  readonly #client: Client

  constructor(address: string, options = {}) {
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      ...options,
    })
  }

  call<P extends Path>(
    path: P,
    request: Uint8Array,
    headers: Record<string, string> = {},
    deadline?: Deadline,
  ): Promise<ReturnType<(typeof methods)[P]>> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        (bytes: Uint8Array) => bytes as Buffer,
        methods[path] as (bytes: Buffer) => ReturnType<(typeof methods)[P]>,
        request,
        metadataOf(headers),
        deadline === undefined ? {} : { deadline },
        (error, value) => {
          if (error === null) resolve(value!)
          else reject(error)
        },
      )
    })
  }

  publish(request: Uint8Array, headers?: Record<string, string>, deadline?: Deadline) {
    return this.call('/millrace.v1.Ingest/Publish', request, headers, deadline)
  }

  stream(headers: Record<string, string> = {}): AckStream {
    return this.#client.makeBidiStreamRequest(
      '/millrace.v1.Ingest/PublishStream',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => v1.PublishAck.decode(bytes),
      metadataOf(headers),
    )
  }

  /** Each status as it is told. */
  watch(): AsyncIterable<grpc.health.v1.HealthCheckResponse> {
    return this.#client.makeServerStreamRequest(
      '/grpc.health.v1.Health/Watch',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => grpc.health.v1.HealthCheckResponse.decode(bytes),
      Buffer.alloc(0),
    )
  }

  tap(request: Uint8Array): ClientReadableStream<millrace.v1.TapResponse> {
    return this.#client.makeServerStreamRequest(
      '/millrace.v1.Query/Tap',
      (bytes: Uint8Array) => bytes as Buffer,
      (bytes: Buffer) => v1.TapResponse.decode(bytes),
      request,
    )
  }

  close(): void {
    this.#client.close()
  }
}

function metadataOf(headers: Record<string, string>): Metadata {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

/** Resolves with how a call ended. */
export function endOf(stream: AckStream): Promise<{ code: number; details: string; metadata: Metadata }> {
  stream.on('error', () => {}) // 'status' says it
  return new Promise((resolve) => stream.on('status', resolve))
}

/** The code of millrace's own that a call was refused with. */
export function problemOf({ metadata }: { metadata: Metadata }): string {
  return String(metadata.get('millrace-code')[0])
}

export type { ServiceError }

interface Sent {
  body: Buffer
  events: number
  sum: number
}

/** Keeps what is not acknowledged, and after a reconnect sends all of it again from the first sequence on. */
export class StreamingClient {
  readonly name: string
  acked = 0
  ackedEvents = 0
  ackedSum = 0
  reconnects = 0
  resent = 0
  /** Codes of refusals that were heard. */
  readonly errors = new Set<string>()
  readonly #daemon: Daemon
  readonly #random: Omit<Random, 'seed'>
  #stopped = false
  #number = 0
  /** Not acknowledged, in order; the first has sequence #first. */
  #unacked: Sent[] = []
  #first = 0
  #pump: () => void = () => {}

  constructor(daemon: Daemon, name: string, seed: number) {
    this.#daemon = daemon
    this.name = name
    this.#random = generator(seed)
  }

  stop(): void {
    this.#stopped = true
    this.#pump()
  }

  /** Sends until it is stopped and everything is acknowledged. */
  async run(): Promise<void> {
    while (!this.#daemon.ended && !(this.#stopped && this.#unacked.length === 0)) {
      const client = new GrpcClient(this.#daemon.grpc)
      await this.#connection(client)
      client.close()
      if (this.#stopped && this.#unacked.length === 0) return
      this.reconnects++
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  async #connection(client: GrpcClient): Promise<void> {
    const headers = { 'millrace-producer': this.name, 'millrace-sequence': String(this.#first) }
    const stream = client.stream(headers)
    const end = endOf(stream)
    let sent = this.#first
    let ended = false
    this.#pump = () => {
      if (ended) return
      while (sent - this.#first < IN_FLIGHT) {
        const at = sent - this.#first
        if (at < this.#unacked.length) this.resent++
        else if (this.#stopped) break
        else this.#unacked.push(this.#make())
        stream.write(this.#unacked[at].body)
        sent++
      }
      if (!this.#stopped || this.#unacked.length > 0) return
      ended = true
      stream.end()
    }
    stream.on('data', ({ sequence }: Ack) => {
      this.#acknowledged(Number(sequence))
      this.#pump()
    })
    const { metadata } = await end
    ended = true
    const code = problemOf({ metadata })
    if (code !== 'undefined') this.errors.add(code)
  }

  #make(): Sent {
    const numbers = Array.from({ length: this.#random.between(1, 20) }, () => this.#number++)
    const body = frame(...numbers.map((value) => ({ subject: this.name, value, id: String(value) })))
    return { body, events: numbers.length, sum: numbers.reduce((sum, value) => sum + value, 0) }
  }

  #acknowledged(below: number): void {
    for (const { events, sum } of this.#unacked.splice(0, below - this.#first)) {
      this.acked++
      this.ackedEvents += events
      this.ackedSum += sum
    }
    this.#first = Math.max(this.#first, below)
  }
}
