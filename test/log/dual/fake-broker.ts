// A broker in memory, as truthful as the interfaces ask: numbers of its own, bytes of an entry that are gone with the
// next one, a reader that waits while the broker is away, and answers that a test decides.

import type { BrokerReader, Publisher } from '../../../src/log/broker.ts'
import { History } from '../../../src/log/history.ts'
import {
  type LogEntry,
  LogFull,
  LogUnavailable,
  LogUnconfirmed,
  type Position,
} from '../../../src/log/log.ts'
import { Segment, SegmentBuilder } from '../../../src/log/segment.ts'

type Kind = Publisher['kind']

/**
 * What becomes of a segment: it is stored and confirmed; refused; stored and never confirmed; neither; or confirmed
 * when the test says so.
 */
export type Answer = 'confirm' | 'full' | 'away' | 'stored' | 'lost' | 'hold'

interface Stored {
  number: number
  bytes: Buffer
}

export class FakeBroker {
  readonly kind: Kind
  readonly lanes: { first: number; next: number; stored: Stored[] }[]
  /** What was handed to its publishers, by identity, whatever became of it. */
  readonly asked: string[] = []
  /** Confirmations that wait. */
  readonly held: (() => void)[] = []
  answer: (segment: Segment) => Answer = () => 'confirm'
  /** Called with each place that a reader was told is committed. */
  onCommitted: (lane: string, next: number) => void = () => {}
  /** What a reader keeps of what is committed, bytes. */
  maxBytes = Number.POSITIVE_INFINITY
  #away: string | undefined
  #changed: (() => void)[] = []

  constructor(kind: Kind, partitions = 1) {
    this.kind = kind
    const first = kind === 'kafka' ? 0 : 1
    this.lanes = Array.from({ length: partitions }, () => ({ first, next: first, stored: [] }))
  }

  get away(): string | undefined {
    return this.#away
  }
  set away(reason: string | undefined) {
    this.#away = reason
    this.changed()
  }

  /** Puts a segment into the log, as another process would. */
  store(partition: number, segment: Segment): void {
    const lane = this.lanes[partition]
    lane.stored.push({ number: lane.next++, bytes: Buffer.from(segment.bytes) })
    this.changed()
  }

  /** Removes all below this number. */
  trim(partition: number, to: number): void {
    const lane = this.lanes[partition]
    lane.stored = lane.stored.filter(({ number }) => number >= to)
    lane.first = Math.max(lane.first, Math.min(to, lane.next))
  }

  segments(partition: number): Segment[] {
    return this.lanes[partition].stored.map(({ bytes }) => new Segment(bytes))
  }

  laneName(partition: number): string {
    return `${this.kind}:fake:${partition}`
  }

  changed(): void {
    for (const wake of this.#changed.splice(0)) wake()
  }

  /** Resolves at the next change, or when the signal is aborted. */
  async change(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    let end = () => {}
    await new Promise<void>((resolve) => {
      end = resolve
      this.#changed.push(resolve)
      signal.addEventListener('abort', end)
    })
    signal.removeEventListener('abort', end)
  }

  publisher(): Publisher {
    return new FakePublisher(this)
  }

  reader(partition = 0): BrokerReader {
    return new FakeReader(this, partition)
  }
}

class FakePublisher implements Publisher {
  readonly #broker: FakeBroker

  constructor(broker: FakeBroker) {
    this.#broker = broker
  }

  get kind(): Kind {
    return this.#broker.kind
  }
  get away(): string | undefined {
    return this.#broker.away
  }

  async publish(partition: number, segment: Segment): Promise<void> {
    const broker = this.#broker
    broker.asked.push(identityOf(segment))
    if (broker.away !== undefined) throw new LogUnavailable(broker.away)
    const answer = broker.answer(segment)
    if (answer === 'full') throw new LogFull('full')
    if (answer === 'away') throw new LogUnavailable('refused')
    if (answer !== 'lost') broker.store(partition, segment)
    if (answer === 'lost' || answer === 'stored') throw new LogUnconfirmed('no word')
    if (answer === 'hold') await new Promise<void>((resolve) => broker.held.push(resolve))
    else await new Promise((resolve) => setImmediate(resolve))
  }

  async close(): Promise<void> {}
}

class FakeReader implements BrokerReader {
  readonly #broker: FakeBroker
  readonly #partition: number
  readonly #history: History

  constructor(broker: FakeBroker, partition: number) {
    this.#broker = broker
    this.#partition = partition
    this.#history = new History({ maxBytes: broker.maxBytes, maxAge: Number.POSITIVE_INFINITY })
  }

  get kind(): Kind {
    return this.#broker.kind
  }

  async lane(): Promise<string> {
    return this.#broker.laneName(this.#partition)
  }

  async bounds(): Promise<{ first: number; next: number }> {
    await new Promise((resolve) => setImmediate(resolve))
    if (this.#broker.away !== undefined) throw new LogUnavailable(this.#broker.away)
    const { first, next } = this.#broker.lanes[this.#partition]
    return { first, next }
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const broker = this.#broker
    const name = broker.laneName(this.#partition)
    let next = from.get(name) ?? 0
    while (!signal.aborted) {
      const found = broker.lanes[this.#partition].stored.find(({ number }) => number >= next)
      if (broker.away !== undefined || found === undefined) {
        await broker.change(signal)
        continue
      }
      await new Promise((resolve) => setImmediate(resolve))
      if (signal.aborted) return
      next = found.number + 1
      const bytes = Buffer.from(found.bytes)
      this.#history.read(next, bytes.length, Date.now())
      yield { segment: new Segment(bytes), lane: name, next }
      bytes.fill(0xdd) // whoever still looks at them is wrong
    }
  }

  committed(position: Position): void {
    const name = this.#broker.laneName(this.#partition)
    const next = position.get(name)
    if (next === undefined) return
    this.#broker.onCommitted(name, next)
    const to = this.#history.trimTo(next, Date.now())
    if (to !== undefined) this.#broker.trim(this.#partition, to)
  }

  finished(): string[] {
    return []
  }

  async close(): Promise<void> {}
}

export function identityOf({ writer, sequence }: Segment): string {
  return `${Number.parseInt(writer, 16)}/${sequence}`
}

/** A stamped segment of so many events, told apart by its text. `writer`: a small number. */
export function stamped(
  writer: number,
  sequence: number,
  { text = 'same', events = 1, receivedAt = 1, bytes = 0 } = {},
): Segment {
  const builder = new SegmentBuilder(64)
  builder.add(Buffer.from(text.padEnd(bytes, '.')), events, '', 0, '', receivedAt)
  const segment = builder.seal()
  segment.stamp(writer.toString(16).padStart(16, '0'), sequence, 0, 0)
  return segment
}
