// What was counted already: for each writer the sequences of its segments, for each producer the sequences of its
// bodies. It is stored in the transaction of the results it explains, which is what makes counting exact.
//
// A sequence passes through two states. It is *claimed* when its segment or body is handed to the pool, so that a
// second copy behind it is skipped, and *counted* when the commit that holds its effects is written. Only what is
// counted is stored: a claim dies with the process, as the effects it stood for do.
//
// Bounds. A producer's intervals are kept in two generations: when `recent` has PRODUCER_INTERVALS_MAX intervals it
// becomes `older`, and the `older` before it is forgotten. A producer whose sequences rise without gaps has one
// interval and is never affected; one that sends sequences at random is exact for at least its last
// PRODUCER_INTERVALS_MAX bodies, and a retry older than that would be counted again. Nothing new is ever taken for
// old. Producers idle for longer than `producerIdle` are forgotten likewise, and the idlest ones when there are more
// than PRODUCERS_MAX, or they hold more than LEDGER_INTERVALS_MAX intervals together.

import { LEDGER_INTERVALS_MAX, PRODUCER_INTERVALS_MAX, PRODUCERS_MAX, PROGRESS_MS_MAX } from '../limits.ts'
import { IntervalSet } from './intervals.ts'

/** The key of the horizon; those of others have a colon behind one letter. */
export const HORIZON = 'horizon'

/** Of its bounds, when it has outgrown them. */
const FORGET_DOWN_TO = 0.9

/** Where the ledger is kept; the store's batch is one. Values are opaque bytes. */
export interface LedgerBatch {
  putLedger(key: string, value: Buffer): void
  removeLedger(key: string): void
}

interface Counted {
  recent: IntervalSet
  older: IntervalSet | undefined
  claimed: Set<number>
  /** Unix milliseconds of the last claim. */
  lastSeen: number
  /** Intervals held, as of the last commit. */
  weight: number
}

/** The claims of one task: what becomes counted when its effects are committed. */
export class Claims {
  readonly writers: string[] = []
  readonly writerSequences: number[] = []
  readonly producers: string[] = []
  readonly producerSequences: number[] = []
}

export class Ledger {
  readonly #writers = new Map<string, Counted>()
  /** Unix milliseconds: writers whose newest segment was received before it may have been forgotten. */
  #horizon = 0
  #horizonMoved = false
  /** Segments that were taken for old copies because of it. */
  behindHorizon = 0
  readonly #producers = new Map<string, Counted>()
  /** Intervals that all producers hold together. */
  #intervals = 0
  /** Keys to be removed with the next commit. */
  #forgotten: string[] = []

  readonly #progressOf: (writer: string) => number

