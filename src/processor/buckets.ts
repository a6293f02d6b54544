// The sketches of rows that are too much for a list (samples.ts), in two arrays: runs of buckets, each in rising order,
// with their counts.
//
// A run is a block (blocks.ts): behind its head stand its buckets, then cells that hold NO_BUCKET. A run that is full moves
// to a larger block.
//
// The buckets of values that have something to do with each other lie close together. A run of some size has also those
// in small gaps, with a count of 0, so that most of it is without gaps, and a bucket is found by its distance from the
// first one or the last.

import { BUCKET_BYTES_MAX, COUNT_BYTES_MAX, encodeBuckets } from '../results/sketch.ts'
import { Blocks, blockLog2, NO_BLOCK } from './blocks.ts'

const PENDING_MIN = 4096
/** Of a bucket with its count. */
export const BUCKET_BYTES = 12
/** Above all buckets. */
const NO_BUCKET = 0x7fffff
/** From this many buckets on gaps are filled, of this many at most. */
const FILLED_SIZE_MIN = 32
const GAP_MAX = 32

export class Buckets {
  readonly #blocks = new Blocks()
  /** For each cell of the blocks. */
  #counts = new Float64Array(this.#blocks.cells.length)

  /** In use, free blocks among them. */
  get bytes(): number {
    return this.#blocks.used * BUCKET_BYTES
  }

  /** A run of these buckets, in rising order: one at least. */
  of(buckets: Int32Array, counts: Float64Array, size: number): number {
    this.#pending = 0
    this.#reserve(size)
    for (let i = 0; i < size; i++) this.#add(buckets[i], counts[i], size >= FILLED_SIZE_MIN)
    return this.#put(NO_BLOCK)
  }

  /** Counts one value; returns where the run is now. */
  count(run: number, bucket: number): number {
    const buckets = this.#blocks.cells
    const last = run + this.#blocks.size(run)
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
    const buckets = this.#blocks.cells
    let at = run
    for (let half = (1 << this.#blocks.log2(run)) >> 1; half > 0; half >>= 1) {
      at += half & ((buckets[at + half] - bucket) >> 31)
    }
    return at + 1
  }

  /** Puts a bucket at a place in a run. */
  #insert(run: number, place: number, bucket: number): number {
    const { cells } = this.#blocks
    const size = this.#blocks.size(run)
    const fill = size + 1 >= FILLED_SIZE_MIN
    this.#pending = 0
    this.#reserve(size + 1)
    for (let at = run + 1; at < place; at++) this.#add(cells[at], this.#counts[at], fill)
    this.#add(bucket, 1, fill)
    for (let at = place; at <= run + size; at++) this.#add(cells[at], this.#counts[at], fill)
    return this.#put(run)
  }

  // What a run is to hold.
  #pending = 0
  #pendingBuckets = new Int32Array(PENDING_MIN)
  #pendingCounts = new Float64Array(PENDING_MIN)

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
    const sizeLog2 = blockLog2(size)
    let to = run
    if (sizeLog2 > this.#blocks.log2(run)) {
      to = this.#take(sizeLog2)
      if (run !== NO_BLOCK) this.#blocks.give(run)
    }
    const { cells } = this.#blocks
    for (let i = 0; i < size; i++) {
      cells[to + 1 + i] = this.#pendingBuckets[i]
      this.#counts[to + 1 + i] = this.#pendingCounts[i]
    }
    this.#blocks.setSize(to, size)
    return to
  }

  /** A block of 2^sizeLog2 cells, empty. */
  #take(sizeLog2: number): number {
    const run = this.#blocks.take(sizeLog2)
    const { cells } = this.#blocks
    if (cells.length > this.#counts.length) {
      const counts = new Float64Array(cells.length)
      counts.set(this.#counts)
      this.#counts = counts
    }
    const end = run + (1 << sizeLog2)
    for (let at = run + 1; at < end; at++) cells[at] = NO_BUCKET
    return run
  }

  /** Copies a run of another. */
  copy(from: Buckets, run: number): number {
    const to = this.#take(from.#blocks.log2(run))
    const end = run + 1 + from.#blocks.size(run)
    this.#blocks.cells.set(from.#blocks.cells.subarray(run, end), to)
    this.#counts.set(from.#counts.subarray(run, end), to)
    return to
  }

  encodedBytesMax(run: number): number {
    return COUNT_BYTES_MAX + this.#blocks.size(run) * BUCKET_BYTES_MAX
  }

  /** Writes a run as an encoded sketch to `target` from `at` on; returns the end. */
  encode(run: number, target: Uint8Array, at: number): number {
    return encodeBuckets(this.#blocks.cells, this.#counts, this.#blocks.size(run), target, at, run + 1)
  }
}
