// Bodies over /v1/stream (docs/stream.md): a queue of what is not acknowledged, and one connection after another that
// sends it from its head on.
//
//   #first                        #next
//     ▼                             ▼
//   [ sent, no ack yet ............ | not sent on this connection ... ]
//     ◄── an ack takes from here                  deliver adds here ──►

import { type ClientOptions, WebSocket } from 'ws'
import { STREAM_MESSAGE_BYTES_MAX } from '../limits.ts'
import {
  type Ack,
  ANSWER_MS_MAX,
  type Body,
  CONNECT_MS_MAX,
  type Door,
  type DoorOptions,
  type Durability,
  emptyStats,
  Patience,
} from './door.ts'
import { errorOf, MillraceError, ownError, retryAfterMs } from './error.ts'
import { broken, type Target } from './target.ts'

const PROTOCOL = 'millrace.v1'
const ACK_BYTES = 24
/** Of the answer to a refused handshake, bytes. */
const REFUSAL_BYTES_MAX = 16_384
/** How long the daemon may take to close its side, milliseconds. */
const CLOSE_MS_MAX = 1_000

interface Pending {
  body: Body
  sent: boolean
  resolve(ack: Ack): void
  reject(error: MillraceError): void
}

export class StreamDoor implements Door {
  readonly bodyBytesMax = STREAM_MESSAGE_BYTES_MAX
  readonly stats = emptyStats()
  readonly #options: DoorOptions & { target: Target }
  readonly #patience: Patience
  /** In order; the first has sequence #first. At most as many as the client has in flight. */
  #pending: Pending[] = []
  #first: number
  /** Sequence of the first one that was not sent on this connection. */
  #next = 0
  #socket: WebSocket | undefined
  /** Set when the hello is there. */
  #durability: Durability | undefined
  #credit = { messages: 0, bytes: 0 }
  #sentBytes = 0
  /** Why this connection is about to end, where the daemon said so. */
  #farewell: MillraceError | undefined
  /** Someone answered before: a broken connection is then worth waiting for. */
  #answered = false
  #stopped: MillraceError | undefined
  #retry: NodeJS.Timeout | undefined
  /** Fires when a hello or an ack is waited for, and nothing comes. */
  #silence: NodeJS.Timeout | undefined

  constructor(options: DoorOptions & { target: Target }) {
    this.#options = options
    this.#patience = new Patience(options.retryForMs)
    this.#first = options.sequence
  }

