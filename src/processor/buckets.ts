// The sketches of many rows in two arrays: runs of buckets, each in rising order, with their counts.
//
// A run is a block of 2^k cells: its head, which holds size << 5 | k, then its buckets, then cells that hold NO_BUCKET.
// A run that is full moves to a larger block; blocks that were left are used again.
//
// The buckets of values that have something to do with each other lie close together. A run of some size has also those
// in small gaps, with a count of 0, so that most of it is without gaps, and a bucket is found by its distance from the
// first one or the last.

import { BUCKET_BYTES_MAX, COUNT_BYTES_MAX, decoded, decodeSketch, encodeBuckets } from '../results/sketch.ts'

const CELLS_MIN = 4096
const SIZES = 24
/** Where no run is: cell 0 is never used. */
export const NO_RUN = 0
/** Above all buckets. */
const NO_BUCKET = 0x7fffff
const SIZE_SHIFT = 5
const LOG2_MASK = 31
/** From this many buckets on gaps are filled, of this many at most. */
const FILLED_SIZE_MIN = 32
const GAP_MAX = 32

export class Buckets {
  #buckets = new Int32Array(CELLS_MIN)
  #counts = new Float64Array(CELLS_MIN)
  /** Cells in use, free blocks among them. Cell 0 is an empty run. */
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
    this.#pending = 0
    this.#reserve(size)
    for (let i = 0; i < size; i++) this.#add(decoded.buckets[i], decoded.counts[i], size >= FILLED_SIZE_MIN)
    return this.#put(NO_RUN)
  }

  /** Counts one value; returns where the run is now. */
  count(run: number, bucket: number): number {
    const buckets = this.#buckets
    const last = run + (buckets[run] >> SIZE_SHIFT)
    let at = run + 1 + bucket - buckets[run + 1]
    if (at <= run || at > last || buckets[at] !== bucket) {
      at = last - buckets[last] + bucket
      if (at <= run || at > last || buckets[at] !== bucket) {
        at = this.#search(run, bucket)
        if (at > last || buckets[at] !== bucket) return this.#insert(run, at, bucket)
      }
    }
    this.#counts[at]++
    return run
  }

  /** Where a bucket is in a run, or is to be. In as many steps for all runs of a size, and without branches between. */
  #search(run: number, bucket: number): number {
    const buckets = this.#buckets
    let at = run
    for (let half = (1 << (buckets[run] & LOG2_MASK)) >> 1; half > 0; half >>= 1) {
      at += half & ((buckets[at + half] - bucket) >> 31)
    }
    return at + 1
  }

  /** Puts a bucket at a place in a run. */
  #insert(run: number, place: number, bucket: number): number {
    const size = this.#buckets[run] >> SIZE_SHIFT
    const fill = size + 1 >= FILLED_SIZE_MIN
    this.#pending = 0
    this.#reserve(size + 1)
    for (let at = run + 1; at < place; at++) this.#add(this.#buckets[at], this.#counts[at], fill)
    this.#add(bucket, 1, fill)
    for (let at = place; at <= run + size; at++) this.#add(this.#buckets[at], this.#counts[at], fill)
    return this.#put(run)
  }

  // What a run is to hold.
  #pending = 0
  #pendingBuckets = new Int32Array(CELLS_MIN)
  #pendingCounts = new Float64Array(CELLS_MIN)

  #reserve(size: number): void {
    const sizeMax = size * (GAP_MAX + 1)
    if (sizeMax <= this.#pendingBuckets.length) return
    this.#pendingBuckets = new Int32Array(sizeMax * 2)
    this.#pendingCounts = new Float64Array(sizeMax * 2)
  }

  #add(bucket: number, count: number, fill: boolean): void {
    const buckets = this.#pendingBuckets
    const counts = this.#pendingCounts
    let at = this.#pending
    if (fill && at > 0 && bucket - buckets[at - 1] <= GAP_MAX + 1) {
      for (let filler = buckets[at - 1] + 1; filler < bucket; filler++) {
        buckets[at] = filler
        counts[at++] = 0
      }
    }
    buckets[at] = bucket
    counts[at++] = count
    this.#pending = at
  }

  /** Puts what is pending in place of a run; returns where it is now. */
  #put(run: number): number {
    const size = this.#pending
    const sizeLog2 = 32 - Math.clz32(size)
    const runLog2 = this.#buckets[run] & LOG2_MASK
    let to = run
    if (sizeLog2 > runLog2) {
      to = this.#take(sizeLog2)
      if (run !== NO_RUN) this.#give(run, runLog2)
    }
    const buckets = this.#buckets
    const counts = this.#counts
    for (let i = 0; i < size; i++) {
      buckets[to + 1 + i] = this.#pendingBuckets[i]
      counts[to + 1 + i] = this.#pendingCounts[i]
    }
    buckets[to] = (size << SIZE_SHIFT) | (buckets[to] & LOG2_MASK)
    return to
  }

  /** A block of 2^sizeLog2 cells, empty. */
  #take(sizeLog2: number): number {
    let run = this.#free[sizeLog2]
    if (run !== NO_RUN) this.#free[sizeLog2] = this.#buckets[run]
    else {
      run = this.#cells
      this.#cells += 1 << sizeLog2
      if (this.#cells > this.#buckets.length) this.#grow()
    }
    this.#buckets[run] = sizeLog2
    const buckets = this.#buckets
    const end = run + (1 << sizeLog2)
    for (let at = run + 1; at < end; at++) buckets[at] = NO_BUCKET
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
    const to = this.#take(from.#buckets[run] & LOG2_MASK)
    const end = run + 1 + (from.#buckets[run] >> SIZE_SHIFT)
    this.#buckets.set(from.#buckets.subarray(run, end), to)
    this.#counts.set(from.#counts.subarray(run, end), to)
    return to
  }

  encodedBytesMax(run: number): number {
    return COUNT_BYTES_MAX + (this.#buckets[run] >> SIZE_SHIFT) * BUCKET_BYTES_MAX
  }

  /** Writes a run as an encoded sketch to `target` from `at` on; returns the end. */
  encode(run: number, target: Uint8Array, at: number): number {
    const size = this.#buckets[run] >> SIZE_SHIFT
    return encodeBuckets(this.#buckets, this.#counts, size, target, at, run + 1)
  }
}
