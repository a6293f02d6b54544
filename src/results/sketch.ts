// A quantile sketch: counts of values in buckets whose bounds are taken straight from the bits of the double.
//
// A bucket is all doubles with the same sign, exponent and first six bits of the mantissa: 64 buckets an octave,
// with bounds a < b where b/a <= 65/64. Its values are told as 2ab/(a+b), which is off by (b-a)/(a+b) of any of
// them at most. Buckets are numbered in the order of their values: 0 is zero, negatives mirror positives. Values
// too small for a normal double (below 2^-1022) count as zero. Each infinity has a bucket; NaN has none.
//
// The idea of a histogram with logarithmic buckets that merges exactly and keeps a relative error: C. Masson, J. E.
// Rim, H. K. Lee, DDSketch, VLDB 2019. Numbering buckets by bits in place of logarithms is what HdrHistogram does
// for integers.
//
// Encoded: varint number of buckets, then for each in rising order: varint of what its number is above the last
// one's (for the first: zigzag of the number itself), varint count.

/** The most by which a quantile differs from the exact one, as a part of it. */
export const RELATIVE_ERROR = 1 / 129

/** Buckets are numbered from -BUCKET_MAX to BUCKET_MAX. */
export const BUCKET_MAX = 0x7ff * 64 - 63

/** The bucket of a value other than NaN, given the upper 32 bits of the double. */
export function bucketOf(high: number): number {
  const magnitude = ((high & 0x7fffffff) >>> 14) - 63
  return magnitude <= 0 ? 0 : high < 0 ? -magnitude : magnitude
}

const bits = new DataView(new ArrayBuffer(8))

/** The number that is told for the values of a bucket. */
export function valueOfBucket(bucket: number): number {
  if (bucket === 0) return 0
  const magnitude = Math.abs(bucket) + 63
  bits.setUint32(0, magnitude << 14)
  bits.setUint32(4, 0)
  const low = bits.getFloat64(0)
  if (low === Number.POSITIVE_INFINITY) return bucket < 0 ? -low : low
  const ratio = (65 + (magnitude & 63)) / (64 + (magnitude & 63)) // of the bounds
  const value = low * ((2 * ratio) / (1 + ratio))
  return bucket < 0 ? -value : value
}

/** Most bytes of a bucket in the encoding, and of the number of buckets in front of them. */
export const BUCKET_BYTES_MAX = 11
export const COUNT_BYTES_MAX = 3

/**
 * Writes `size` buckets from `from` on, in rising order, to `target` from `at` on, but for those with a count of 0;
 * returns the end.
 */
export function encodeBuckets(
  buckets: Int32Array,
  counts: Float64Array,
  size: number,
  target: Uint8Array,
  at: number,
  from = 0,
): number {
  let used = 0
  for (let i = from; i < from + size; i++) used += Number(counts[i] > 0)
  let end = putVarint(target, at, used)
  let last: number | undefined
  for (let i = from; i < from + size; i++) {
    const bucket = buckets[i]
    const count = counts[i]
    if (count === 0) continue
    const step = last === undefined ? ((bucket << 1) ^ (bucket >> 31)) >>> 0 : bucket - last
    if (step < 128) target[end++] = step
    else end = putVarint(target, end, step)
    if (count < 128) target[end++] = count
    else end = putVarint(target, end, count)
    last = bucket
  }
  return end
}