  deliver(body: Body): Promise<Ack> {
    this.stats.sent += body.events
    if (body.type !== 'application/x-protobuf') {
      return this.#refuse(body, 'unsupported-media-type', `a stream takes frames, not ${body.type}`)
    }
    if (body.bytes.length > STREAM_MESSAGE_BYTES_MAX) {
      const most = `a message of a stream has ${STREAM_MESSAGE_BYTES_MAX} bytes at most`
      return this.#refuse(body, 'too-large', `${most}, not ${body.bytes.length}`)
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ body, sent: false, resolve, reject })
      if (this.#durability !== undefined) this.#pump()
      else if (this.#socket === undefined && this.#retry === undefined) this.#connect()
    })
  }

  stopRetrying(error: MillraceError): void {
    this.#stopped = error
    if (this.#retry !== undefined) this.#giveUp(error)
  }

  abort(error: MillraceError): void {
    this.#stopped = error
    this.#giveUp(error)
    this.#socket?.terminate()
  }

  async close(): Promise<void> {
    const socket = this.#socket
    if (socket === undefined) return
    const closed = new Promise((resolve) => socket.once('close', resolve))
    const timer = setTimeout(() => socket.terminate(), CLOSE_MS_MAX)
    socket.close(1000)
    await closed
    clearTimeout(timer)
  }

  #connect(): void {
    const { target, producer } = this.#options
    const address = `${target.origin.replace(/^http/, 'ws')}${target.prefix}/v1/stream`
    const headers = {
      ...target.headers,
      'millrace-producer': producer,
      'millrace-sequence': String(this.#first),
    }
    const options: ClientOptions = { headers, perMessageDeflate: false, handshakeTimeout: CONNECT_MS_MAX }
    const socket = new WebSocket(address, PROTOCOL, options)
    this.#socket = socket
    this.#next = this.#first
    this.#credit = { messages: 0, bytes: 0 }
    this.#sentBytes = 0
    this.#farewell = undefined
    this.#silence = setTimeout(() => socket.terminate(), ANSWER_MS_MAX)
    let failure: Error | undefined
    socket.on('message', (data: Buffer, isBinary) => {
      this.#silence?.refresh()
      try {
        if (isBinary) this.#ack(data)
        else this.#told(data.toString())
      } catch {
        this.#farewell = ownError('unexpected-answer', 'this stream does not speak millrace.v1')
        socket.terminate()
      }
    })
    socket.on('unexpected-response', (_, response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (text.length > REFUSAL_BYTES_MAX) response.destroy()
      })
      response.on('close', () => {
        const after = retryAfterMs(response.headers['retry-after'])
        this.#farewell = errorOf(response.statusCode!, text, after)
        this.#answered = true
        socket.terminate()
      })
    })
    socket.on('error', (error) => {
      failure ??= error
    })
    socket.on('close', () => {
      clearTimeout(this.#silence)
      this.#silence = undefined
      this.#socket = undefined
      this.#durability = undefined
      this.#lost(failure)
    })
  }

  #told(text: string): void {
    const { hello, error, sequence, retryAfter } = JSON.parse(text)
    if (hello !== undefined) {
      const { durability, credit } = hello
      if (typeof durability !== 'string') throw new TypeError('no durability')
      this.#credit = { messages: wholeNumber(credit.messages), bytes: wholeNumber(credit.bytes) }
      this.#durability = durability as Durability
      this.#answered = true
      this.#pump()
    } else if (error !== undefined) {
      if (typeof error.code !== 'string') throw new TypeError('an error without a code')
      this.#acknowledged(sequence)
      this.#farewell = errorOf(error.status, JSON.stringify(error), (retryAfter ?? 0) * 1000)
    }
  }

  #ack(data: Buffer): void {
    if (data.length !== ACK_BYTES) return
    this.#credit = { messages: Number(data.readBigUInt64LE(8)), bytes: Number(data.readBigUInt64LE(16)) }
    this.#acknowledged(Number(data.readBigUInt64LE(0)))
    this.#pump()
  }

  /** Everything below this sequence is durable. */
  #acknowledged(below: number): void {
    const count = below - this.#first
    if (!(count > 0)) return
    if (this.#durability === undefined || below > this.#next)
      throw new RangeError('an ack of what was not sent')
    this.#patience.renew()
    const { producer } = this.#options
    for (const { body, resolve } of this.#pending.splice(0, count)) {
      const accepted = body.events
      this.stats.acked += accepted
      resolve({ durability: this.#durability!, accepted, producer, sequence: this.#first++ })
    }
    if (this.#pending.length === 0) {
      clearTimeout(this.#silence)
      this.#silence = undefined
    }
  }

  /** Sends what the credit allows. */
  #pump(): void {
    const socket = this.#socket
    if (socket === undefined || this.#farewell !== undefined) return
    const end = Math.min(this.#first + this.#pending.length, this.#credit.messages)
    for (; this.#next < end && this.#sentBytes < this.#credit.bytes; this.#next++) {
      const pending = this.#pending[this.#next - this.#first]
      if (pending.sent) this.stats.retries++
      pending.sent = true
      this.stats.requests++
      this.#sentBytes += pending.body.bytes.length
      socket.send(pending.body.bytes)
    }
    if (this.#pending.length > 0) this.#silence ??= setTimeout(() => socket.terminate(), ANSWER_MS_MAX)
  }

  /** The connection is over. `failure`: of the connection itself. */
  #lost(failure: Error | undefined): void {
    const said = this.#farewell
    if (this.#pending.length === 0) return
    if (said?.refused) {
      // A message at fault is the first one without an ack. A handshake that is refused is so for all of them.
      if (this.#next > this.#first && said.code !== 'over-credit') {
        const [{ body, reject }] = this.#pending.splice(0, 1)
        this.#first++
        this.stats.refused += body.events
        reject(said)
        if (this.#pending.length > 0) this.#connect()
      } else this.#giveUp(said)
      return
    }
    const lost = failure ?? new Error('connection broken')
    const why =
      said === undefined ? broken(this.#options.target, lost, this.#answered) : { final: false, error: said }
    if (why.final || this.#stopped !== undefined) {
      this.#giveUp(why.final ? why.error : this.#stopped!)
      return
    }
    const wait = this.#patience.next(why.error.retryAfterMs)
    if (wait === undefined) {
      const { code, status, correlationId, message } = why.error
      const parts = { status, correlationId, cause: why.error }
      this.#giveUp(new MillraceError(code, this.#patience.spent(message), parts))
      return
    }
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.#connect()
    }, wait)
  }

  /** All that waits for an ack fails with this error. Their sequences are not used again. */
  #giveUp(error: MillraceError): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.#patience.renew()
    const pending = this.#pending
    this.#pending = []
    this.#first += pending.length
    for (const { body, reject } of pending) {
      if (error.refused) this.stats.refused += body.events
      else this.stats.unanswered += body.events
      reject(error)
    }
  }

  #refuse(body: Body, code: 'too-large' | 'unsupported-media-type', detail: string): Promise<never> {
    this.stats.refused += body.events
    return Promise.reject(new MillraceError(code, `${code}: ${detail}`, { refused: true }))
  }
}

/** Throws where it is none. */
function wholeNumber(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new TypeError('a credit is a whole number')
  return value as number
}
