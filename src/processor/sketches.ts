// The quantile sketches of many rows, each known by a number: 0 has no values, below 0 there are lists of few values
// (samples.ts), above 0 runs of buckets with their counts (buckets.ts). A list becomes a run when that takes less room, and at
// the latest when it would be too long to be put in order again and again.

import { decoded, decodeSketch } from '../results/sketch.ts'
import { NO_BLOCK } from './blocks.ts'
import { Buckets } from './buckets.ts'
import { isBestAsList, Samples } from './samples.ts'

/** Of a row without values. */
export const NO_SKETCH = 0

export class Sketches {
  readonly #samples = new Samples()
  readonly #buckets = new Buckets()

  /** In use, with what was left and will be used again. */
  get bytes(): number {
    return this.#samples.bytes + this.#buckets.bytes
  }

  /** Counts one value; returns the number that the sketch has now. */
  count(sketch: number, bucket: number): number {
    if (sketch > 0) return this.#buckets.count(sketch, bucket)
    const list = this.#samples.add(0 - sketch, bucket)
    return list === NO_BLOCK ? this.#buckets.count(this.#toRun(0 - sketch), bucket) : 0 - list
  }

  #toRun(list: number): number {
    const encoded = new Uint8Array(this.#samples.encodedBytesMax(list))
    this.#samples.encode(list, encoded, 0)
    this.#samples.free(list)
    const size = decodeSketch(encoded, 0)
    return this.#buckets.of(decoded.buckets, decoded.counts, size)
  }

  /** An encoded sketch. */
  decode(source: Uint8Array, at: number): number {
    const size = decodeSketch(source, at)
    const { buckets, counts } = decoded
    let total = 0
    for (let i = 0; i < size; i++) total += counts[i]
    if (total > 0 && !isBestAsList(total, size)) return this.#buckets.of(buckets, counts, size)
    return 0 - this.#samples.of(buckets, counts, size, total)
  }

  /** Copies a sketch of another. */
  copy(from: Sketches, sketch: number): number {
    if (sketch > 0) return this.#buckets.copy(from.#buckets, sketch)
    return 0 - this.#samples.copy(from.#samples, 0 - sketch)
  }

  encodedBytesMax(sketch: number): number {
    return sketch > 0 ? this.#buckets.encodedBytesMax(sketch) : this.#samples.encodedBytesMax(0 - sketch)
  }

  /** Writes it encoded to `target` from `at` on; returns the end. */
  encode(sketch: number, target: Uint8Array, at: number): number {
    if (sketch > 0) return this.#buckets.encode(sketch, target, at)
    return this.#samples.encode(0 - sketch, target, at)
  }
}