function putVarint(target: Uint8Array, at: number, n: number): number {
  let rest = n
  let end = at
  while (rest > 0xfffffff) {
    target[end++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  while (rest > 127) {
    target[end++] = (rest & 127) | 128
    rest >>>= 7
  }
  target[end++] = rest
  return end
}

/** What the last decodeSketch read. */
export const decoded = { buckets: new Int32Array(256), counts: new Float64Array(256) }
let readEnd = 0

function takeVarint(source: Uint8Array): number {
  let byte = source[readEnd++]
  if (byte < 128) return byte
  let n = byte & 127
  let scale = 128
  do {
    byte = source[readEnd++]
    n += (byte & 127) * scale
    scale *= 128
  } while (byte > 127)
  return n
}

/** Reads the encoded sketch at `at` into `decoded`; returns the number of buckets. */
export function decodeSketch(source: Uint8Array, at: number): number {
  readEnd = at
  const size = takeVarint(source)
  if (size > decoded.buckets.length) {
    decoded.buckets = new Int32Array(size * 2)
    decoded.counts = new Float64Array(size * 2)
  }
  const { buckets, counts } = decoded
  let bucket = 0
  for (let i = 0; i < size; i++) {
    const step = takeVarint(source)
    bucket = i === 0 ? (step >>> 1) ^ -(step & 1) : bucket + step
    buckets[i] = bucket
    counts[i] = takeVarint(source)
  }
  return size
}

/** Sorted counts by bucket. Merging is exact, and the same in whatever order and grouping. */
export class Sketch {
  #buckets = new Int32Array(8)
  #counts = new Float64Array(8)
  #size = 0

  /** Buckets in use. */
  get size(): number {
    return this.#size
  }

  /** Adds the encoded sketch that starts at `at`. */
  merge(source: Uint8Array, at: number): void {
    const size = decodeSketch(source, at)
    const missing = this.#addToPresent(size)
    if (missing > 0) this.#insert(missing)
  }

  /** Adds what decodeSketch read to the buckets that exist; returns how many did not, their counts left over. */
  #addToPresent(size: number): number {
    const { buckets: readBuckets, counts: readCounts } = decoded
    const buckets = this.#buckets
    const counts = this.#counts
    let missing = 0
    let low = 0
    for (let i = 0; i < size; i++) {
      const bucket = readBuckets[i]
      let high = this.#size
      while (low < high) {
        const middle = (low + high) >>> 1
        if (buckets[middle] < bucket) low = middle + 1
        else high = middle
      }
      if (low < this.#size && buckets[low] === bucket) counts[low++] += readCounts[i]
      else {
        readBuckets[missing] = bucket
        readCounts[missing++] = readCounts[i]
      }
    }
    return missing
  }

  /** Puts the first `missing` of what was read, none of which is here, between those that are: from behind. */
  #insert(missing: number): void {
    const size = this.#size + missing
    if (size > this.#buckets.length) {
      const capacity = Math.max(size, this.#buckets.length * 2)
      const buckets = new Int32Array(capacity)
      const counts = new Float64Array(capacity)
      buckets.set(this.#buckets.subarray(0, this.#size))
      counts.set(this.#counts.subarray(0, this.#size))
      this.#buckets = buckets
      this.#counts = counts
    }
    const { buckets: readBuckets, counts: readCounts } = decoded
    const buckets = this.#buckets
    const counts = this.#counts
    let from = this.#size - 1
    let to = size - 1
    for (let i = missing - 1; i >= 0; to--) {
      if (from >= 0 && buckets[from] > readBuckets[i]) {
        buckets[to] = buckets[from]
        counts[to] = counts[from--]
      } else {
        buckets[to] = readBuckets[i]
        counts[to] = readCounts[i--]
      }
    }
    this.#size = size
  }

  get encodedBytesMax(): number {
    return COUNT_BYTES_MAX + this.#size * BUCKET_BYTES_MAX
  }

  /** Writes the sketch to `target` from `at` on; returns the end. */
  encode(target: Uint8Array, at: number): number {
    return encodeBuckets(this.#buckets, this.#counts, this.#size, target, at)
  }

  /**
   * The value of rank floor(q * (n - 1)), counted from 0, among the n values in order: off by RELATIVE_ERROR of
   * itself at most, and within [min, max]. 0 <= q <= 1, and there is a value.
   */
  quantile(q: number, min: number, max: number): number {
    let total = 0
    for (let i = 0; i < this.#size; i++) total += this.#counts[i]
    const rank = Math.floor(q * (total - 1))
    let below = 0
    let i = 0
    while (i < this.#size - 1 && below + this.#counts[i] <= rank) below += this.#counts[i++]
    return Math.min(max, Math.max(min, valueOfBucket(this.#buckets[i])))
  }
}
