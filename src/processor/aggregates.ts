// The table of a fold: rows by (measure, window, key), and buckets of their sketches by (row, bucket). Both are open
// addressing with linear probing over typed arrays; rows and buckets are dense, in the order they came.

import { randomBytes } from 'node:crypto'
import { FOLD_ROWS_KEPT_MAX } from '../limits.ts'
import { BUCKET_BYTES_MAX, COUNT_BYTES_MAX, encodeBuckets } from '../results/sketch.ts'
import { CARRY, COUNT, Delta, MAX, MIN, STATS, SUM, WINDOW } from './delta.ts'
import type { CompiledMeasure } from './measure.ts'

const ROWS_MIN = 1024
const BUCKETS_MIN = 4096
/** A 32-bit number that spreads well: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1
/** What ends a key part (results/keys.ts), big endian. */
const END = 0x0001
const END_BYTES = 2

export class Aggregates {
  /** Of the hash. Drawn at random, so that nobody can make keys that collide. */
  readonly #seed: number
  readonly #multiplier: number

  readonly #starts: Int32Array
  readonly #ends: Int32Array
  readonly #windows: Float64Array
  #frames: DataView = new DataView(new ArrayBuffer(0))

  #rows = 0
  #rowsMax!: number
  /** Pairs: hash, row + 1; 0 is free. Twice as many pairs as rows at least. */
  #slots!: Int32Array
  /** STATS numbers for each row, as in a delta. */
  stats!: Float64Array
  #measure!: Int32Array
  #keyEnd!: Int32Array
  #keys!: Uint8Array
  #keysView!: DataView
  #keyBytes = 0
  #scratch = new Uint8Array(4096)

  #buckets = 0
  #bucketsMax!: number
  /** Bucket entry + 1; 0 is free. */
  #bucketSlots!: Int32Array
  #bucketRow!: Int32Array
  #bucketNumber!: Int32Array
  #bucketCount!: Int32Array
  /** The bucket entry of the same row that came before, or -1; and for each row the one that came last. */
  #bucketNext!: Int32Array
  #rowBucket!: Int32Array

  /** `starts`, `ends`: where each field of the event at hand stands; `windows`: where windows start. Shared. */
  constructor(starts: Int32Array, ends: Int32Array, windows: Float64Array) {
    this.#starts = starts
    this.#ends = ends
    this.#windows = windows
    const random = randomBytes(8)
    this.#seed = random.readInt32LE(0)
    this.#multiplier = random.readInt32LE(4) | 0x10000001
    this.#makeRows(ROWS_MIN)
    this.#makeBuckets(BUCKETS_MIN)
  }

  /** What is folded from now on. */
  begin(frames: DataView): void {
    this.#frames = frames
  }

  /**
   * The row of an event, made if need be. Its key parts are the measure's fields; its window starts at
   * windows[window]. Parts are hashed and compared in words of four bytes, the last of which may overlap the one
   * before.
   */
  row(measure: CompiledMeasure, window: number): number {
    const frames = this.#frames
    const starts = this.#starts
    const ends = this.#ends
    const windowStart = this.#windows[window]
    const { by, index } = measure
    const multiplier = this.#multiplier
    let hash = this.#seed ^ index ^ windowStart
    let zeros = 0 // sign bits of bytes that are 0
    let length = 0
    for (let i = 0; i < by.length; i++) {
      const start = starts[by[i]]
      const end = ends[by[i]]
      length += end - start + END_BYTES
      hash = Math.imul(hash ^ (end - start), multiplier)
      let at = start
      for (; at + 4 <= end; at += 4) {
        const word = frames.getInt32(at, true)
        zeros |= (word - 0x01010101) & ~word
        hash = Math.imul(hash ^ word, multiplier)
        hash ^= hash >>> 15
      }
      if (at === end) continue
      const word = end - start >= 4 ? frames.getInt32(end - 4, true) : shortWord(frames, start, end)
      zeros |= (word - 0x01010101) & ~word
      hash = Math.imul(hash ^ word, multiplier)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, SPREAD)
    hash ^= hash >>> 15
    if ((zeros & 0x80808080) !== 0) length = this.#escape(by)
    const escaped = (zeros & 0x80808080) !== 0

    const slots = this.#slots
    const mask = slots.length - 2
    let slot = (hash << 1) & mask
    for (;;) {
      const row = slots[slot + 1] - 1
      if (row < 0) {
        if (!escaped) this.#escape(by)
        return this.#add(slot, hash, index, windowStart, length)
      }
      if (
        slots[slot] === hash &&
        this.stats[row * STATS + WINDOW] === windowStart &&
        this.#isOf(row, index, length) &&
        (escaped ? this.#isScratch(row, length) : this.#isKey(row, by))
      ) {
        return row
      }
      slot = (slot + 2) & mask
    }
  }

  #isOf(row: number, measure: number, length: number): boolean {
    const start = row === 0 ? 0 : this.#keyEnd[row - 1]
    return this.#keyEnd[row] - start === length && this.#measure[row] === measure
  }

