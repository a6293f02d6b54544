// One partition's messages from a number on, fetched a little ahead of who takes them.
//
// A session is a consumer at the server that starts at the next number that is missing here; it ends with the connection,
// when the server says so, or when the server says nothing. The next one goes on. Requests for more are made for as many
// bytes as there is room for, each before the last one is used up: the server ends a request when its bytes are.

import { setTimeout as wait } from 'node:timers/promises'
import {
  AckPolicy,
  createInbox,
  DeliverPolicy,
  type JetStreamManager,
  type Msg,
  type NatsConnection,
  nanos,
  type StoredMsg,
  type StreamInfo,
} from 'nats'
import {
  CONSUMER_IDLE_MS_MAX,
  FETCH_BYTES_MAX,
  FETCH_SEGMENTS_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  STALL_MS_MAX,
} from '../../limits.ts'
import { LogUnavailable } from '../log.ts'
import type { Link } from './connection.ts'
import { deliveryOf } from './delivery.ts'
import { every } from './every.ts'
import { apiCode, findStream, identityOf, managerOf, type StreamIdentity } from './stream.ts'

const HEARTBEAT_MS = STALL_MS_MAX / 2
/** A request for more that is not used up is made anew after this time. */
const REQUEST_MS = 30_000
const ID = 'Nats-Msg-Id'
const NO_SUCH_MESSAGE = 10037
/** Ends of a request that are no ends of the session. */
const REQUEST_OVER =
  /^(message size exceeds maxbytes|batch completed|request timeout|interest expired|no messages|requests pending)/i
const TOO_LARGE = /^message size exceeds maxbytes/i

export interface Fetched {
  /** Its number in the stream. */
  at: number
  bytes: Buffer
}

export interface FeedParts {
  link: Link
  stream: StreamIdentity
  subject: string
  /** The first number that is wanted; 0 where all that is held is. */
  from: number
  /** The newest committed message of this subject stays in the stream (trim.ts). */
  newestStays: boolean
  /** Told when what was asked for is not held any more: [from, to). */
  onLost(from: number, to: number): void
  /** All that is held comes again, for the server has forgotten some; the words say how that showed. */
  onAnew(why: string): void
}

/** The stream of that name is another one now: positions do not speak of it. */
class StreamReplaced extends LogUnavailable {}

export class Feed {
  readonly #parts: FeedParts
  readonly #signal: AbortSignal
  #queue: Fetched[] = []
  #head = 0
  #queueBytes = 0
  /** The next number that is missing here. */
  #next: number
  /** The message before it, where we have seen it; headers are costly to parse, so that is left for when it matters. */
  #last: Msg | undefined
  #session: Session | undefined
  /** Bytes that one request needs to take the next message, which is larger than usual. */
  #leastBytes = 0
  #failure: Error | undefined
  #wake: () => void = () => {}

