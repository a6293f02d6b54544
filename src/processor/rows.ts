// The rows of one measure as they stand: a row is read from the store when a delta first touches it, and those that were
// touched are put into the next commit (placement.ts).

import { KEPT_BUCKETS_MIN, KEPT_ROWS_MIN } from '../limits.ts'
import { rowKey } from '../results/keys.ts'
import { Row, sketchAt } from '../results/row.ts'
import { lost } from '../results/sum.ts'
import { CARRY, COUNT, MAX, MIN, type Section, STATS, SUM, WINDOW } from './delta.ts'
import { Placement, type RowBatch } from './placement.ts'
import { flagged, RowOrder } from './row-order.ts'
import { BUCKETS, DOUBLES, INTS, RowTable } from './row-table.ts'

const FOUND_MIN = 1024
/** How many times as many rows as were left are too many. */
const MORE = 1.5
const GENERATION_COMMITS_LOG2 = 3
const GENERATION_MASK = 0xff
/** Less than one of so many rows are found by their list, more by looking at all. */
const FEW = 16

/** The small part of the store that is needed here. */
export interface RowSource {
  getRow(key: Buffer): Buffer | undefined
  /** The start of the newest window of a measure that there may be rows of, Unix milliseconds; -1 where there are none. */
  newestWindow(measure: number): number
}

// For all measures: they are written one after the other.
const order = new RowOrder()

export class Rows {
  /** Of the measure, in the store. */
  readonly id: number
  readonly numbers: boolean
  readonly sketch: boolean
  readonly #store: RowSource
  #table = new RowTable()
  readonly #placement: Placement
  /** Rows below this number lie in the order of their keys. */
  #ordered = 0
  /** The newest window of which the store may have rows that are not here. */
  #awayWindow: number
  /** Of commits: eight have the same. It begins anew after a while, and old rows may look young for that long. */
  #generation = 0
  #commits = 0
  /** From so many rows or buckets on some are let go. */
  #sizeMax = KEPT_ROWS_MIN
  #cellsMax = KEPT_BUCKETS_MIN
  /** Rows that were touched, in the order in which they were. */
  #dirty = new Int32Array(FOUND_MIN)
  #dirtySize = 0
  /** For each row of a delta, its row here. */
  #found = new Int32Array(FOUND_MIN)

  constructor(id: number, numbers: boolean, sketch: boolean, store: RowSource) {
    this.id = id
    this.numbers = numbers
    this.sketch = sketch
    this.#store = store
    this.#awayWindow = store.newestWindow(id)
    this.#placement = new Placement({ id, numbers, sketch }, this.#awayWindow)
  }

  get size(): number {
    return this.#table.size
  }
  get dirtySize(): number {
    return this.#dirtySize
  }
  /** Of quantile sketches, each 12 bytes. */
  get cells(): number {
    return this.#table.buckets.cells
  }
  /** Of the keys of all rows. */
  get keyBytes(): number {
    return this.#table.keyBytes
  }
  /** Rows that are kept: the store does not have them in their places. */
  get keptSize(): number {
    return this.#placement.behindSize + this.#dirtySize
  }
  /** True while commits are to go on, also without new rows. */
  get behind(): boolean {
    return this.#placement.behind
  }

  /**
   * Adds the part of a delta. In steps over all of its rows, so that what one waits for in memory is fetched while
   * others are looked at.
   */
  merge(section: Section): void {
    if (section.rows === 0) return
    if (section.rows > this.#found.length) this.#found = new Int32Array(section.rows * 2)
    this.#table.guess(section.hash, this.#found)
    this.#find(section)
    if (this.numbers) this.#addStats(section)
    else this.#addCounts(section)
    this.#touch(section.rows)
    if (this.sketch) this.#addSamples(section)
  }

  /** Makes sure of the guesses. */
  #find(section: Section): void {
    const { rows, stats, hash, keyEnd, keys } = section
    const found = this.#found
    const table = this.#table
    let start = 0
    for (let i = 0; i < rows; i++) {
      const window = stats[i * STATS + WINDOW]
      if (found[i] < 0 || !table.is(found[i], window, keys, start, keyEnd[i])) {
        found[i] = this.#row(hash[i], window, keys, start, keyEnd[i])
      }
      start = keyEnd[i]
    }
  }

  #row(hash: number, window: number, keys: Uint8Array, start: number, end: number): number {
    const table = this.#table
    const found = table.find(hash, window, keys, start, end)
    if (found >= 0) return found
    const row = table.add(hash, window, keys, start, end)
    if (window > this.#awayWindow) return row
    const stored = this.#store.getRow(rowKey(this.id, keys.subarray(start, end), window))
    if (stored !== undefined) this.#load(row, stored)
    return row
  }

