// What one log holds, for comparing it with the other: of each segment its identity, its checksum and how many events
// are in it, in typed arrays for each writer (17 bytes a segment), so that logs with millions of segments fit.

import { crc32 } from 'node:zlib'
import type { Segment } from '../segment.ts'

const CAPACITY_MIN = 8

/** What was found out about a segment. */
export const State = Object.freeze({
  /** Not compared yet. */
  held: 0,
  equal: 1,
  different: 2,
  /** Its identity was there before. */
  duplicate: 3,
  /** Only here, and nothing more is known yet. */
  alone: 4,
  /** Only here, and looked at. */
  settled: 5,
})

/** Beside the state: received a short time before the comparison, so that it may be on its way to the other log. */
const RECENT = 128

export class TooManySegments extends Error {
  override name = 'TooManySegments'
}

/** The segments of one writer: in the order they came until `sort`, from then on by sequence, duplicates behind. */
export class WriterIdentities {
  #sequences = new Float64Array(CAPACITY_MIN)
  #checksums = new Uint32Array(CAPACITY_MIN)
  #events = new Uint32Array(CAPACITY_MIN)
  #flags = new Uint8Array(CAPACITY_MIN)
  #length = 0
  #sorted = true

  get length(): number {
    return this.#length
  }

  sequence(i: number): number {
    return this.#sequences[i]
  }
  checksum(i: number): number {
    return this.#checksums[i]
  }
  events(i: number): number {
    return this.#events[i]
  }
  state(i: number): number {
    return this.#flags[i] & ~RECENT
  }
  isRecent(i: number): boolean {
    return (this.#flags[i] & RECENT) !== 0
  }
  setState(i: number, state: number): void {
    this.#flags[i] = (this.#flags[i] & RECENT) | state
  }

  add(sequence: number, checksum: number, events: number, recent: boolean): void {
    const i = this.#length++
    if (i === this.#sequences.length) this.#grow()
    if (i > 0 && sequence <= this.#sequences[i - 1]) this.#sorted = false
    this.#sequences[i] = sequence
    this.#checksums[i] = checksum
    this.#events[i] = events
    this.#flags[i] = recent ? RECENT : 0
  }

  /** Lays them by sequence, and marks as duplicates all but the first of those with the same one. */
  sort(): void {
    if (this.#sorted) return
    const sequences = this.#sequences
    const order = Uint32Array.from({ length: this.#length }, (_, i) => i)
    order.sort((a, b) => sequences[a] - sequences[b] || a - b)
    this.#sequences = Float64Array.from(order, (i) => sequences[i])
    const [checksums, events, flags] = [this.#checksums, this.#events, this.#flags]
    this.#checksums = Uint32Array.from(order, (i) => checksums[i])
    this.#events = Uint32Array.from(order, (i) => events[i])
    this.#flags = Uint8Array.from(order, (i) => flags[i])
    for (let i = 1; i < this.#length; i++) {
      if (this.#sequences[i] === this.#sequences[i - 1]) this.setState(i, State.duplicate)
    }
    this.#sorted = true
  }

  /** Where the first one with this sequence is, or -1. They must be sorted. */
  find(sequence: number): number {
    let low = 0
    let high = this.#length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#sequences[middle] < sequence) low = middle + 1
      else high = middle
    }
    return low < this.#length && this.#sequences[low] === sequence ? low : -1
  }

  #grow(): void {
    const capacity = this.#length * 2
    const grown = <T extends Float64Array | Uint32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from)
      return to
    }
    this.#sequences = grown(this.#sequences, new Float64Array(capacity))
    this.#checksums = grown(this.#checksums, new Uint32Array(capacity))
    this.#events = grown(this.#events, new Uint32Array(capacity))
    this.#flags = grown(this.#flags, new Uint8Array(capacity))
  }
}

/** All segments that were looked at in one partition of one log. */
export class Identities {
  readonly writers = new Map<string, WriterIdentities>()
  readonly #segmentsMax: number
  #segments = 0

  constructor(segmentsMax: number) {
    this.#segmentsMax = segmentsMax
  }

  /** Throws TooManySegments. */
  add(segment: Segment, recent: boolean): void {
    if (++this.#segments > this.#segmentsMax) {
      throw new TooManySegments(`it holds more than ${this.#segmentsMax} segments`)
    }
    const { writer } = segment
    let identities = this.writers.get(writer)
    if (identities === undefined) {
      identities = new WriterIdentities()
      this.writers.set(writer, identities)
    }
    identities.add(segment.sequence, checksumOf(segment), segment.events, recent)
  }

  sort(): void {
    for (const identities of this.writers.values()) identities.sort()
  }
}

export function checksumOf({ bytes }: Segment): number {
  return crc32(bytes)
}
