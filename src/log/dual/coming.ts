// A broker that was not reached yet: away, or without anything to read, until it is. A listener answers meanwhile, and a
// dual log has its other broker.

import type { BrokerReader, Publisher } from '../broker.ts'
import { type LogEntry, LogUnavailable, type Position } from '../log.ts'
import type { Segment } from '../segment.ts'

export class ComingPublisher implements Publisher {
  readonly kind: Publisher['kind']
  #publisher: Publisher | undefined
  #failure: Error | undefined
  #closed = false

  /** Whoever made the promise looks after its rejection. */
  constructor(kind: Publisher['kind'], coming: Promise<Publisher>) {
    this.kind = kind
    coming.then(
      (publisher) => {
        this.#publisher = publisher
        if (this.#closed) void publisher.close()
      },
      (error: Error) => {
        this.#failure = error
      },
    )
  }

  get away(): string | undefined {
    if (this.#publisher !== undefined) return this.#publisher.away
    return this.#failure?.message ?? `${this.kind} was not reached yet`
  }

  publish(partition: number, segment: Segment): Promise<void> {
    if (this.#publisher === undefined) return Promise.reject(new LogUnavailable(this.away))
    return this.#publisher.publish(partition, segment)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#publisher?.close()
  }
}

export class ComingReader implements BrokerReader {
  readonly kind: BrokerReader['kind']
  readonly #opening: Promise<BrokerReader>
  readonly #closing = new AbortController()
  #reader: BrokerReader | undefined

  /** `open` rejects when its signal is aborted. */
  constructor(kind: BrokerReader['kind'], open: (signal: AbortSignal) => Promise<BrokerReader>) {
    this.kind = kind
    this.#opening = open(this.#closing.signal)
    this.#opening.then(
      (reader) => {
        this.#reader = reader
      },
      () => {}, // told to whoever reads
    )
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const reader = await Promise.race([this.#opening, aborted(signal)])
    if (reader !== undefined) yield* reader.read(from, signal)
  }

  committed(position: Position): void {
    this.#reader?.committed(position)
  }

  finished(): string[] {
    return this.#reader?.finished() ?? []
  }

  async lane(): Promise<string> {
    return (await this.#opening).lane()
  }

  async bounds(): Promise<{ first: number; next: number }> {
    return (await this.#opening).bounds()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const reader = await this.#opening.catch(() => undefined)
    await reader?.close()
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
