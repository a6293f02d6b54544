// The rows of one measure as they stand, in typed arrays: a lookup touches one line of the index, one of the row, and
// the key.
//
// A row is 64 bytes: six doubles as in a delta (count, sum, carry, min, max, window), then four 32-bit numbers.

import { KEY_BYTES_MAX } from '../limits.ts'
import { putRowKey, rowKey, rowKeyBytes } from '../results/keys.ts'
import { KEY, NUMBERS, putKey, putStats, Row, rowBytesMax, SKETCH, sketchAt } from '../results/row.ts'
import { lost } from '../results/sum.ts'
import { Buckets, NO_RUN } from './buckets.ts'
import { CARRY, COUNT, MAX, MIN, type Section, STATS, SUM, WINDOW } from './delta.ts'

const ROWS_MIN = 1024
const DOUBLES = 8
const INTS = 16
/** Places among a row's 32-bit numbers: those behind the six doubles. */
const HASH = 12
const KEY_AT = 13
const KEY_BYTES = 14
/** The run of its buckets. */
const RUN = 15

const ROW_BITS = 24
const ROW_MASK = (1 << ROW_BITS) - 1
/** Which half of a number of 64 bits is the upper one, as the machine lays it. */
const UPPER = new Uint8Array(Uint16Array.of(1).buffer)[0]

const ROOM_BYTES = 4096

/** The small part of the store, and of a commit (which copies what it is given), that is needed here. */
export interface RowSource {
  getRow(key: Buffer): Buffer | undefined
}
export interface RowBatch {
  putRow(key: Buffer, value: Buffer): void
}

export class Rows {
  /** Of the measure, in the store. */
  readonly id: number
  readonly numbers: boolean
  readonly sketch: boolean
  readonly buckets: Buckets
  readonly #store: RowSource

  #size = 0
  #rowsMax!: number
  /** Pairs: hash, row + 1; 0 is free. Twice as many pairs as rows at least; open addressing with linear probing. */
  #slots!: Int32Array
  #doubles!: Float64Array
  #ints!: Int32Array
  #keys = new Uint8Array(ROWS_MIN * 16)
  #keyBytes = 0
  /** Rows that were touched, in the order in which they were, and for each row whether it is among them. */
  #dirty!: Int32Array
  #isDirty!: Uint8Array
  #dirtySize = 0
  /** For the key and value of a row that is being written. */
  #room = Buffer.allocUnsafeSlow(ROOM_BYTES)
  #roomView = new DataView(this.#room.buffer)
  /** For each row of a delta, its row here. */
  #found = new Int32Array(ROWS_MIN)

  constructor(id: number, numbers: boolean, sketch: boolean, store: RowSource) {
    this.id = id
    this.numbers = numbers
    this.sketch = sketch
    this.#store = store
    this.buckets = new Buckets()
    this.#make(ROWS_MIN)
  }

  get size(): number {
    return this.#size
  }
  get dirtySize(): number {
    return this.#dirtySize
  }

  /**
   * Adds the part of a delta. In steps over all of its rows, so that what one waits for in memory is fetched while
   * others are looked at.
   */
  merge(section: Section): void {
    if (section.rows === 0) return
    if (section.rows > this.#found.length) this.#found = new Int32Array(section.rows * 2)
    this.#guess(section)
    this.#find(section)
    if (this.numbers) this.#addStats(section)
    else this.#addCounts(section)
    this.#touch(section.rows)
    if (this.sketch) this.#addSamples(section)
  }

  /** Notes for each row of the delta the first one here with its hash, or -1. */
  #guess({ rows, hash }: Section): void {
    const slots = this.#slots
    const mask = slots.length - 2
    const found = this.#found
    for (let i = 0; i < rows; i++) {
      let slot = (hash[i] << 1) & mask
      while (slots[slot] !== hash[i] && slots[slot + 1] !== 0) slot = (slot + 2) & mask
      found[i] = slots[slot + 1] - 1
    }
  }

