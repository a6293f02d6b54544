// Reads one partition of two logs that hold the same segments: one of them, or both as a union. Whatever is read
// twice is skipped by the ledger, so it does not matter which of them a segment is read from first.

import { OVERDUE_MS } from '../../limits.ts'
import type { BrokerReader } from '../broker.ts'
import type { LogEntry, LogReader, Position } from '../log.ts'
import { Walk, type WalkHooks } from './walk.ts'

/** Of what the partition may take: after so much the log that is not consumed is walked. */
const WALK_PART = 1 / 4
/** Segments of several listeners lie in a log a little out of the order in which they were received, milliseconds. */
const DISORDER_MS_MAX = OVERDUE_MS

export interface DualReaderParts {
  jetstream: BrokerReader
  kafka: BrokerReader
  consume: 'jetstream' | 'kafka' | 'union'
  /** Bytes that this partition may take in each log: its share of `log.retention.maxBytes`. */
  maxBytes: number
  /** Whether the effects of this segment are in a commit. */
  counted(writer: string, sequence: number, receivedAt: number): boolean
  hooks: WalkHooks
}

export class DualReader implements LogReader {
  readonly kind = 'dual'
  readonly #parts: DualReaderParts
  readonly #readers: readonly BrokerReader[]
  /** When the last segment that was read or walked in each log was received. */
  readonly #passed: Record<BrokerReader['kind'], number> = { jetstream: 0, kafka: 0 }

  constructor(parts: DualReaderParts) {
    this.#parts = parts
    this.#readers = [parts.jetstream, parts.kafka]
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const stop = new AbortController()
    const abort = () => stop.abort()
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    try {
      if (this.#parts.consume === 'union') yield* this.#union(from, stop)
      else yield* this.#one(this.#parts.consume, from, stop)
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Each reader looks for its own lane. */
  committed(position: Position): void {
    for (const reader of this.#readers) reader.committed(position)
  }

  finished(): string[] {
    return this.#readers.flatMap((reader) => reader.finished())
  }

  /** As far as the log that is behind: what only that one has is not older. */
  readUpTo(): number {
    return Math.min(this.#passed.jetstream, this.#passed.kafka) - DISORDER_MS_MAX
  }

  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#readers.map((reader) => reader.close()))
    for (const result of closed) if (result.status === 'rejected') throw result.reason
  }

  async *#one(
    consume: 'jetstream' | 'kafka',
    from: Position,
    stop: AbortController,
  ): AsyncGenerator<LogEntry> {
    const { jetstream, kafka, maxBytes, counted } = this.#parts
    const [main, other] = consume === 'jetstream' ? [jetstream, kafka] : [kafka, jetstream]
    const hooks: WalkHooks = {
      ...this.#parts.hooks,
      onWalked: (lane, next, receivedAt) => {
        this.#passed[other.kind] = receivedAt
        this.#parts.hooks.onWalked(lane, next, receivedAt)
      },
    }
    const walk = new Walk({ reader: other, bytes: maxBytes * WALK_PART, counted, hooks }, from)
    const walking = walk.run(stop.signal)
    try {
      for await (const entry of main.read(from, stop.signal)) {
        walk.yielded(entry.segment)
        this.#passed[main.kind] = entry.segment.receivedAt
        yield entry
      }
    } finally {
      stop.abort()
      await walking
    }
  }

  /** Both in turn; one that has nothing keeps the other from nothing. */
  async *#union(from: Position, stop: AbortController): AsyncGenerator<LogEntry> {
    let wake = () => {}
    const sides = this.#readers.map((reader) => new Side(reader, from, stop.signal, () => wake()))
    for (const side of sides) side.ask()
    try {
      while (!stop.signal.aborted) {
        const failed = sides.find(({ failure }) => failure !== undefined)
        if (failed !== undefined) throw failed.failure
        if (sides.every(({ over }) => over)) return
        const side = sides.find(({ entry }) => entry !== undefined)
        if (side === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
          continue
        }
        this.#passed[side.kind] = side.entry!.segment.receivedAt
        yield side.entry!
        side.ask() // it answers later than now: the other one, if it has something, comes first
      }
    } finally {
      stop.abort()
      await Promise.all(sides.map((side) => side.end()))
    }
  }
}

/** A reading that has one entry, waits for one, or is over. */
class Side {
  readonly kind: BrokerReader['kind']
  readonly #entries: AsyncIterator<LogEntry>
  readonly #moved: () => void
  #asked: Promise<void> = Promise.resolve()
  entry: LogEntry | undefined
  over = false
  failure: Error | undefined

  constructor(reader: BrokerReader, from: Position, signal: AbortSignal, moved: () => void) {
    this.kind = reader.kind
    this.#entries = reader.read(from, signal)[Symbol.asyncIterator]()
    this.#moved = moved
  }

  /** The bytes of the entry before are not valid any more. */
  ask(): void {
    this.entry = undefined
    this.#asked = this.#entries
      .next()
      .then(
        ({ done, value }) => {
          if (done) this.over = true
          else this.entry = value
        },
        (error: Error) => {
          this.over = true
          this.failure = error
        },
      )
      .then(this.#moved)
  }

  /** To be called when its signal is aborted: what it waits for comes to an end then. */
  async end(): Promise<void> {
    await this.#asked
    await this.#entries.return?.()
  }
}