  constructor(parts: FeedParts, signal: AbortSignal) {
    this.#parts = parts
    this.#signal = signal
    this.#next = parts.from
    const wake = () => this.#wake()
    signal.addEventListener('abort', wake, { once: true })
    void this.#run().catch((error: Error) => {
      this.#failure = error
      this.#wake()
    })
  }

  /** The next message; undefined once the signal is aborted. */
  async take(): Promise<Fetched | undefined> {
    while (!this.#signal.aborted) {
      const fetched = this.poll()
      if (fetched !== undefined) return fetched
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return undefined
  }

  /** What has come already, without waiting. */
  poll(): Fetched | undefined {
    if (this.#head >= this.#queue.length) return undefined
    const fetched = this.#queue[this.#head]
    this.#queue[this.#head++] = undefined as never // its bytes are not ours any more
    this.#queueBytes -= fetched.bytes.length
    if (this.#head === this.#queue.length) {
      this.#queue = []
      this.#head = 0
    }
    this.#askForMore()
    return fetched
  }

  async #run(): Promise<void> {
    const { link, stream } = this.#parts
    let failures = 0
    while (!this.#signal.aborted) {
      const connection = await link.connected(this.#signal)
      if (connection === undefined) return
      try {
        const reached = await this.#serve(connection)
        failures = reached ? 0 : failures + 1
      } catch (error) {
        if (error instanceof StreamReplaced) throw error
        failures++
        if (failures > 1 && link.connection === connection) {
          link.presence.away(`the stream ${stream.name} cannot be read: ${(error as Error).message}`)
        }
      }
      const most = Math.min(RECONNECT_MS_MAX, RECONNECT_MS_MIN * 2 ** Math.min(failures, 16))
      await wait(most / 2 + (Math.random() * most) / 2, undefined, { signal: this.#signal }).catch(() => {})
    }
  }

  /** One session, from its making to its end. Resolves with whether anything came of it. */
  async #serve(connection: NatsConnection): Promise<boolean> {
    const { link, stream, subject } = this.#parts
    const manager = await managerOf(connection)
    await this.#locate(manager)
    const consumer = await manager.consumers.add(stream.name, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: Math.max(1, this.#next),
      filter_subject: subject,
      inactive_threshold: nanos(CONSUMER_IDLE_MS_MAX),
      mem_storage: true,
      num_replicas: 1,
    })
    if (link.connection === connection) link.presence.back()
    const session = new Session(connection, stream.name, consumer.name, {
      message: (message, at) => this.#arrived(message, at),
      settled: (tooLarge) => {
        if (tooLarge) this.#leastBytes = Math.max(2 * this.#leastBytes, FETCH_BYTES_MAX)
        this.#askForMore()
      },
    })
    this.#session = session
    const abort = () => session.end()
    this.#signal.addEventListener('abort', abort)
    if (this.#signal.aborted) abort()
    this.#askForMore()
    try {
      await session.ended
    } finally {
      this.#session = undefined
      this.#signal.removeEventListener('abort', abort)
      // At best: a server that cannot hear it forgets the consumer by itself.
      if (!connection.isClosed()) void manager.consumers.delete(stream.name, consumer.name).catch(() => {})
    }
    return session.heard
  }

  /** Where the session has to begin, seen what the stream holds by now. */
  async #locate(manager: JetStreamManager): Promise<void> {
    const { stream } = this.#parts
    const info = await findStream(manager, stream.name)
    if (info === undefined) throw new Error('it does not exist any more')
    if (identityOf(info).created !== stream.created) {
      throw new StreamReplaced(
        `the stream ${stream.name} was removed and made anew: what was in it is lost; restart to read the new one`,
      )
    }
    if (this.#next === 0) return
    const { first_seq: first, last_seq: last } = info.state
    if (this.#next > last + 1) {
      this.#beginAnew(first, `ends at ${last} and we have read up to ${this.#next - 1}`)
      return
    }
    await this.#compare(manager, info.state)
    if (this.#next < first) {
      this.#parts.onLost(this.#next, first)
      this.#next = first
      this.#last = undefined
    }
  }

  /**
   * Looks at the message before the next one. Another in its place means that the server has lost its newest ones and
   * given their numbers away again.
   */
  async #compare(
    manager: JetStreamManager,
    { first_seq: first, last_seq: last }: StreamInfo['state'],
  ): Promise<void> {
    const { stream, subject, newestStays, onLost } = this.#parts
    const before = this.#next - 1
    if (before < first) return
    const message = await messageAt(manager, stream.name, { seq: before })
    if (
      message !== undefined &&
      this.#last !== undefined &&
      message.header.get(ID) !== this.#last.headers?.get(ID)
    ) {
      this.#beginAnew(first, `has another message at ${before} than we have read there`)
    } else if (message === undefined && newestStays) {
      // Somebody else has removed messages of ours, and where they stopped cannot be told.
      const next = await messageAt(manager, stream.name, { seq: this.#next, next_by_subj: subject })
      const to = next?.seq ?? last + 1
      if (to > this.#next) onLost(this.#next, to)
    }
  }

  /** The server has lost what it had confirmed. What it holds since then cannot be told: the ledger skips what it has. */
  #beginAnew(first: number, why: string): void {
    const { stream, onAnew } = this.#parts
    onAnew(`the stream ${stream.name} ${why}: the server has lost what it had confirmed; all is read anew`)
    this.#next = first
    this.#last = undefined
  }

  #arrived(message: Msg, at: number): void {
    const { data } = message
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
    this.#queue.push({ at, bytes })
    this.#queueBytes += bytes.length
    this.#next = at + 1
    this.#last = message
    this.#leastBytes = 0
    this.#wake()
  }

  /** As much as there is room for beside what is here and on its way, when that is worth a request. */
  #askForMore(): void {
    const session = this.#session
    if (session === undefined) return
    if (this.#leastBytes > 0) {
      if (this.#queueBytes === 0 && !session.asking) session.ask(this.#leastBytes, 1)
      return
    }
    const segments = FETCH_SEGMENTS_MAX - (this.#queue.length - this.#head) - session.segmentsDue
    const bytes = FETCH_BYTES_MAX - this.#queueBytes - session.bytesDue
    if (bytes >= FETCH_BYTES_MAX / 2 && segments >= FETCH_SEGMENTS_MAX / 2) session.ask(bytes, segments)
  }
}

/** Undefined where there is none. */
export async function messageAt(
  manager: JetStreamManager,
  stream: string,
  where: { seq: number; next_by_subj?: string } | { last_by_subj: string },
): Promise<StoredMsg | undefined> {
  try {
    return await manager.streams.getMessage(stream, where)
  } catch (error) {
    if (apiCode(error) === NO_SUCH_MESSAGE) return undefined
    throw error
  }
}

interface SessionHooks {
  message(message: Msg, at: number): void
  /** There may be reason to ask for more. `tooLarge`: a request had no room for even one message. */
  settled(tooLarge: boolean): void
}

class Session {
  /** Resolves when nothing more will come. */
  readonly ended: Promise<void>
  /** Anything was heard of the consumer. */
  heard = false
  /** What may still come of the open requests, at most: the server counts headers and addresses too, we do not. */
  bytesDue = 0
  segmentsDue = 0
  readonly #connection: NatsConnection
  readonly #subject: string
  readonly #hooks: SessionHooks
  readonly #inbox = createInbox()
  #requests = 0
  /** Open requests, and how much had been delivered when they were made. */
  readonly #open = new Map<number, number>()
  #delivered = 0
  #heardAt = performance.now()
  #end!: () => void

  constructor(connection: NatsConnection, stream: string, consumer: string, hooks: SessionHooks) {
    this.#connection = connection
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`
    this.#hooks = hooks
    const subscription = connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error !== null) this.#end()
        else this.#hear(message)
      },
    })
    const endWatch = every(HEARTBEAT_MS, (now) => {
      if (this.asking && now - this.#heardAt >= STALL_MS_MAX + HEARTBEAT_MS) this.#end()
    })
    let over = false
    this.ended = new Promise<void>((resolve) => {
      this.#end = () => {
        if (over) return
        over = true
        endWatch()
        if (!connection.isClosed()) subscription.unsubscribe()
        resolve()
      }
    })
    void connection.closed().then(() => this.#end())
  }

  /** A request is open. */
  get asking(): boolean {
    return this.#open.size > 0
  }

  end(): void {
    this.#end()
  }

  ask(bytes: number, segments: number): void {
    if (this.#connection.isClosed()) return
    const request = {
      batch: segments,
      max_bytes: bytes,
      expires: nanos(REQUEST_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    }
    const number = ++this.#requests
    this.#open.set(number, this.#delivered)
    this.bytesDue += bytes
    this.segmentsDue += segments
    this.#heardAt = performance.now()
    this.#connection.publish(this.#subject, JSON.stringify(request), { reply: `${this.#inbox}.${number}` })
  }

  #hear(message: Msg): void {
    this.#heardAt = performance.now()
    if (message.subject.startsWith(this.#inbox)) {
      this.#status(message)
      return
    }
    const { at, nth } = deliveryOf(message)
    if (nth !== this.#delivered + 1) {
      this.#end() // one is missing: the next session fetches it
      return
    }
    this.#delivered = nth
    this.heard = true
    this.segmentsDue--
    this.bytesDue -= message.data.length
    this.#hooks.message(message, at)
    if (this.segmentsDue <= 0) this.#open.clear() // all were used up, which is not always said
    this.#settle(false)
  }

  #status({ subject, headers }: Msg): void {
    const code = headers?.code ?? 0
    const description = headers?.description ?? ''
    if (code === 100) {
      this.heard = true
      return
    }
    if (code === 503 || !(code === 404 || REQUEST_OVER.test(description))) {
      this.#end() // the consumer is gone, or its server goes
      return
    }
    this.heard = true
    const number = Number(subject.slice(this.#inbox.length + 1))
    const deliveredBefore = this.#open.get(number)
    if (deliveredBefore === undefined) return
    this.#open.delete(number)
    this.bytesDue -= Number(headers?.get('Nats-Pending-Bytes') ?? 0)
    this.segmentsDue -= Number(headers?.get('Nats-Pending-Messages') ?? 0)
    this.#settle(TOO_LARGE.test(description) && deliveredBefore === this.#delivered)
  }

  /** `tooLarge`: a request had no room for even one message. */
  #settle(tooLarge: boolean): void {
    if (this.#open.size === 0) {
      this.bytesDue = 0
      this.segmentsDue = 0
    }
    this.#hooks.settled(tooLarge)
  }
}
