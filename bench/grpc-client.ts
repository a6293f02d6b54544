// A client of the gRPC door that costs little: straight over HTTP/2, with messages framed once.

import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { millrace } from '#service'
import type { StreamLoad } from './stream-client.ts'

const HEAD_BYTES = 5

/** A message as gRPC frames it: not compressed, its length, its bytes. */
export function grpcMessage(payload: Buffer): Buffer {
  const message = Buffer.alloc(HEAD_BYTES + payload.length)
  message.writeUInt32BE(payload.length, 1)
  payload.copy(message, HEAD_BYTES)
  return message
}

export class GrpcLoadClient {
  readonly #load: StreamLoad
  readonly #unary: boolean
  #session!: ClientHttp2Session
  #stream: ClientHttp2Stream | undefined
  #rest: Buffer = Buffer.alloc(0)
  #sent = 0
  #acked = 0
  /** When each of the messages in flight was sent. */
  readonly #sentAt: Float64Array
  #stopped = false
  #closing = false

  /** `unary`: a call for each message, and not one stream for all of them. */
  constructor(load: StreamLoad, { unary }: { unary: boolean }) {
    this.#load = load
    this.#unary = unary
    this.#sentAt = new Float64Array(load.inFlight)
  }

  open(address: string): Promise<void> {
    return new Promise((resolve) => {
      const session = connect(`http://${address}`)
      this.#session = session
      session.on('error', this.#load.failed)
      session.on('close', () => {
        if (!this.#closing) this.#load.failed(new Error('the daemon closed a connection'))
      })
      session.once('remoteSettings', () => resolve())
    })
  }

  get idle(): boolean {
    return this.#acked === this.#sent
  }

  /** Sends as much as may be in flight. */
  start(): void {
    if (!this.#unary) {
      const stream = this.#request('PublishStream')
      this.#stream = stream
      stream.on('data', (data: Buffer) => this.#read(data))
    }
    this.#send()
  }

  stop(): void {
    this.#stopped = true
  }

  close(): void {
    this.#closing = true
    this.#session.destroy()
  }

  #request(method: string): ClientHttp2Stream {
    const stream = this.#session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: `/millrace.v1.Ingest/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    stream.on('error', this.#load.failed)
    const check = (headers: Record<string, unknown>) => {
      const status = headers['grpc-status']
      if (status !== undefined && status !== '0') this.#load.failed(new Error(JSON.stringify(headers)))
    }
    stream.on('response', check)
    stream.on('trailers', check)
    return stream
  }

  #send(): void {
    const { frames, inFlight } = this.#load
    const now = performance.now()
    this.#stream?.cork()
    while (!this.#stopped && this.#sent < this.#acked + inFlight) {
      const message = frames[this.#sent % frames.length]
      this.#sentAt[this.#sent % inFlight] = now
      this.#sent++
      if (this.#unary) this.#call(message)
      else this.#stream!.write(message)
    }
    this.#stream?.uncork()
  }

  #call(message: Buffer): void {
    const sentAt = performance.now()
    const stream = this.#request('Publish')
    stream.resume()
    stream.on('end', () => {
      this.#load.latency()?.record(performance.now() - sentAt)
      this.#load.acked(1)
      this.#acked++
      this.#send()
    })
    stream.end(message)
  }

  #read(data: Buffer): void {
    let bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    while (bytes.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + bytes.readUInt32BE(1)
      if (bytes.length < end) break
      this.#ack(Number(millrace.v1.PublishAck.decode(bytes.subarray(HEAD_BYTES, end)).sequence))
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes
    this.#send()
  }

  #ack(acked: number): void {
    const latency = this.#load.latency()
    if (latency !== undefined) {
      const now = performance.now()
      for (let n = this.#acked; n < acked; n++) latency.record(now - this.#sentAt[n % this.#load.inFlight])
    }
    this.#load.acked(acked - this.#acked)
    this.#acked = acked
  }
}
