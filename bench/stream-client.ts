// A client of /v1/stream that costs little: frames are masked once, and what is due at once leaves in one write.

import { connect, type Socket } from 'node:net'
import type { Histogram } from '../src/cli/histogram.ts'

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d])
const ACK_BYTES = 24

/** A binary message as a client sends it (RFC 6455, 5.2). */
export function clientFrame(payload: Buffer): Buffer {
  const extended = payload.length < 126 ? 0 : payload.length < 65_536 ? 2 : 8
  const frame = Buffer.alloc(6 + extended + payload.length)
  frame[0] = 0x82
  frame[1] = 0x80 | (extended === 0 ? payload.length : extended === 2 ? 126 : 127)
  if (extended === 2) frame.writeUInt16BE(payload.length, 2)
  else if (extended === 8) frame.writeBigUInt64BE(BigInt(payload.length), 2)
  MASK.copy(frame, 2 + extended)
  const at = 6 + extended
  for (let i = 0; i < payload.length; i++) frame[at + i] = payload[i] ^ MASK[i & 3]
  return frame
}

function payloadBytes(frame: Buffer): number {
  const short = frame[1] & 127
  return frame.length - 6 - (short < 126 ? 0 : short === 126 ? 2 : 8)
}

export interface StreamLoad {
  /** Messages, framed, sent in turn. */
  frames: Buffer[]
  /** Messages sent and not acknowledged. */
  inFlight: number
  producer: string | undefined
  failed(error: Error): void
  /** So many messages were acknowledged. */
  acked(messages: number): void
  /** Where latencies go while it is measured. */
  latency(): Histogram | undefined
}

export class StreamClient {
  readonly #load: StreamLoad
  #socket!: Socket
  #rest: Buffer | undefined
  #handshaken = false
  #sent = 0
  #acked = 0
  /** Sequence below which messages may be sent, and bytes. */
  #creditMessages = 0
  #creditBytes = 0
  #sentBytes = 0
  /** When each of the messages in flight was sent. */
  readonly #sentAt: Float64Array
  #stopped = false
  #closing = false

  constructor(load: StreamLoad) {
    this.#load = load
    this.#sentAt = new Float64Array(load.inFlight)
  }

  open(url: string): Promise<void> {
    const { hostname, port, host } = new URL(url)
    const { producer, failed } = this.#load
    const named = producer === undefined ? '' : `millrace-producer: ${producer}\r\nmillrace-sequence: 0\r\n`
    return new Promise((resolve) => {
      const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () => {
        socket.write(
          `GET /v1/stream HTTP/1.1\r\nhost: ${host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n` +
            'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n' +
            `sec-websocket-protocol: millrace.v1\r\n${named}\r\n`,
        )
      })
      this.#socket = socket
      socket.on('error', failed)
      socket.on('close', () => {
        if (!this.#closing) failed(new Error('the daemon closed a stream'))
      })
      socket.on('data', (data) => this.#read(data, resolve))
    })
  }

  get idle(): boolean {
    return this.#acked === this.#sent
  }

  /** Sends as much as may be in flight. */
  start(): void {
    this.#send()
  }

  stop(): void {
    this.#stopped = true
  }

  close(): void {
    this.#closing = true
    this.#socket.destroy()
  }

  #send(): void {
    const { frames, inFlight } = this.#load
    const socket = this.#socket
    if (this.#stopped) return
    const now = performance.now()
    const until = Math.min(this.#acked + inFlight, this.#creditMessages)
    if (this.#sent >= until) return
    socket.cork()
    while (this.#sent < until && this.#sentBytes < this.#creditBytes) {
      const frame = frames[this.#sent % frames.length]
      socket.write(frame)
      this.#sentAt[this.#sent % inFlight] = now
      this.#sentBytes += payloadBytes(frame)
      this.#sent++
    }
    socket.uncork()
  }

  #read(data: Buffer, opened: () => void): void {
    let bytes = this.#rest === undefined ? data : Buffer.concat([this.#rest, data])
    this.#rest = undefined
    if (!this.#handshaken) {
      const head = bytes.indexOf('\r\n\r\n')
      if (head < 0) {
        this.#rest = bytes
        return
      }
      const status = bytes.toString('latin1', 9, 12)
      if (status !== '101') {
        this.#load.failed(new Error(`the handshake was answered ${status}`))
        return
      }
      this.#handshaken = true
      bytes = bytes.subarray(head + 4)
    }
    while (bytes.length >= 2) {
      const short = bytes[1] & 127
      const from = short === 126 ? 4 : 2
      if (bytes.length < from) break
      const length = short === 126 ? bytes.readUInt16BE(2) : short
      if (bytes.length < from + length) break
      this.#message(bytes[0] & 15, bytes.subarray(from, from + length), opened)
      bytes = bytes.subarray(from + length)
    }
    if (bytes.length > 0) this.#rest = bytes
    this.#send()
  }

  #message(opcode: number, payload: Buffer, opened: () => void): void {
    if (opcode === 2 && payload.length === ACK_BYTES) {
      const acked = Number(payload.readBigUInt64LE(0))
      this.#creditMessages = Number(payload.readBigUInt64LE(8))
      this.#creditBytes = Number(payload.readBigUInt64LE(16))
      const latency = this.#load.latency()
      if (latency !== undefined) {
        const now = performance.now()
        for (let n = this.#acked; n < acked; n++) latency.record(now - this.#sentAt[n % this.#load.inFlight])
      }
      this.#load.acked(acked - this.#acked)
      this.#acked = acked
    } else if (opcode === 1) {
      const said = JSON.parse(payload.toString())
      if (said.error !== undefined) this.#load.failed(new Error(JSON.stringify(said)))
      else {
        this.#creditMessages = said.hello.credit.messages
        this.#creditBytes = said.hello.credit.bytes
        opened()
      }
    }
  }
}
