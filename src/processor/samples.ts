// The sketches of rows that have few values yet: their buckets as they came, in no order, one cell each. A value is added
// without looking at the others, and most rows of a measure with many keys never have more than a few.

import { BUCKET_BYTES_MAX, COUNT_BYTES_MAX, encodeSamples } from '../results/sketch.ts'
import { Blocks, blockLog2, NO_BLOCK } from './blocks.ts'
import { BUCKET_BYTES } from './buckets.ts'

const LOG2_MIN = 2
/** In one list: it is put in order whenever its row is written. */
const SAMPLES_MAX = 127
const BYTES = 4

export class Samples {
  readonly #blocks = new Blocks()

  /** In use, free blocks among them. */
  get bytes(): number {
    return this.#blocks.used * BYTES
  }

  /** Adds one; returns where the list is now, or NO_BLOCK where it is not to grow any more. */
  add(list: number, bucket: number): number {
    const blocks = this.#blocks
    const size = blocks.size(list)
    const log2 = blocks.log2(list)
    const to = size + 1 < 1 << log2 ? list : this.#grow(list, size, log2)
    if (to === NO_BLOCK) return NO_BLOCK
    blocks.cells[to + 1 + size] = bucket
    blocks.setSize(to, size + 1)
    return to
  }

  /** Moves a list that is full into a larger block, unless it is to become a run. */
  #grow(list: number, size: number, log2: number): number {
    if (list === NO_BLOCK) return this.#blocks.take(LOG2_MIN)
    if (!isBestAsList(size + 1, this.#sort(list))) return NO_BLOCK
    return this.#move(this, list, size, log2 + 1)
  }

  /** A list of these buckets, whose counts come to `total`. */
  of(buckets: Int32Array, counts: Float64Array, size: number, total: number): number {
    if (total === 0) return NO_BLOCK
    const list = this.#blocks.take(log2Of(total))
    const { cells } = this.#blocks
    let at = list + 1
    for (let i = 0; i < size; i++) for (let n = counts[i]; n > 0; n--) cells[at++] = buckets[i]
    this.#blocks.setSize(list, total)
    return list
  }

  /** Copies a list of another. */
  copy(from: Samples, list: number): number {
    const size = from.#blocks.size(list)
    return size === 0 ? NO_BLOCK : this.#move(from, list, size, log2Of(size))
  }

  /** A list with the same in it, in a block of its own; the former one of this table is free then. */
  #move(from: Samples, list: number, size: number, log2: number): number {
    const to = this.#blocks.take(log2)
    const source = from.#blocks.cells
    const { cells } = this.#blocks
    for (let i = 1; i <= size; i++) cells[to + i] = source[list + i]
    this.#blocks.setSize(to, size)
    if (from === this) this.free(list)
    return to
  }

  free(list: number): void {
    this.#blocks.give(list)
  }

  /** Puts a list in order; returns how many buckets there are in it. By insertion: most is in order since the last time. */
  #sort(list: number): number {
    const { cells } = this.#blocks
    const end = list + this.#blocks.size(list)
    let different = Math.min(end - list, 1)
    for (let i = list + 2; i <= end; i++) {
      const bucket = cells[i]
      let at = i
      for (; at > list + 1 && cells[at - 1] > bucket; at--) cells[at] = cells[at - 1]
      cells[at] = bucket
      different += Number(at === list + 1 || cells[at - 1] !== bucket)
    }
    return different
  }

  encodedBytesMax(list: number): number {
    return COUNT_BYTES_MAX + this.#blocks.size(list) * BUCKET_BYTES_MAX
  }

  /** Writes a list as an encoded sketch to `target` from `at` on; returns the end. */
  encode(list: number, target: Uint8Array, at: number): number {
    const different = this.#sort(list)
    const from = list + 1
    return encodeSamples(this.#blocks.cells, from, from + this.#blocks.size(list), different, target, at)
  }
}

/** Whether so many values in so many buckets are few, and take less room in a list than as buckets with their counts. */
export function isBestAsList(values: number, buckets: number): boolean {
  return values <= SAMPLES_MAX && BYTES << log2Of(values) < BUCKET_BYTES << blockLog2(buckets)
}

/** Of the block for a list of this size. */
function log2Of(size: number): number {
  return Math.max(LOG2_MIN, blockLog2(size))
}
