// The rows of one measure as they stand, in typed arrays (row-table.ts): a lookup touches one line of the index, one of
// the row, and the key.
//
// A commit puts few changed rows into their places in the store, and many into a run (results/runs.ts). Rows of runs are
// behind in their places until a checkpoint puts them there: one goes through all that are behind, in the order of
// their keys, a part with each commit; then the runs from before it are dropped.

import {
  CHECKPOINT_COMMITS,
  CHECKPOINT_ROWS_MIN,
  CHECKPOINT_RUNS_MIN,
  KEY_BYTES_MAX,
  ROWS_IN_PLACE_MAX,
} from '../limits.ts'
import { putRowKey, rowKey, rowKeyBytes } from '../results/keys.ts'
import { KEY, NUMBERS, putKey, putStats, Row, rowBytesMax, SKETCH, sketchAt } from '../results/row.ts'
import { chunkKey, encodeRuns, type Runs, RunWriter, runsKey } from '../results/runs.ts'
import { lost } from '../results/sum.ts'
import { Buckets, NO_RUN } from './buckets.ts'
import { CARRY, COUNT, MAX, MIN, type Section, STATS, SUM, WINDOW } from './delta.ts'
import { mergedRows, RowOrder } from './row-order.ts'
import { BUCKETS, DOUBLES, HASH, INTS, KEY_AT, KEY_BYTES } from './row-table.ts'

const ROWS_MIN = 1024
/** So many are worth to be put in order. */
const SCATTERED_ROWS_MIN = 65_536
/** Less than one of so many rows are told by listing them, more by looking at all. */
const FEW = 16

/** The small part of the store, and of a commit (which copies what it is given), that is needed here. */
export interface RowSource {
  getRow(key: Buffer): Buffer | undefined
}
export interface RowBatch {
  putRow(key: Buffer, value: Buffer): void
  put(to: 'runs', key: Buffer, value: Buffer): void
  removeRange(from: 'runs', start: Buffer, end: Buffer): void
  putMeta(key: string, value: Buffer): void
  removeMeta(key: string): void
}

/** Rows on their way into their places. */
interface Checkpoint {
  /** In the order of their keys. */
  rows: Int32Array
  /** Those before are done. */
  at: number
  /** Runs below this hold no row that is not in its place, or that is on its way. */
  below: number
}

