// The client of an application: what can be asked of it, and with which options.

import { randomUUID } from 'node:crypto'
import { Pool } from 'undici'
import {
  CLIENT_BATCH_BYTES,
  CLIENT_DELAY_MS_MAX,
  EVENTS_PER_BODY_MAX,
  PRODUCER_BYTES_MAX,
  SEND_CONCURRENCY_MAX,
} from '../limits.ts'
import type {
  DeadLetter,
  DeadLetterPage,
  DeadLettersChanged,
  HandlerResult,
  Measure,
  Page,
  Row,
  Status,
} from './answers.ts'
import { type Ack, ANSWER_MS_MAX, type Body, CONNECT_MS_MAX, type Door, type Stats } from './door.ts'
import { type MillraceError, ownError } from './error.ts'
import type { Event } from './event.ts'
import { HttpDoor } from './http.ts'
import { Letters, type LettersQuery, type WhichLetters } from './letters.ts'
import { Outbox, rejected } from './outbox.ts'
import { type Asking, type PageQuery, Queries, type RowsQuery, type Search, type TopQuery } from './query.ts'
import { StreamDoor } from './stream.ts'
import { DEFAULT_URL, targetOf } from './target.ts'
import { type Timings, tracedConnector } from './trace.ts'

export interface ClientOptions {
  /** Default: http://127.0.0.1:7070. A path is that of a proxy in front of the daemon. */
  url?: string | URL | undefined
  /** Where the daemon asks for one. */
  key?: string | undefined
  /** `http` posts frames on several connections; `stream` keeps one WebSocket, and the order of what is published. */
  transport?: 'http' | 'stream' | undefined
  /** A frame is closed at so many events (500) or bytes (256 KiB), or when its first event is `delay` ms old (5). */
  batch?: { events?: number; bytes?: number; delay?: number } | undefined
  /** Frames that are being filled or in flight at most (8). */
  concurrency?: number | undefined
  /** How long a frame is sent again and again while that can help, milliseconds (60,000). */
  retryFor?: number | undefined
  /**
   * Name under which frames count once, however often they are sent; a random one where it is absent. One client at a
   * time may use a name, and each (producer, sequence) must always stand for the same events: a name that was used
   * before goes on with `sequence`.
   */
  producer?: string | undefined
  /** Of the first frame (0); each further one has the next. */
  sequence?: number | undefined
  /** Gives everything up when it is aborted. */
  signal?: AbortSignal | undefined
  /** Told of every request over HTTP when it was answered. */
  trace?: ((timings: Timings) => void) | undefined
}

export interface PublishOptions {
  /** Takes back what has not found its place in a frame, and no longer waits for the rest. */
  signal?: AbortSignal | undefined
}

export class Client {
  readonly producer: string
  readonly #pool: Pool
  readonly #door: Door
  readonly #outbox: Outbox
  readonly #queries: Queries
  readonly #letters: Letters
  /** Why nothing is taken any more. */
  #over: MillraceError | undefined
  #closing: Promise<void> | undefined
  #forget = () => {}

