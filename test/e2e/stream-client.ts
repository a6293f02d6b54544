// A client of /v1/stream as docs/stream.md asks for: it keeps what is not acknowledged, and after a reconnect sends all
// of it again from the first sequence on. Over undici's WebSocket, which knows nothing of our server.

import { WebSocket } from 'undici'
import { type Daemon, frame } from './daemon.ts'
import { generator, type Random } from './random.ts'

const RETRY_MS = 5
/** Messages in flight. */
const IN_FLIGHT = 64

interface Sent {
  body: Buffer
  events: number
  sum: number
}

export class StreamClient {
  readonly name: string
  acked = 0
  ackedEvents = 0
  ackedSum = 0
  /** Times that a connection was lost or refused. */
  reconnects = 0
  /** Messages that were sent on more than one connection. */
  resent = 0
  /** Codes of errors that were heard. */
  readonly errors = new Set<string>()
  readonly #daemon: Daemon
  readonly #random: Omit<Random, 'seed'>
  readonly #data: Uint8Array
  #stopped = false
  #number = 0
  /** Not acknowledged, in order; the first has sequence #first. */
  #unacked: Sent[] = []
  #first = 0
  #socket: WebSocket | undefined

  /** `bytes`: data carried by each event, beside its number. */
  constructor(daemon: Daemon, name: string, seed: number, { bytes = 0 } = {}) {
    this.#daemon = daemon
    this.name = name
    this.#random = generator(seed)
    this.#data = new Uint8Array(bytes)
  }

  stop(): void {
    this.#stopped = true
    this.#pump()
  }

  /** Loses the connection, with whatever is on its way. */
  drop(): void {
    this.#socket?.close()
    this.#socket = undefined
    this.#lost()
  }

  /** Sends until it is stopped and everything is acknowledged. */
  async run(): Promise<void> {
    while (!this.#daemon.ended && !(this.#stopped && this.#unacked.length === 0)) {
      await this.#connection()
      if (this.#stopped && this.#unacked.length === 0) break
      this.reconnects++
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    this.#socket?.close()
  }

  #lost: () => void = () => {}
  #pump: () => void = () => {}

  /** One connection: resolves when it is over. */
  #connection(): Promise<void> {
    return new Promise((resolve) => {
      const url = `${this.#daemon.http.replace('http', 'ws')}/v1/stream`
      const headers = { 'millrace-producer': this.name, 'millrace-sequence': String(this.#first) }
      const socket = new WebSocket(url, { protocols: ['millrace.v1'], headers })
      socket.binaryType = 'arraybuffer'
      this.#socket = socket
      let sent = this.#first
      let creditMessages = 0
      let creditBytes = 0
      let sentBytes = 0
      let over = false
      const done = () => {
        over = true
        resolve()
      }
      this.#lost = done
      this.#pump = () => {
        if (over) return
        if (this.#stopped && this.#unacked.length === 0) {
          socket.close()
          done()
          return
        }
        while (sent < creditMessages && sentBytes < creditBytes) {
          const at = sent - this.#first
          if (at >= IN_FLIGHT) break
          if (at < this.#unacked.length) this.resent++
          else if (this.#stopped) break
          else this.#unacked.push(this.#make())
          const { body } = this.#unacked[at]
          socket.send(body)
          sentBytes += body.length
          sent++
        }
      }
      socket.addEventListener('message', ({ data }) => {
        if (over) return
        if (typeof data === 'string') {
          const said = JSON.parse(data)
          if (said.error !== undefined) this.errors.add(said.error.code)
          else {
            creditMessages = said.hello.credit.messages
            creditBytes = said.hello.credit.bytes
          }
        } else {
          const ack = new DataView(data as ArrayBuffer)
          this.#acknowledged(Number(ack.getBigUint64(0, true)))
          creditMessages = Number(ack.getBigUint64(8, true))
          creditBytes = Number(ack.getBigUint64(16, true))
        }
        this.#pump()
      })
      // undici tells a refused handshake by an error alone.
      socket.addEventListener('error', done)
      socket.addEventListener('close', done)
    })
  }

  #make(): Sent {
    const numbers = Array.from({ length: this.#random.between(1, 20) }, () => this.#number++)
    const data = this.#data
    const body = frame(...numbers.map((value) => ({ subject: this.name, value, data, id: String(value) })))
    return { body, events: numbers.length, sum: numbers.reduce((sum, value) => sum + value, 0) }
  }

  /** Everything below this sequence is durable. */
  #acknowledged(below: number): void {
    for (const { events, sum } of this.#unacked.splice(0, below - this.#first)) {
      this.acked++
      this.ackedEvents += events
      this.ackedSum += sum
    }
    this.#first = Math.max(this.#first, below)
  }
}