  /** Makes sure of the guesses. */
  #find(section: Section): void {
    const { rows, stats, hash, keyEnd, keys } = section
    const found = this.#found
    let start = 0
    for (let i = 0; i < rows; i++) {
      const window = stats[i * STATS + WINDOW]
      if (found[i] < 0 || !this.#is(found[i], window, keys, start, keyEnd[i])) {
        found[i] = this.#row(hash[i], window, keys, start, keyEnd[i])
      }
      start = keyEnd[i]
    }
  }

  #is(row: number, window: number, keys: Uint8Array, start: number, end: number): boolean {
    if (this.#doubles[row * DOUBLES + WINDOW] !== window) return false
    if (this.#ints[row * INTS + KEY_BYTES] !== end - start) return false
    const own = this.#keys
    let at = this.#ints[row * INTS + KEY_AT]
    for (let i = start; i < end; i++) if (keys[i] !== own[at++]) return false
    return true
  }

  #row(hash: number, window: number, keys: Uint8Array, start: number, end: number): number {
    const slots = this.#slots
    const mask = slots.length - 2
    let slot = (hash << 1) & mask
    for (; slots[slot + 1] !== 0; slot = (slot + 2) & mask) {
      const row = slots[slot + 1] - 1
      if (slots[slot] === hash && this.#is(row, window, keys, start, end)) return row
    }
    const row = this.#add(slot, hash, window, keys, start, end)
    const stored = this.#store.getRow(rowKey(this.id, keys.subarray(start, end), window))
    if (stored !== undefined) this.#load(row, stored)
    return row
  }

  #add(slot: number, hash: number, window: number, keys: Uint8Array, start: number, end: number): number {
    const row = this.#size++
    this.#slots[slot] = hash
    this.#slots[slot + 1] = row + 1
    const base = row * DOUBLES
    this.#doubles[base + COUNT] = 0
    this.#doubles[base + SUM] = 0
    this.#doubles[base + CARRY] = 0
    this.#doubles[base + MIN] = Number.POSITIVE_INFINITY
    this.#doubles[base + MAX] = Number.NEGATIVE_INFINITY
    this.#doubles[base + WINDOW] = window
    const ints = row * INTS
    this.#ints[ints + HASH] = hash
    this.#ints[ints + KEY_AT] = this.#keyBytes
    this.#ints[ints + KEY_BYTES] = end - start
    this.#ints[ints + RUN] = NO_RUN
    this.#isDirty[row] = 0
    if (this.#keyBytes + end - start > this.#keys.length) {
      const grown = new Uint8Array((this.#keys.length + end - start) * 2)
      grown.set(this.#keys)
      this.#keys = grown
    }
    for (let i = start; i < end; i++) this.#keys[this.#keyBytes++] = keys[i]
    if (this.#size === this.#rowsMax) this.#grow()
    return row
  }

  /** Fills a new row from the store. */
  #load(row: number, stored: Buffer): void {
    const { count, sum, carry, min, max } = new Row().merge(stored, false)
    const base = row * DOUBLES
    this.#doubles[base + COUNT] = count
    this.#doubles[base + SUM] = sum
    this.#doubles[base + CARRY] = carry
    this.#doubles[base + MIN] = min
    this.#doubles[base + MAX] = max
    const at = sketchAt(stored)
    if (this.sketch && at >= 0) this.#ints[row * INTS + RUN] = this.buckets.decode(stored, at)
  }

  #addCounts({ rows, stats }: Section): void {
    const doubles = this.#doubles
    const found = this.#found
    for (let i = 0; i < rows; i++) doubles[found[i] * DOUBLES + COUNT] += stats[i * STATS + COUNT]
  }

  #addStats({ rows, stats }: Section): void {
    const doubles = this.#doubles
    const found = this.#found
    for (let i = 0; i < rows; i++) {
      const base = found[i] * DOUBLES
      const from = i * STATS
      doubles[base + COUNT] += stats[from + COUNT]
      const sum = stats[from + SUM]
      const before = doubles[base + SUM]
      const total = before + sum
      doubles[base + SUM] = total
      doubles[base + CARRY] += stats[from + CARRY] + lost(before, sum, total)
      if (stats[from + MIN] < doubles[base + MIN]) doubles[base + MIN] = stats[from + MIN]
      if (stats[from + MAX] > doubles[base + MAX]) doubles[base + MAX] = stats[from + MAX]
    }
  }

  #addSamples({ samples, sampleRow, sampleBucket }: Section): void {
    const ints = this.#ints
    const found = this.#found
    const { buckets } = this
    for (let i = 0; i < samples; i++) {
      const place = found[sampleRow[i]] * INTS + RUN
      ints[place] = buckets.count(ints[place], sampleBucket[i])
    }
  }

  #touch(rows: number): void {
    const found = this.#found
    const isDirty = this.#isDirty
    const dirty = this.#dirty
    let size = this.#dirtySize
    for (let i = 0; i < rows; i++) {
      const row = found[i]
      dirty[size] = row
      size += 1 - isDirty[row]
      isDirty[row] = 1
    }
    this.#dirtySize = size
  }

  /** Puts the rows touched since the last time into a commit, one after the other from the same room. */
  write(batch: RowBatch): void {
    const { id, buckets } = this
    const flags = (this.numbers ? NUMBERS : 0) | (this.sketch ? SKETCH : 0)
    this.#sortDirty()
    for (let i = 0; i < this.#dirtySize; i++) {
      const row = this.#dirty[i]
      this.#isDirty[row] = 0
      const base = row * DOUBLES
      const window = this.#doubles[base + WINDOW]
      const keyAt = this.#ints[row * INTS + KEY_AT]
      const keyBytes = this.#ints[row * INTS + KEY_BYTES]
      const run = this.#ints[row * INTS + RUN]
      const long = keyBytes > KEY_BYTES_MAX
      this.#makeRoom(rowKeyBytes(keyBytes) + rowBytesMax(keyBytes, buckets.encodedBytesMax(run)))
      const room = this.#room
      const keyEnd = putRowKey(id, this.#keys, keyAt, keyBytes, window, room, 0)
      let end = putStats(this.#roomView, keyEnd, long ? flags | KEY : flags, this.#doubles, base)
      if (long) end = putKey(this.#roomView, end, this.#keys.subarray(keyAt, keyAt + keyBytes))
      if (this.sketch) end = buckets.encode(run, room, end)
      batch.putRow(room.subarray(0, keyEnd), room.subarray(keyEnd, end))
    }
    this.#dirtySize = 0
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#room.length) return
    this.#room = Buffer.allocUnsafeSlow(bytes * 2)
    this.#roomView = new DataView(this.#room.buffer)
  }

  /**
   * Puts the rows that were touched in the order of their keys, all but: by the five bytes behind what all of these
   * have in common. LMDB then goes from page to page, and takes 400,000 of a million rows in a third of the time;
   * sorting costs a tenth of that. As whole numbers of 64 bits, so that V8 sorts them natively.
   */
  #sortDirty(): void {
    const size = this.#dirtySize
    if (size < 2 || this.#size > ROW_MASK) return
    const common = this.#commonBytes()
    const keys = this.#keys
    const order = new BigUint64Array(size)
    const words = new Uint32Array(order.buffer)
    for (let i = 0; i < size; i++) {
      const row = this.#dirty[i]
      const at = this.#ints[row * INTS + KEY_AT] + common
      const left = this.#ints[row * INTS + KEY_BYTES] - common
      let upper = 0
      for (let byte = 0; byte < 4; byte++) upper = (upper << 8) | (byte < left ? keys[at + byte] : 0)
      words[i * 2 + UPPER] = upper
      words[i * 2 + 1 - UPPER] = ((left > 4 ? keys[at + 4] : 0) << ROW_BITS) | row
    }
    order.sort()
    for (let i = 0; i < size; i++) this.#dirty[i] = words[i * 2 + 1 - UPPER] & ROW_MASK
  }

  /** How many bytes the keys of the rows that were touched begin with alike. */
  #commonBytes(): number {
    const keys = this.#keys
    const first = this.#ints[this.#dirty[0] * INTS + KEY_AT]
    let common = this.#ints[this.#dirty[0] * INTS + KEY_BYTES]
    for (let i = 1; i < this.#dirtySize; i++) {
      const ints = this.#dirty[i] * INTS
      const at = this.#ints[ints + KEY_AT]
      common = Math.min(common, this.#ints[ints + KEY_BYTES])
      let same = 0
      while (same < common && keys[at + same] === keys[first + same]) same++
      common = same
    }
    return common
  }

  /** Only the rows that were touched, in arrays of their own. */
  touched(): Rows {
    const kept = new Rows(this.id, this.numbers, this.sketch, this.#store)
    const found = new Int32Array(this.#dirtySize)
    for (let i = 0; i < this.#dirtySize; i++) {
      const row = this.#dirty[i]
      const ints = row * INTS
      const keyAt = this.#ints[ints + KEY_AT]
      const hash = this.#ints[ints + HASH]
      const mask = kept.#slots.length - 2
      let slot = (hash << 1) & mask
      while (kept.#slots[slot + 1] !== 0) slot = (slot + 2) & mask
      const window = this.#doubles[row * DOUBLES + WINDOW]
      const copy = kept.#add(slot, hash, window, this.#keys, keyAt, keyAt + this.#ints[ints + KEY_BYTES])
      const from = row * DOUBLES
      for (let at = 0; at < STATS; at++) kept.#doubles[copy * DOUBLES + at] = this.#doubles[from + at]
      kept.#ints[copy * INTS + RUN] = kept.buckets.copy(this.buckets, this.#ints[ints + RUN])
      found[i] = copy
    }
    kept.#found = found
    kept.#touch(found.length)
    return kept
  }

  #make(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.#doubles = new Float64Array(rowsMax * DOUBLES)
    this.#ints = new Int32Array(this.#doubles.buffer)
    this.#dirty = new Int32Array(rowsMax + 1)
    this.#isDirty = new Uint8Array(rowsMax)
  }

  #grow(): void {
    const doubles = this.#doubles
    const dirty = this.#dirty
    const isDirty = this.#isDirty
    this.#make(this.#rowsMax * 2)
    this.#doubles.set(doubles)
    this.#dirty.set(dirty)
    this.#isDirty.set(isDirty)
    const slots = this.#slots
    const mask = slots.length - 2
    for (let row = 0; row < this.#size; row++) {
      const hash = this.#ints[row * INTS + HASH]
      let slot = (hash << 1) & mask
      while (slots[slot + 1] !== 0) slot = (slot + 2) & mask
      slots[slot] = hash
      slots[slot + 1] = row + 1
    }
  }
}