// Of all measures: they are written one after the other.
const order = new RowOrder()
const writer = new RunWriter()

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
  /** For each row, whether it is in a run and behind in its place. */
  #isBehind!: Uint8Array
  #behindSize = 0
  /** Those that count; runs below `#dropped` are not even in the store any more. */
  #runs: Runs = { first: 0, next: 0 }
  #dropped = 0
  #checkpoint: Checkpoint | undefined
  /** How many bytes all keys begin with alike. */
  #alike = 0
  /** Rows below this number are in the order of their keys. */
  #ordered = 0
  /** Where the key ends of the row that was encoded last. */
  #keyEnd = 0
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
  /** Rows that the store does not have in their places: these are kept. */
  get keptSize(): number {
    return this.#behindSize + this.#dirtySize
  }
  /** True when most of many rows lie in the order in which they came: what reads them in that of their keys waits for memory. */
  get scattered(): boolean {
    return this.#size >= SCATTERED_ROWS_MIN && this.#ordered * 2 < this.#size
  }
  /** True while there are runs: commits are to go on until there are none. */
  get behind(): boolean {
    return this.#dropped < this.#runs.next
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
    this.#ints[ints + BUCKETS] = NO_RUN
    this.#isDirty[row] = 0
    this.#isBehind[row] = 0
    if (this.#keyBytes + end - start > this.#keys.length) {
      const grown = new Uint8Array((this.#keys.length + end - start) * 2)
      grown.set(this.#keys)
      this.#keys = grown
    }
    for (let i = start; i < end; i++) this.#keys[this.#keyBytes++] = keys[i]
    this.#compareToFirst(row, end - start)
    if (this.#size === this.#rowsMax) this.#grow()
    return row
  }

  #compareToFirst(row: number, bytes: number): void {
    if (row === 0) this.#alike = bytes
    const keys = this.#keys
    const at = this.#ints[row * INTS + KEY_AT]
    const alikeMax = Math.min(this.#alike, bytes)
    let alike = 0
    while (alike < alikeMax && keys[alike] === keys[at + alike]) alike++
    this.#alike = alike
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
    if (this.sketch && at >= 0) this.#ints[row * INTS + BUCKETS] = this.buckets.decode(stored, at)
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
      const place = found[sampleRow[i]] * INTS + BUCKETS
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

  /**
   * Puts the rows touched since the last time into a commit. `hurry`: there are more rows than are to be kept, so that more
   * come into their places than were touched.
   */
  write(batch: RowBatch, hurry = false): void {
    const dirty = this.#dirtyRows()
    const size = dirty.length
    const hadRuns = this.behind
    if (size <= ROWS_IN_PLACE_MAX && this.#behindSize <= ROWS_IN_PLACE_MAX) this.#putAllInPlace(batch, dirty)
    else {
      if (size > 0) this.#putRun(batch, dirty)
      this.#goOn(batch, size, hurry)
    }
    if (!hadRuns && !this.behind) return
    if (this.#dropped < this.#runs.first) {
      batch.removeRange('runs', chunkKey(this.id, this.#dropped), chunkKey(this.id, ++this.#dropped))
    }
    if (this.behind) batch.putMeta(runsKey(this.id), encodeRuns(this.#runs))
    else batch.removeMeta(runsKey(this.id))
  }

  /** Those touched since the last time, in the order of their keys. */
  #dirtyRows(): Int32Array {
    const size = this.#dirtySize
    const few = size * FEW < this.#size
    const rows = few ? this.#dirty.slice(0, size).sort() : flagged(this.#isDirty, size)
    for (let i = 0; i < size; i++) this.#isDirty[rows[i]] = 0
    this.#dirtySize = 0
    return this.#inOrder(rows)
  }

  /** In the order of their keys. */
  #behindRows(): Int32Array {
    return this.#inOrder(flagged(this.#isBehind, this.#behindSize))
  }

  /** Puts rows into the order of their keys that are in that of their numbers. */
  #inOrder(rows: Int32Array): Int32Array {
    let ordered = rows.length
    while (ordered > 0 && rows[ordered - 1] >= this.#ordered) ordered--
    order.sort(this.#table, rows.subarray(ordered), this.#alike)
    return ordered === 0 || ordered === rows.length ? rows : mergedRows(this.#table, rows, ordered)
  }

  /** These, and all that are behind, so that no run counts any more. */
  #putAllInPlace(batch: RowBatch, rows: Int32Array): void {
    this.#putInPlace(batch, rows, 0, rows.length)
    if (this.#behindSize > 0) {
      const behind = this.#behindRows()
      this.#putInPlace(batch, behind, 0, behind.length)
    }
    this.#checkpoint = undefined
    this.#runs.first = this.#runs.next
  }

  get #table() {
    return { doubles: this.#doubles, ints: this.#ints, keys: this.#keys }
  }

  #putInPlace(batch: RowBatch, rows: Int32Array, from: number, to: number): void {
    const isBehind = this.#isBehind
    for (let i = from; i < to; i++) {
      const row = rows[i]
      const at = writer.reserve(this.#bytesMax(row))
      const end = this.#encode(row, at)
      const { room } = writer
      batch.putRow(room.subarray(at, this.#keyEnd), room.subarray(this.#keyEnd, end))
      this.#behindSize -= isBehind[row]
      isBehind[row] = 0
    }
  }

  #putRun(batch: RowBatch, rows: Int32Array): void {
    const isBehind = this.#isBehind
    writer.begin(batch, this.id, this.#runs.next++)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]
      const at = writer.reserve(this.#bytesMax(row))
      const end = this.#encode(row, at)
      writer.add(at, this.#keyEnd, end)
      this.#behindSize += 1 - isBehind[row]
      isBehind[row] = 1
    }
    writer.end()
  }

  /** Key and value together. */
  #bytesMax(row: number): number {
    const keyBytes = this.#ints[row * INTS + KEY_BYTES]
    const sketchBytes = this.buckets.encodedBytesMax(this.#ints[row * INTS + BUCKETS])
    return rowKeyBytes(keyBytes) + rowBytesMax(keyBytes, sketchBytes)
  }

  /** Writes key and value to the writer's room from `at` on; returns the end. */
  #encode(row: number, at: number): number {
    const { room, view } = writer
    const base = row * DOUBLES
    const keyAt = this.#ints[row * INTS + KEY_AT]
    const keyBytes = this.#ints[row * INTS + KEY_BYTES]
    const long = keyBytes > KEY_BYTES_MAX
    const flags = (this.numbers ? NUMBERS : 0) | (this.sketch ? SKETCH : 0) | (long ? KEY : 0)
    this.#keyEnd = putRowKey(this.id, this.#keys, keyAt, keyBytes, this.#doubles[base + WINDOW], room, at)
    let end = putStats(view, this.#keyEnd, flags, this.#doubles, base)
    if (long) end = putKey(view, end, this.#keys.subarray(keyAt, keyAt + keyBytes))
    if (this.sketch) end = this.buckets.encode(this.#ints[row * INTS + BUCKETS], room, end)
    return end
  }

  /** Goes on with the checkpoint, or begins one when it is time. */
  #goOn(batch: RowBatch, touched: number, hurry: boolean): void {
    const { first, next } = this.#runs
    const calm = touched <= ROWS_IN_PLACE_MAX
    if (this.#checkpoint === undefined && (calm || hurry || next - first >= CHECKPOINT_RUNS_MIN)) {
      this.#checkpoint = { rows: this.#behindRows(), at: 0, below: next }
    }
    if (this.#checkpoint !== undefined) {
      const { rows, at, below } = this.#checkpoint
      const part = Math.max(
        CHECKPOINT_ROWS_MIN,
        Math.ceil(rows.length / CHECKPOINT_COMMITS),
        hurry ? 2 * touched : 0,
      )
      const to = Math.min(rows.length, at + part)
      this.#putInPlace(batch, rows, at, to)
      this.#checkpoint.at = to
      if (to === rows.length) {
        this.#checkpoint = undefined
        this.#runs.first = this.#behindSize === 0 ? next : below
      }
    }
  }

  /** Only the rows that the store does not have in their places, in arrays of their own. */
  kept(): Rows {
    const rows: number[] = []
    for (let row = 0; row < this.#size; row++) {
      if (this.#isDirty[row] === 1 || this.#isBehind[row] === 1) rows.push(row)
    }
    return this.#copyOf(Int32Array.from(rows))
  }

  /** All rows, lying in the order of their keys. */
  inOrder(): Rows {
    return this.#copyOf(Int32Array.from({ length: this.#size }, (_, row) => row))
  }

  /** These rows, given in the order of their numbers: all that the store does not have in their places are among them. */
  #copyOf(rows: Int32Array): Rows {
    const copy = new Rows(this.id, this.numbers, this.sketch, this.#store)
    /** For each row, its row there. */
    const copies = new Int32Array(this.#size)
    for (const row of this.#inOrder(rows)) copies[row] = copy.#copy(this, row)
    copy.#ordered = copy.#size
    copy.#found = new Int32Array(Math.max(ROWS_MIN, this.#dirtySize))
    for (let i = 0; i < this.#dirtySize; i++) copy.#found[i] = copies[this.#dirty[i]]
    copy.#touch(this.#dirtySize)
    copy.#behindSize = this.#behindSize
    copy.#runs = this.#runs
    copy.#dropped = this.#dropped
    if (this.#checkpoint !== undefined) {
      const { rows: left, at, below } = this.#checkpoint
      copy.#checkpoint = { rows: left.subarray(at).map((row) => copies[row]), at: 0, below }
    }
    return copy
  }

  /** Adds a row of other rows. */
  #copy(from: Rows, row: number): number {
    const ints = row * INTS
    const keyAt = from.#ints[ints + KEY_AT]
    const hash = from.#ints[ints + HASH]
    const mask = this.#slots.length - 2
    let slot = (hash << 1) & mask
    while (this.#slots[slot + 1] !== 0) slot = (slot + 2) & mask
    const base = row * DOUBLES
    const window = from.#doubles[base + WINDOW]
    const copy = this.#add(slot, hash, window, from.#keys, keyAt, keyAt + from.#ints[ints + KEY_BYTES])
    for (let at = 0; at < STATS; at++) this.#doubles[copy * DOUBLES + at] = from.#doubles[base + at]
    this.#ints[copy * INTS + BUCKETS] = this.buckets.copy(from.buckets, from.#ints[ints + BUCKETS])
    this.#isBehind[copy] = from.#isBehind[row]
    return copy
  }

  #make(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.#doubles = new Float64Array(rowsMax * DOUBLES)
    this.#ints = new Int32Array(this.#doubles.buffer)
    this.#dirty = new Int32Array(rowsMax + 1)
    this.#isDirty = new Uint8Array(rowsMax)
    this.#isBehind = new Uint8Array(rowsMax)
  }

  #grow(): void {
    const doubles = this.#doubles
    const dirty = this.#dirty
    const isDirty = this.#isDirty
    const isBehind = this.#isBehind
    this.#make(this.#rowsMax * 2)
    this.#doubles.set(doubles)
    this.#dirty.set(dirty)
    this.#isDirty.set(isDirty)
    this.#isBehind.set(isBehind)
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

/** The numbers of rows whose flag is 1, of which there are so many. */
function flagged(flags: Uint8Array, size: number): Int32Array {
  const rows = new Int32Array(size)
  for (let row = 0, at = 0; at < size; row++) if (flags[row] === 1) rows[at++] = row
  return rows
}
