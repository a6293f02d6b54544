// The sketches of many rows in two arrays: runs of buckets, each in rising order, with their counts.
//
// A run is a block of 2^k cells. Its first cell is its head: the number of buckets in use, and k. A block that is full
// moves to one of twice the size; blocks that were left are used again.

import { BUCKET_BYTES_MAX, COUNT_BYTES_MAX, decoded, decodeSketch, encodeBuckets } from '../results/sketch.ts'

const CELLS_MIN = 4096
const SIZES = 24
/** Where no run is: cell 0 is never used. */
export const NO_RUN = 0

export class Buckets {
  #buckets = new Int32Array(CELLS_MIN)
  #counts = new Float64Array(CELLS_MIN)
  /** Cells in use, free blocks among them. */
  #cells = 1
  /** For each k, the first free block; its head tells the next. */
  readonly #free = new Int32Array(SIZES)

  /** Cells in use, 12 bytes each. */
  get cells(): number {
    return this.#cells
  }

  /** An encoded sketch as a run. */
  decode(source: Uint8Array, at: number): number {
    const size = decodeSketch(source, at)
    if (size === 0) return NO_RUN
    const run = this.#take(32 - Math.clz32(size))
    this.#buckets[run] = size
    for (let i = 0; i < size; i++) {
      this.#buckets[run + 1 + i] = decoded.buckets[i]
      this.#counts[run + 1 + i] = decoded.counts[i]
    }
    return run
  }

  /** Counts one value; returns where the run is now. */
  count(run: number, bucket: number): number {
    if (run === NO_RUN) return this.#insert(this.#take(1), 1, bucket)
    const buckets = this.#buckets
    // The number of buckets below, found without a branch that would be guessed wrong half of the time.
    let low = run
    for (let left = buckets[run]; left > 0; ) {
      const half = (left + 1) >> 1
      low += half & ((buckets[low + half] - bucket) >> 31)
      left -= half
    }
    const at = low + 1
    if (at <= run + buckets[run] && buckets[at] === bucket) {
      this.#counts[at]++
      return run
    }
    return this.#insert(run, at - run, bucket)
  }

  /** Puts a bucket at a place in a run. */
  #insert(run: number, place: number, bucket: number): number {
    const size = this.#buckets[run]
    const sizeLog2 = this.#counts[run]
    let to = run
    if (size + 1 === 1 << sizeLog2) {
      to = this.#take(sizeLog2 + 1)
      this.#move(run + 1, run + place, to + 1)
    }
    this.#move(run + place, run + 1 + size, to + place + 1)
    this.#buckets[to] = size + 1
    this.#buckets[to + place] = bucket
    this.#counts[to + place] = 1
    if (to !== run) this.#give(run, sizeLog2)
    return to
  }

  /** Moves cells [from, end); they may overlap where they go to. */
  #move(from: number, end: number, to: number): void {
    const buckets = this.#buckets
    const counts = this.#counts
    for (let i = end - from - 1; i >= 0; i--) {
      buckets[to + i] = buckets[from + i]
      counts[to + i] = counts[from + i]
    }
  }

  /** A block of 2^sizeLog2 cells, empty. */
  #take(sizeLog2: number): number {
    let run = this.#free[sizeLog2]
    if (run !== 0) this.#free[sizeLog2] = this.#buckets[run]
    else {
      run = this.#cells
      this.#cells += 1 << sizeLog2
      if (this.#cells > this.#buckets.length) this.#grow()
    }
    this.#buckets[run] = 0
    this.#counts[run] = sizeLog2
    return run
  }

  #give(run: number, sizeLog2: number): void {
    this.#buckets[run] = this.#free[sizeLog2]
    this.#free[sizeLog2] = run
  }

  #grow(): void {
    const cellsMax = Math.max(this.#buckets.length * 2, this.#cells)
    const buckets = new Int32Array(cellsMax)
    const counts = new Float64Array(cellsMax)
    buckets.set(this.#buckets)
    counts.set(this.#counts)
    this.#buckets = buckets
    this.#counts = counts
  }

  /** Copies a run of another. */
  copy(from: Buckets, run: number): number {
    if (run === NO_RUN) return NO_RUN
    const size = from.#buckets[run]
    const to = this.#take(from.#counts[run])
    this.#buckets.set(from.#buckets.subarray(run, run + 1 + size), to)
    this.#counts.set(from.#counts.subarray(run, run + 1 + size), to)
    return to
  }

  encodedBytesMax(run: number): number {
    return COUNT_BYTES_MAX + (run === NO_RUN ? 0 : this.#buckets[run]) * BUCKET_BYTES_MAX
  }

  /** Writes a run as an encoded sketch to `target` from `at` on; returns the end. */
  encode(run: number, target: Uint8Array, at: number): number {
    return encodeBuckets(this.#buckets, this.#counts, this.#buckets[run], target, at, run + 1)
  }
}
