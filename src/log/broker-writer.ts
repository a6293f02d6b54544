// One listener's lane of one partition in a broker: gives segments their identity, hands them to the publisher, and
// keeps account of what waits to be processed, since a broker knows nothing of that.

import { MESSAGE_HEADER_BYTES_MAX } from '../limits.ts'
import { newWriter } from './embedded/writer.ts'
import { LogFull, LogUnavailable, type LogWriter, type Written } from './log.ts'
import type { Segment } from './segment.ts'

/** What is committed is looked up when so many segments wait, and then at most this often. */
const SEGMENTS_BEFORE_LOOK = 256
const LOOK_INTERVAL_MS = 20

/** The part of a publisher that is needed here; brokers and the dual log have it. */
export interface Publishing {
  readonly away: string | undefined
  publish(partition: number, segment: Segment): Promise<void>
}

export interface BrokerWriterParts {
  kind: 'jetstream' | 'kafka' | 'dual'
  partition: number
  publisher: Publishing
  /** Bytes that may wait to be processed. */
  backlogBytesMax: number
  /** The sequence below which this writer's segments are committed, as far as this process can see. */
  committed(writer: string): number
}

interface Waiting {
  sequence: number
  bytes: number
}

export class BrokerWriter implements LogWriter {
  readonly kind: BrokerWriterParts['kind']
  readonly durability = 'broker-acked'
  readonly writer = newWriter()
  readonly #parts: BrokerWriterParts
  #sequence = 0
  /** Of all segments stamped. */
  #events = 0
  #bodies = 0
  /** Up to the newest segment that was not refused: what the reader will have seen in the end. */
  #written = { segments: 0, events: 0, bodies: 0 }
  /** Not committed as far as known, in order, from #first on. */
  #waiting: Waiting[] = []
  #first = 0
  #waitingBytes = 0
  #lookedAt = Number.NEGATIVE_INFINITY
  #inFlight = new Set<Promise<void>>()
  #closed = false

  constructor(parts: BrokerWriterParts) {
    this.kind = parts.kind
    this.#parts = parts
  }

  append(segment: Segment): Promise<void> {
    if (this.#closed) return Promise.reject(new LogUnavailable('the log is closed'))
    const { publisher, partition } = this.#parts
    if (publisher.away !== undefined) return Promise.reject(new LogUnavailable(publisher.away))
    const refusal = this.#full(segment.bytes.length)
    if (refusal !== undefined) return Promise.reject(refusal)
    const waiting = this.#stamp(segment)
    const written = { segments: this.#sequence, events: this.#events, bodies: this.#bodies }
    const publishing = publisher.publish(partition, segment).then(
      () => {
        if (written.segments > this.#written.segments) this.#written = written
        this.#inFlight.delete(publishing)
      },
      (error: Error) => {
        this.#refused(waiting)
        this.#inFlight.delete(publishing)
        throw error
      },
    )
    this.#inFlight.add(publishing)
    return publishing
  }

  written(): Written {
    if (!this.#closed) this.#look() // the results may be closed then, too
    return { ...this.#written, backlogBytes: this.#waitingBytes }
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#inFlight)
  }

  #stamp(segment: Segment): Waiting {
    const waiting = { sequence: this.#sequence, bytes: segment.bytes.length + MESSAGE_HEADER_BYTES_MAX }
    segment.stamp(this.writer, this.#sequence++, this.#events, this.#bodies)
    this.#events += segment.events
    this.#bodies += segment.bodies
    this.#waiting.push(waiting)
    this.#waitingBytes += waiting.bytes
    return waiting
  }

  /** Does not wait, and takes no room among those that do. */
  #refused(waiting: Waiting): void {
    this.#waitingBytes -= waiting.bytes
    waiting.bytes = 0
    const all = this.#waiting
    while (all.length > this.#first && all[all.length - 1].bytes === 0) all.pop()
  }

  #full(bytes: number): LogFull | undefined {
    const { backlogBytesMax } = this.#parts
    if (this.#waiting.length - this.#first > SEGMENTS_BEFORE_LOOK) this.#lookSometimes()
    if (this.#waitingBytes + bytes <= backlogBytesMax) return undefined
    this.#lookSometimes()
    if (this.#waitingBytes + bytes <= backlogBytesMax) return undefined
    return new LogFull(`${this.#waitingBytes} bytes wait to be processed, ${backlogBytesMax} at most`)
  }

  #lookSometimes(): void {
    if (performance.now() - this.#lookedAt >= LOOK_INTERVAL_MS) this.#look()
  }

  #look(): void {
    this.#lookedAt = performance.now()
    const committed = this.#parts.committed(this.writer)
    const waiting = this.#waiting
    let first = this.#first
    for (
      ;
      first < waiting.length && (waiting[first].sequence < committed || waiting[first].bytes === 0);
      first++
    ) {
      this.#waitingBytes -= waiting[first].bytes
    }
    this.#first = first
    if (first > SEGMENTS_BEFORE_LOOK && first * 2 > waiting.length) {
      waiting.splice(0, first)
      this.#first = 0
    }
  }
}