  /** Fills a new row from the store. */
  #load(row: number, stored: Buffer): void {
    const { count, sum, carry, min, max } = new Row().merge(stored, false)
    const { doubles, ints, buckets } = this.#table
    const base = row * DOUBLES
    doubles[base + COUNT] = count
    doubles[base + SUM] = sum
    doubles[base + CARRY] = carry
    doubles[base + MIN] = min
    doubles[base + MAX] = max
    const at = sketchAt(stored)
    if (this.sketch && at >= 0) ints[row * INTS + BUCKETS] = buckets.decode(stored, at)
  }

  #addCounts({ rows, stats }: Section): void {
    const { doubles } = this.#table
    const found = this.#found
    for (let i = 0; i < rows; i++) doubles[found[i] * DOUBLES + COUNT] += stats[i * STATS + COUNT]
  }

  #addStats({ rows, stats }: Section): void {
    const { doubles } = this.#table
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
    const { ints, buckets } = this.#table
    const found = this.#found
    for (let i = 0; i < samples; i++) {
      const place = found[sampleRow[i]] * INTS + BUCKETS
      ints[place] = buckets.count(ints[place], sampleBucket[i])
    }
  }

  #touch(rows: number): void {
    const { isDirty } = this.#table
    const found = this.#found
    let size = this.#dirtySize
    if (size + rows >= this.#dirty.length) {
      const dirty = new Int32Array((size + rows) * 2)
      dirty.set(this.#dirty)
      this.#dirty = dirty
    }
    const dirty = this.#dirty
    for (let i = 0; i < rows; i++) {
      const row = found[i]
      dirty[size] = row
      size += 1 - isDirty[row]
      isDirty[row] = 1
    }
    this.#dirtySize = size
  }

  /**
   * Puts the rows touched since the last time into a commit, and some that are behind into their places: more than were
   * touched when it is in a hurry.
   */
  write(batch: RowBatch, hurry = false): void {
    this.#placement.write(batch, this.#table, this.#takeDirty(), hurry, (rows) => this.#inOrder(rows))
  }

  /** In the order of their numbers. */
  #takeDirty(): Int32Array {
    const { isDirty, generation, size } = this.#table
    this.#generation = (++this.#commits >> GENERATION_COMMITS_LOG2) & GENERATION_MASK
    const few = this.#dirtySize * FEW < size
    const rows = few ? this.#dirty.slice(0, this.#dirtySize).sort() : flagged(isDirty, this.#dirtySize)
    for (let i = 0; i < rows.length; i++) {
      isDirty[rows[i]] = 0
      generation[rows[i]] = this.#generation
    }
    this.#dirtySize = 0
    return rows
  }

  /** Puts rows into the order of their keys that are in that of their numbers. */
  #inOrder(rows: Int32Array): Int32Array {
    let ordered = rows.length
    while (ordered > 0 && rows[ordered - 1] >= this.#ordered) ordered--
    return order.sort(this.#table, rows, ordered)
  }

  /**
   * Lets go of rows that the store has in their places and that were not touched for some commits, and puts the others into
   * the order of their keys: where there are half as many more as were left the last time, so that it is rare. `all`: of those
   * that were touched too, and at once. True when it did.
   */
  letGo(all: boolean): boolean {
    const { isDirty, isBehind, doubles, size } = this.#table
    if (!all && size < this.#sizeMax && this.cells < this.#cellsMax) return false
    const rows = new Int32Array(size)
    let kept = 0
    for (let row = 0; row < size; row++) {
      if (isDirty[row] === 1 || isBehind[row] === 1 || (!all && this.#isWarm(row))) rows[kept++] = row
      else this.#awayWindow = Math.max(this.#awayWindow, doubles[row * DOUBLES + WINDOW])
    }
    this.#keep(rows.subarray(0, kept))
    this.#sizeMax = Math.max(KEPT_ROWS_MIN, this.size * MORE)
    this.#cellsMax = Math.max(KEPT_BUCKETS_MIN, this.cells * MORE)
    return true
  }

  /** True when it was touched lately: in this generation of commits or the one before. */
  #isWarm(row: number): boolean {
    return ((this.#generation - this.#table.generation[row]) & GENERATION_MASK) < 2
  }

  /** Only these, in tables of their own; given in the order of their numbers. All that are dirty or behind are among them. */
  #keep(rows: Int32Array): void {
    const table = new RowTable(rows.length * MORE, this.#table.keyBytes)
    /** For each row, its new number. */
    const numbers = new Int32Array(this.#table.size)
    for (const row of this.#inOrder(rows)) numbers[row] = table.copy(this.#table, row)
    this.#dirty = this.#dirty.map((row, i) => (i < this.#dirtySize ? numbers[row] : 0))
    this.#placement.renumber(numbers)
    this.#ordered = table.size
    this.#table = table
  }
}
