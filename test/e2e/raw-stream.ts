// A bare connection to /v1/stream, for what no WebSocket library would send.

import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { clientFrame } from '../../bench/stream-client.ts'
import { until } from '../until.ts'
import { atEnd, type Daemon } from './daemon.ts'

const KEY = 'AAAAAAAAAAAAAAAAAAAAAA=='

export interface Handshake {
  path?: string
  method?: string
  /** Added, or in the place of those that a handshake has; undefined takes one out. */
  headers?: Record<string, string | undefined>
}

export class RawStream {
  readonly #socket: Socket
  #bytes: Buffer = Buffer.alloc(0)
  /** Of the answer to the handshake. */
  status = 0
  head = ''
  /** The body of a refused handshake. */
  body = ''
  hello:
    | { sequence: number; durability: string; maxMessage: number; correlationId: string; credit: Credit }
    | undefined
  /** The newest ack. */
  durable = 0
  credit: Credit = { messages: 0, bytes: 0 }
  acks = 0
  // biome-ignore lint/suspicious/noExplicitAny: a problem
  error: { error: any; sequence: number; retryAfter?: number } | undefined
  /** Of the close frame. */
  code: number | undefined
  reason = ''
  closed = false

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (data) => this.#read(data))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
  }

  /** Sends the handshake; resolves with the hello, or when the handshake is refused. */
  static async open(t: TestContext, daemon: Daemon, handshake: Handshake = {}): Promise<RawStream> {
    const { hostname, port } = new URL(daemon.http)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    atEnd(t, () => socket.destroy())
    const stream = new RawStream(socket)
    const headers = {
      host: 'x',
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-version': '13',
      'sec-websocket-key': KEY,
      'sec-websocket-protocol': 'millrace.v1',
      ...handshake.headers,
    }
    const lines = Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : `${name}: ${value}`,
    )
    const { method = 'GET', path = '/v1/stream' } = handshake
    socket.write(`${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`)
    await until(() => stream.hello !== undefined || stream.body !== '' || stream.closed, 'the handshake')
    return stream
  }

  /** Messages of frames. */
  send(...bodies: Buffer[]): void {
    this.raw(Buffer.concat(bodies.map(clientFrame)))
  }

  /** Bytes as they are. Resolves when the system has them. */
  raw(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      this.#socket.write(bytes, () => resolve())
    })
  }

  /** Reads nothing more. */
  deafen(): void {
    this.#socket.pause()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  over(): Promise<void> {
    return until(() => this.closed, 'the connection to end')
  }

  #read(data: Buffer): void {
    let bytes = Buffer.concat([this.#bytes, data])
    if (this.status === 0) {
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) {
        this.#bytes = bytes
        return
      }
      this.head = bytes.toString('latin1', 0, end).toLowerCase()
      this.status = Number(this.head.slice(9, 12))
      bytes = bytes.subarray(end + 4)
    }
    if (this.status !== 101) {
      this.body += bytes.toString()
      return
    }
    while (bytes.length >= 2) {
      const short = bytes[1] & 127
      const from = short === 126 ? 4 : 2
      if (bytes.length < from) break
      const length = short === 126 ? bytes.readUInt16BE(2) : short
      if (bytes.length < from + length) break
      this.#message(bytes[0], bytes.subarray(from, from + length))
      bytes = bytes.subarray(from + length)
    }
    this.#bytes = bytes
  }

  #message(first: number, payload: Buffer): void {
    if (first === 0x81) {
      const said = JSON.parse(payload.toString())
      if (said.hello === undefined) this.error = said
      else {
        this.hello = said.hello
        this.credit = said.hello.credit
      }
    } else if (first === 0x82) {
      this.acks++
      const [durable, messages, bytes] = [0, 8, 16].map((at) => Number(payload.readBigUInt64LE(at)))
      this.durable = durable
      this.credit = { messages, bytes }
    } else if (first === 0x88) {
      this.code = payload.readUInt16BE(0)
      this.reason = payload.toString('utf8', 2)
      this.#socket.end()
    }
  }
}

interface Credit {
  messages: number
  bytes: number
}
