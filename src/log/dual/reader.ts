// Reads one partition of two logs that hold the same segments: one of them, or both as a union. Whatever is read
// twice is skipped by the ledger, so it does not matter which of them a segment is read from first.

import type { BrokerReader } from '../broker.ts'
import type { LogEntry, LogReader, Position } from '../log.ts'
import { Walk, type WalkHooks } from './walk.ts'

/** Of what the partition may take: after so much the log that is not consumed is walked. */
const WALK_PART = 1 / 4

export interface DualReaderParts {
  jetstream: BrokerReader
  kafka: BrokerReader
  consume: 'jetstream' | 'kafka' | 'union'
  /** Bytes that this partition may take in each log: its share of `log.retention.maxBytes`. */
  maxBytes: number
  /** Whether the effects of this segment are durable: counted, committed and flushed. */
  counted(writer: string, sequence: number, receivedAt: number): boolean
  hooks: WalkHooks
}

export class DualReader implements LogReader {
  readonly kind = 'dual'
  readonly #parts: DualReaderParts
  readonly #readers: readonly BrokerReader[]

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
      if (this.#parts.consume === 'union') yield* union(this.#readers, from, stop)
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

  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#readers.map((reader) => reader.close()))
    for (const result of closed) if (result.status === 'rejected') throw result.reason
  }

  async *#one(
    consume: 'jetstream' | 'kafka',
    from: Position,
    stop: AbortController,
  ): AsyncGenerator<LogEntry> {
    const { jetstream, kafka, maxBytes, counted, hooks } = this.#parts
    const [main, other] = consume === 'jetstream' ? [jetstream, kafka] : [kafka, jetstream]
    const walk = new Walk({ reader: other, bytes: maxBytes * WALK_PART, counted, hooks }, from)
    const walking = walk.run(stop.signal)
    try {
      for await (const entry of main.read(from, stop.signal)) {
        walk.yielded(entry.segment)
        yield entry
      }
    } finally {
      stop.abort()
      await walking
    }
  }
}

/** A reading that has one entry, waits for one, or is over. */
class Side {
  readonly #entries: AsyncIterator<LogEntry>
  readonly #moved: () => void
  #asked: Promise<void> = Promise.resolve()
  entry: LogEntry | undefined
  over = false
  failure: Error | undefined

  constructor(entries: AsyncIterable<LogEntry>, moved: () => void) {
    this.#entries = entries[Symbol.asyncIterator]()
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

/** Both in turn; one that has nothing keeps the other from nothing. */
async function* union(
  readers: readonly BrokerReader[],
  from: Position,
  stop: AbortController,
): AsyncGenerator<LogEntry> {
  let wake = () => {}
  const sides = readers.map((reader) => new Side(reader.read(from, stop.signal), () => wake()))
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
      yield side.entry!
      side.ask() // it answers later than now: the other one, if it has something, comes first
    }
  } finally {
    stop.abort()
    await Promise.all(sides.map((side) => side.end()))
  }
}