  /** Throws RangeError where an option cannot be. Connects when there is something to send or to ask. */
  constructor(options: ClientOptions = {}) {
    const { transport = 'http', batch = {}, concurrency = 8, retryFor = 60_000, sequence = 0 } = options
    const { key, producer = randomUUID(), signal, trace } = options
    const { events = 500, bytes = CLIENT_BATCH_BYTES, delay = 5 } = batch
    const target = targetOf(String(options.url ?? DEFAULT_URL), key)
    within('batch.events', events, 1, EVENTS_PER_BODY_MAX)
    within('batch.delay', delay, 0, CLIENT_DELAY_MS_MAX)
    within('concurrency', concurrency, 1, SEND_CONCURRENCY_MAX)
    within('retryFor', retryFor, 0, Number.MAX_SAFE_INTEGER)
    within('sequence', sequence, 0, Number.MAX_SAFE_INTEGER)
    if (!/^[\x21-\x7e]+$/.test(producer) || producer.length > PRODUCER_BYTES_MAX) {
      throw new RangeError(`producer: 1 to ${PRODUCER_BYTES_MAX} visible ASCII characters`)
    }
    if (transport !== 'http' && transport !== 'stream') {
      throw new RangeError(`transport ${transport}: http or stream`)
    }
    this.producer = producer
    this.#pool = new Pool(target.origin, {
      connections: concurrency,
      pipelining: 1,
      headersTimeout: ANSWER_MS_MAX,
      bodyTimeout: ANSWER_MS_MAX,
      connect: trace === undefined ? { timeout: CONNECT_MS_MAX } : tracedConnector(CONNECT_MS_MAX),
    })
    const door = { target, producer, sequence, retryForMs: retryFor }
    this.#door =
      transport === 'http'
        ? new HttpDoor({ ...door, pool: this.#pool, concurrency, trace })
        : new StreamDoor(door)
    within('batch.bytes', bytes, 1, this.#door.bodyBytesMax)
    this.#outbox = new Outbox({ door: this.#door, batch: { events, bytes, delay }, concurrency })
    this.#queries = new Queries(target, this.#pool)
    this.#letters = new Letters(this.#queries)
    if (signal !== undefined) this.#listen(signal)
  }

  /** Events sent, acknowledged, refused; requests and retries. */
  get stats(): Readonly<Stats> {
    return this.#door.stats
  }

  /**
   * Resolves once the events are as durable as the ack says; rejects with a MillraceError, and then says of none of
   * them that it was taken. An event that cannot be is refused (`malformed`) before any of its call is sent. The events
   * of a call may go in several frames: the ack is that of the last. They may not be changed until then. A failure is
   * told by flush and close too, so the promise may be left alone.
   */
  publish(events: Event | readonly Event[], { signal }: PublishOptions = {}): Promise<Ack> {
    if (this.#over !== undefined) return rejected(this.#over)
    if (signal?.aborted) return rejected(ownError('aborted', undefined, signal.reason))
    return this.#outbox.publish(Array.isArray(events) ? events : [events], signal)
  }

  /** Sends a body that was made elsewhere, as it is. Otherwise as `publish`; over a stream only frames. */
  publishBody(body: Body, { signal }: PublishOptions = {}): Promise<Ack> {
    if (this.#over !== undefined) return rejected(this.#over)
    if (signal?.aborted) return rejected(ownError('aborted', undefined, signal.reason))
    return this.#outbox.post(body, signal)
  }

  /**
   * Resolves when there is room: what is published then is taken at once, and nothing waits in line. At once where
   * there is room already. Awaiting it before each `publish` bounds memory, whatever the daemon does.
   */
  ready(): Promise<void> {
    return this.#outbox.ready()
  }

  /**
   * Sends what was published before without waiting for more, and resolves when all of it is acknowledged. Rejects with
   * the first failure of anything published, each told once.
   */
  flush(): Promise<void> {
    return this.#outbox.flush()
  }

  /**
   * Flushes, then lets go of the connections; what is published from now on is refused (`closed`). `retry: false` sends
   * nothing again: what is in flight is only waited for. Rejects as flush does, when all is closed.
   */
  close({ retry = true }: { retry?: boolean } = {}): Promise<void> {
    this.#over ??= ownError('closed')
    if (!retry) this.#door.stopRetrying(ownError('aborted', 'sending was stopped before an answer came'))
    this.#closing ??= this.#outbox.flush().finally(async () => {
      this.#forget()
      await this.#door.close()
      await this.#pool.destroy()
    })
    return this.#closing
  }

  /** The measures of the daemon. */
  measures(asking?: Asking): Promise<Measure[]> {
    return this.#queries.measures(asking)
  }

  /** All rows of a measure that are asked for, fetched page by page as they are taken: `for await (const row of …)`. */
  rows(measure: string, query?: RowsQuery): AsyncGenerator<Row, void, void> {
    return this.#queries.rows(measure, query)
  }

  /** One page of them, and where the next one begins. */
  page(measure: string, query?: PageQuery): Promise<Page> {
    return this.#queries.page(measure, query)
  }

  /** The keys that come first, windows merged. */
  top(measure: string, query?: TopQuery): Promise<Row[]> {
    return this.#queries.top(measure, query)
  }

  status(asking?: Asking): Promise<Status> {
    return this.#queries.status(asking)
  }

  /** A page of the events that handlers could not handle, the oldest first. */
  deadLetters(query?: LettersQuery): Promise<DeadLetterPage> {
    return this.#letters.page(query)
  }

  /** One of them with its event. Rejects with `not-found` where there is none. */
  deadLetter(id: string, asking?: Asking): Promise<DeadLetter> {
    return this.#letters.one(id, asking)
  }

  /**
   * Has their handlers try again, by ids, by a filter, or `'all'`; resolves when what came of it is on disk. What cannot
   * be handled again stays. With ids, rejects with `not-found` at the first that there is not.
   */
  replay(which: WhichLetters, asking?: Asking): Promise<DeadLettersChanged> {
    return this.#letters.change('replay', which, asking)
  }

  /** Gives them up for good; as `replay` otherwise. */
  drop(which: WhichLetters, asking?: Asking): Promise<DeadLettersChanged> {
    return this.#letters.change('drop', which, asking)
  }

  /** What handlers stored under keys that begin so: `for await (const { key, json } of …)`. */
  results(prefix = '', asking?: Asking): AsyncGenerator<HandlerResult, void, void> {
    return this.#letters.results(prefix, asking)
  }

  /** The bytes that a handler stored under this key. Rejects with `not-found` where there are none. */
  result(key: string, asking?: Asking): Promise<Buffer> {
    return this.#letters.result(key, asking)
  }

  /** A route that has no method of its own here: the JSON that it answers. */
  ask<T>(method: 'GET' | 'POST' | 'DELETE', path: string, search?: Search, asking?: Asking): Promise<T> {
    return this.#queries.ask(method, path, search, asking)
  }

  #listen(signal: AbortSignal): void {
    const abort = () => {
      this.#over = ownError('aborted', undefined, signal.reason)
      this.#outbox.abort(this.#over)
      this.close().catch(() => {})
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    this.#forget = () => signal.removeEventListener('abort', abort)
  }
}

function within(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return
  throw new RangeError(`${name} ${value}: a whole number from ${least} to ${most}`)
}