  /** True when the row's key is these parts, none of which has a NUL in it. */
  #isKey(row: number, by: number[]): boolean {
    const frames = this.#frames
    const starts = this.#starts
    const ends = this.#ends
    const keys = this.#keysView
    let key = row === 0 ? 0 : this.#keyEnd[row - 1]
    for (let i = 0; i < by.length; i++) {
      const end = ends[by[i]]
      let at = starts[by[i]]
      for (; at + 4 <= end; at += 4, key += 4) {
        if (frames.getInt32(at, true) !== keys.getInt32(key, true)) return false
      }
      for (; at < end; at++, key++) if (frames.getUint8(at) !== keys.getUint8(key)) return false
      if (keys.getUint16(key) !== END) return false
      key += END_BYTES
    }
    return true
  }

  #isScratch(row: number, length: number): boolean {
    const start = row === 0 ? 0 : this.#keyEnd[row - 1]
    for (let i = 0; i < length; i++) if (this.#keys[start + i] !== this.#scratch[i]) return false
    return true
  }

  /** Writes key parts to #scratch, as in results/keys.ts; returns the number of bytes. */
  #escape(by: number[]): number {
    const frames = this.#frames
    const starts = this.#starts
    const ends = this.#ends
    let length = 0
    for (let i = 0; i < by.length; i++) {
      const end = ends[by[i]]
      let at = starts[by[i]]
      const lengthMax = length + (end - at) * 2 + END_BYTES
      if (lengthMax > this.#scratch.length) {
        const scratch = new Uint8Array(lengthMax * 2)
        scratch.set(this.#scratch)
        this.#scratch = scratch
      }
      for (; at < end; at++) {
        const byte = frames.getUint8(at)
        this.#scratch[length++] = byte
        if (byte === 0) this.#scratch[length++] = 2
      }
      this.#scratch[length++] = 0
      this.#scratch[length++] = 1
    }
    return length
  }

  /** Adds a row whose key is #scratch. */
  #add(slot: number, hash: number, measure: number, windowStart: number, length: number): number {
    const row = this.#rows++
    this.#slots[slot] = hash
    this.#slots[slot + 1] = row + 1
    const base = row * STATS
    this.stats[base + COUNT] = 0
    this.stats[base + SUM] = 0
    this.stats[base + CARRY] = 0
    this.stats[base + MIN] = Number.POSITIVE_INFINITY
    this.stats[base + MAX] = Number.NEGATIVE_INFINITY
    this.stats[base + WINDOW] = windowStart
    this.#measure[row] = measure
    this.#rowBucket[row] = -1
    if (this.#keyBytes + length > this.#keys.length) this.#growKeys(length)
    for (let i = 0; i < length; i++) this.#keys[this.#keyBytes + i] = this.#scratch[i]
    this.#keyBytes += length
    this.#keyEnd[row] = this.#keyBytes
    if (this.#rows === this.#rowsMax) this.#growRows()
    return row
  }

  /** Counts one value of a row in a bucket of its sketch. */
  bucket(row: number, bucket: number): void {
    let mixed = Math.imul(Math.imul(row, SPREAD) ^ bucket, this.#multiplier)
    mixed ^= mixed >>> 15
    const slots = this.#bucketSlots
    const mask = slots.length - 1
    let slot = mixed & mask
    for (;;) {
      const entry = slots[slot] - 1
      if (entry < 0) break
      if (this.#bucketRow[entry] === row && this.#bucketNumber[entry] === bucket) {
        this.#bucketCount[entry]++
        return
      }
      slot = (slot + 1) & mask
    }
    const entry = this.#buckets++
    slots[slot] = entry + 1
    this.#bucketRow[entry] = row
    this.#bucketNumber[entry] = bucket
    this.#bucketCount[entry] = 1
    this.#bucketNext[entry] = this.#rowBucket[row]
    this.#rowBucket[row] = entry
    if (this.#buckets === this.#bucketsMax) this.#growBuckets()
  }

  /** All rows as a delta; the table is empty then. */
  take(events: number): ArrayBuffer {
    this.#frames = new DataView(new ArrayBuffer(0))
    const rows = this.#rows
    const { sketches, ends } = this.#sketches()
    const delta = Delta.of(events, rows, this.#keyBytes, sketches.length)
    delta.stats.set(this.stats.subarray(0, rows * STATS))
    delta.measure.set(this.#measure.subarray(0, rows))
    delta.keyEnd.set(this.#keyEnd.subarray(0, rows))
    delta.sketchEnd.set(ends)
    delta.keys.set(this.#keys.subarray(0, this.#keyBytes))
    delta.sketches.set(sketches)
    this.#clear()
    return delta.buffer
  }

  #sketches(): { sketches: Uint8Array; ends: Int32Array } {
    const rows = this.#rows
    const ends = new Int32Array(rows)
    if (this.#buckets === 0) return { sketches: new Uint8Array(0), ends }
    const sketches = new Uint8Array(rows * COUNT_BYTES_MAX + this.#buckets * BUCKET_BYTES_MAX)
    const order = new Float64Array(this.#buckets)
    const buckets = new Int32Array(this.#buckets)
    const counts = new Float64Array(this.#buckets)
    let end = 0
    for (let row = 0; row < rows; row++) {
      let size = 0
      for (let entry = this.#rowBucket[row]; entry >= 0; entry = this.#bucketNext[entry]) {
        order[size++] = this.#bucketNumber[entry] * 0x100000000 + entry // sorts by bucket, and names the entry
      }
      if (size > 0) {
        sort(order, size)
        for (let i = 0; i < size; i++) {
          const entry = order[i] >>> 0
          buckets[i] = this.#bucketNumber[entry]
          counts[i] = this.#bucketCount[entry]
        }
        end = encodeBuckets(buckets, counts, size, sketches, end)
      }
      ends[row] = end
    }
    return { sketches: sketches.subarray(0, end), ends }
  }

  #clear(): void {
    if (this.#rowsMax > FOLD_ROWS_KEPT_MAX) this.#makeRows(ROWS_MIN)
    else this.#slots.fill(0)
    if (this.#bucketsMax > FOLD_ROWS_KEPT_MAX * 4) this.#makeBuckets(BUCKETS_MIN)
    else if (this.#buckets > 0) this.#bucketSlots.fill(0)
    this.#rows = 0
    this.#keyBytes = 0
    this.#buckets = 0
  }

  #makeRows(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.stats = new Float64Array(rowsMax * STATS)
    this.#measure = new Int32Array(rowsMax)
    this.#keyEnd = new Int32Array(rowsMax)
    this.#rowBucket = new Int32Array(rowsMax)
    this.#setKeys(new Uint8Array(rowsMax * 16))
  }

  #growRows(): void {
    const { stats } = this
    const slots = this.#slots
    const measure = this.#measure
    const keyEnd = this.#keyEnd
    const rowBucket = this.#rowBucket
    const keys = this.#keys
    this.#makeRows(this.#rowsMax * 2)
    this.stats.set(stats)
    this.#measure.set(measure)
    this.#keyEnd.set(keyEnd)
    this.#rowBucket.set(rowBucket)
    if (this.#keys.length < keys.length) this.#setKeys(new Uint8Array(keys.length))
    this.#keys.set(keys.subarray(0, this.#keyBytes))
    const mask = this.#slots.length - 2
    for (let from = 0; from < slots.length; from += 2) {
      if (slots[from + 1] === 0) continue
      let slot = (slots[from] << 1) & mask
      while (this.#slots[slot + 1] !== 0) slot = (slot + 2) & mask
      this.#slots[slot] = slots[from]
      this.#slots[slot + 1] = slots[from + 1]
    }
  }

  #growKeys(length: number): void {
    const keys = new Uint8Array((this.#keys.length + length) * 2)
    keys.set(this.#keys)
    this.#setKeys(keys)
  }

  #setKeys(keys: Uint8Array): void {
    this.#keys = keys
    this.#keysView = new DataView(keys.buffer)
  }

  #makeBuckets(bucketsMax: number): void {
    this.#bucketsMax = bucketsMax
    this.#bucketSlots = new Int32Array(bucketsMax * 2)
    this.#bucketRow = new Int32Array(bucketsMax)
    this.#bucketNumber = new Int32Array(bucketsMax)
    this.#bucketCount = new Int32Array(bucketsMax)
    this.#bucketNext = new Int32Array(bucketsMax)
  }

  #growBuckets(): void {
    const row = this.#bucketRow
    const number = this.#bucketNumber
    const count = this.#bucketCount
    const next = this.#bucketNext
    this.#makeBuckets(this.#bucketsMax * 2)
    this.#bucketRow.set(row)
    this.#bucketNumber.set(number)
    this.#bucketCount.set(count)
    this.#bucketNext.set(next)
    const slots = this.#bucketSlots
    const mask = slots.length - 1
    for (let entry = 0; entry < this.#buckets; entry++) {
      let mixed = Math.imul(Math.imul(row[entry], SPREAD) ^ number[entry], this.#multiplier)
      mixed ^= mixed >>> 15
      let slot = mixed & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = entry + 1
    }
  }
}

/** The fewer than four bytes from start to end; the rest is 1, so as not to look like NULs. */
function shortWord(frames: DataView, start: number, end: number): number {
  let word = 0x01010101
  for (let at = start; at < end; at++) word = (word << 8) | frames.getUint8(at)
  return word
}

/** Sorts order[0, size) in rising order. Most rows of a task have few buckets, where insertion is quickest. */
function sort(order: Float64Array, size: number): void {
  if (size > 32) {
    order.subarray(0, size).sort()
    return
  }
  for (let i = 1; i < size; i++) {
    const n = order[i]
    let to = i
    for (; to > 0 && order[to - 1] > n; to--) order[to] = order[to - 1]
    order[to] = n
  }
}