  /**
   * `entries`: what earlier commits put. `progressOf`: of a writer that may have been forgotten, the sequence below which
   * its segments are committed, or 0; remembered for longer than the writer.
   */
  constructor(
    entries: Iterable<[key: string, value: Buffer]> = [],
    progressOf: (writer: string) => number = () => 0,
  ) {
    this.#progressOf = progressOf
    for (const [key, value] of entries) {
      if (key === HORIZON) {
        this.#horizon = value.readDoubleLE(0)
        continue
      }
      const name = key.slice(2)
      const counted = entry(key[0] === 'w' ? this.#writers : this.#producers, name)
      if (key[0] === 'w') counted.recent = IntervalSet.decode(value)
      else if (key[0] === 'o') counted.older = IntervalSet.decode(value)
      else {
        counted.lastSeen = value.readDoubleLE(0)
        counted.recent = IntervalSet.decode(value.subarray(8))
      }
    }
    for (const counted of this.#producers.values()) this.#intervals += weigh(counted)
  }

  get producers(): number {
    return this.#producers.size
  }

  /** True when this segment is new; it is then claimed. `receivedAt`: Unix milliseconds. */
  claimSegment(writer: string, sequence: number, receivedAt: number, claims: Claims): boolean {
    if (!this.#writers.has(writer)) {
      if (receivedAt < this.#horizon) {
        this.behindHorizon++
        return false
      }
      // One that comes back after it was forgotten: copies of its earlier segments may come after this one.
      entry(this.#writers, writer).recent.addBelow(this.#progressOf(writer))
    }
    if (!claim(entry(this.#writers, writer), sequence)) return false
    claims.writers.push(writer)
    claims.writerSequences.push(sequence)
    return true
  }

  /** True when the effects of a segment are in some commit, or it counts as an old copy. */
  hasCounted(writer: string, sequence: number, receivedAt: number): boolean {
    const counted = this.#writers.get(writer)
    if (counted !== undefined) return counted.recent.has(sequence)
    return receivedAt < this.#horizon || sequence < this.#progressOf(writer)
  }

  /** True when this body is new; it is then claimed. `now`: Unix milliseconds. */
  claimBody(producer: string, sequence: number, now: number, claims: Claims): boolean {
    const counted = entry(this.#producers, producer)
    counted.lastSeen = now
    if (!claim(counted, sequence)) return false
    claims.producers.push(producer)
    claims.producerSequences.push(sequence)
    return true
  }

  /** Puts into a commit that the effects of all these claims are in it. */
  count(all: Claims[], batch: LedgerBatch): void {
    const writers = new Set<string>()
    const producers = new Set<string>()
    for (const claims of all) {
      for (let i = 0; i < claims.writers.length; i++) {
        writers.add(claims.writers[i])
        settle(entry(this.#writers, claims.writers[i]), claims.writerSequences[i])
      }
      for (let i = 0; i < claims.producers.length; i++) {
        producers.add(claims.producers[i])
        settle(entry(this.#producers, claims.producers[i]), claims.producerSequences[i])
      }
    }
    for (const writer of writers) batch.putLedger(`w:${writer}`, entry(this.#writers, writer).recent.encode())
    for (const producer of producers) this.#putProducer(producer, batch)
    if (this.#horizonMoved) batch.putLedger(HORIZON, float64(this.#horizon))
    this.#horizonMoved = false
    for (const key of this.#forgotten) batch.removeLedger(key)
    this.#forgotten = []
  }

  #putProducer(producer: string, batch: LedgerBatch): void {
    const counted = entry(this.#producers, producer)
    this.#intervals -= counted.weight
    if (counted.recent.size > PRODUCER_INTERVALS_MAX) {
      counted.older = counted.recent
      counted.recent = new IntervalSet()
      batch.putLedger(`o:${producer}`, counted.older.encode())
    }
    this.#intervals += weigh(counted)
    const value = Buffer.concat([float64(counted.lastSeen), counted.recent.encode()])
    batch.putLedger(`p:${producer}`, value)
  }

  /** The log will not yield this writer's segments again. One that has some on their way is not forgotten. */
  forgetWriter(writer: string): void {
    if ((this.#writers.get(writer)?.claimed.size ?? 0) > 0) return
    if (this.#writers.delete(writer)) this.#forgotten.push(`w:${writer}`)
  }

  /** From now on, what was received before this time by a writer that is not known is an old copy. */
  raiseHorizon(receivedAt: number): void {
    if (receivedAt <= this.#horizon) return
    this.#horizon = receivedAt
    this.#horizonMoved = true
  }

  /** True when the producers take more room than they may, and some have to be forgotten now. */
  get overfull(): boolean {
    return this.#producers.size > PRODUCERS_MAX || this.#intervals > LEDGER_INTERVALS_MAX
  }

  /** Forgets producers idle since before `since`, and the idlest as long as it is overfull. Returns how many. */
  forgetProducers(since: number): number {
    const idle = [...this.#producers].filter(([, counted]) => counted.claimed.size === 0)
    idle.sort(([, a], [, b]) => a.lastSeen - b.lastSeen)
    let forgotten = 0
    // Well below the bounds, so that a flood of new producers does not lead here with every commit.
    const part = this.overfull ? FORGET_DOWN_TO : 1
    const fits = () =>
      this.#producers.size <= PRODUCERS_MAX * part && this.#intervals <= LEDGER_INTERVALS_MAX * part
    for (const [producer, counted] of idle) {
      if (fits() && counted.lastSeen >= since) break
      this.#producers.delete(producer)
      this.#intervals -= counted.weight
      this.#forgotten.push(`p:${producer}`)
      if (counted.older !== undefined) this.#forgotten.push(`o:${producer}`)
      forgotten++
    }
    return forgotten
  }
}

/**
 * The time before which writers may be forgotten, Unix milliseconds. `newest`: what was received last; `ageMax`: how long
 * it is remembered; `readUpTo`: as in LogReader. A log that cannot be read holds it back for PROGRESS_MS_MAX at most.
 */
export function horizonOf(newest: number, ageMax: number, readUpTo: number): number {
  return Math.min(newest - ageMax, Math.max(readUpTo, newest - PROGRESS_MS_MAX))
}

function entry(all: Map<string, Counted>, name: string): Counted {
  let counted = all.get(name)
  if (counted === undefined) {
    counted = { recent: new IntervalSet(), older: undefined, claimed: new Set(), lastSeen: 0, weight: 0 }
    all.set(name, counted)
  }
  return counted
}

function weigh(counted: Counted): number {
  counted.weight = counted.recent.size + (counted.older?.size ?? 0)
  return counted.weight
}

function float64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleLE(value, 0)
  return bytes
}

function claim(counted: Counted, sequence: number): boolean {
  if (counted.claimed.has(sequence) || counted.recent.has(sequence) || counted.older?.has(sequence))
    return false
  counted.claimed.add(sequence)
  return true
}

function settle(counted: Counted, sequence: number): void {
  counted.claimed.delete(sequence)
  counted.recent.add(sequence)
}
