// Rows in the order of their keys in the store.
//
// By five bytes of their keys at a time, in front of the row's number, as whole numbers of 64 bits: V8 sorts these natively.
// Those that are alike so far are sorted by the next five, and what is left (windows of one key) by comparing.

import { KEY_BYTES_MAX } from '../limits.ts'
import { rowKey } from '../results/keys.ts'
import { WINDOW } from './delta.ts'
import { DOUBLES, INTS, KEY_AT, KEY_BYTES, type Keyed } from './row-table.ts'

const ROW_BITS = 24
const ROW_MASK = (1 << ROW_BITS) - 1
/** Rows that can be told apart. */
const ORDERED_ROWS_MAX = ROW_MASK + 1
const STEP_BYTES = 5
/** So few are sorted by comparing at once. */
const FEW = 6
/** Which half of a number of 64 bits is the upper one, as the machine lays it. */
const UPPER = new Uint8Array(Uint16Array.of(1).buffer)[0]
const WORDS_MIN = 1024

export class RowOrder {
  #words = new BigUint64Array(WORDS_MIN)
  #halves = new Uint32Array(this.#words.buffer)

  /** Rows of which so many are in order already. The same array, or another one. */
  sort(table: Keyed & { alike: number }, rows: Int32Array, ordered = 0): Int32Array {
    if (table.doubles.length > ORDERED_ROWS_MAX * DOUBLES)
      throw new Error('more rows than can be put in order')
    if (rows.length > this.#words.length) {
      this.#words = new BigUint64Array(rows.length * 2)
      this.#halves = new Uint32Array(this.#words.buffer)
    }
    this.#sort(table, rows, ordered, rows.length, Math.min(table.alike, KEY_BYTES_MAX - STEP_BYTES))
    return ordered === 0 || ordered === rows.length ? rows : merged(table, rows, ordered)
  }

  #sort(table: Keyed, rows: Int32Array, from: number, to: number, alike: number): void {
    if (to - from <= FEW) {
      insert(table, rows, from, to)
      return
    }
    const { ints, keys } = table
    const halves = this.#halves
    for (let i = from; i < to; i++) {
      const row = rows[i]
      const at = ints[row * INTS + KEY_AT] + alike
      const left = ints[row * INTS + KEY_BYTES] - alike
      let upper = 0
      for (let byte = 0; byte < 4; byte++) upper = (upper << 8) | (byte < left ? keys[at + byte] : 0)
      halves[i * 2 + UPPER] = upper
      halves[i * 2 + 1 - UPPER] = ((left > 4 ? keys[at + 4] : 0) << ROW_BITS) | row
    }
    this.#words.subarray(from, to).sort()
    for (let i = from; i < to; i++) rows[i] = halves[i * 2 + 1 - UPPER] & ROW_MASK
    for (let start = from; start < to; ) {
      const upper = halves[start * 2 + UPPER]
      const lower = halves[start * 2 + 1 - UPPER] >>> ROW_BITS
      let end = start + 1
      while (
        end < to &&
        halves[end * 2 + UPPER] === upper &&
        halves[end * 2 + 1 - UPPER] >>> ROW_BITS === lower
      )
        end++
      if (end - start > 1) this.#sortAlike(table, rows, start, end, alike + STEP_BYTES)
      start = end
    }
  }

  /** Of keys that are alike so far. No key is the beginning of another one. */
  #sortAlike(table: Keyed, rows: Int32Array, from: number, to: number, alike: number): void {
    const over = table.ints[rows[from] * INTS + KEY_BYTES] <= alike
    if (!over && alike <= KEY_BYTES_MAX - STEP_BYTES) this.#sort(table, rows, from, to, alike)
    else if (to - from <= FEW) insert(table, rows, from, to)
    else if (over) rows.subarray(from, to).sort((a, b) => compare(table, a, b))
    else sortLong(table, rows.subarray(from, to))
  }
}

/** Rows of which those before `middle` are in order, and those from there on. */
function merged(table: Keyed, rows: Int32Array, middle: number): Int32Array {
  const both = new Int32Array(rows.length)
  for (let at = 0, a = 0, b = middle; at < both.length; at++) {
    const takeA = b === rows.length || (a < middle && compare(table, rows[a], rows[b]) < 0)
    both[at] = takeA ? rows[a++] : rows[b++]
  }
  return both
}

/** By insertion: right for any keys. */
function insert(table: Keyed, rows: Int32Array, from: number, to: number): void {
  for (let i = from + 1; i < to; i++) {
    const row = rows[i]
    let at = i
    for (; at > from && compare(table, rows[at - 1], row) > 0; at--) rows[at] = rows[at - 1]
    rows[at] = row
  }
}

/** Below 0 when the key of row `a` in the store comes before that of row `b`. */
function compare(table: Keyed, a: number, b: number): number {
  const { doubles, ints, keys } = table
  const bytesA = ints[a * INTS + KEY_BYTES]
  const bytesB = ints[b * INTS + KEY_BYTES]
  if (bytesA > KEY_BYTES_MAX || bytesB > KEY_BYTES_MAX)
    return storedKey(table, a).compare(storedKey(table, b))
  const atA = ints[a * INTS + KEY_AT]
  const atB = ints[b * INTS + KEY_AT]
  const bytes = Math.min(bytesA, bytesB)
  for (let i = 0; i < bytes; i++) {
    const difference = keys[atA + i] - keys[atB + i]
    if (difference !== 0) return difference
  }
  return bytesA - bytesB || doubles[a * DOUBLES + WINDOW] - doubles[b * DOUBLES + WINDOW]
}

/** Keys that the store cuts and hashes: once for each. */
function sortLong(table: Keyed, rows: Int32Array): void {
  const keyed = Array.from(rows, (row) => ({ row, key: storedKey(table, row) }))
  keyed.sort((a, b) => a.key.compare(b.key))
  rows.set(keyed.map(({ row }) => row))
}

function storedKey({ doubles, ints, keys }: Keyed, row: number): Buffer {
  const at = ints[row * INTS + KEY_AT]
  const parts = keys.subarray(at, at + ints[row * INTS + KEY_BYTES])
  return rowKey(0, parts, doubles[row * DOUBLES + WINDOW])
}

/** The numbers of rows whose flag is 1, of which there are so many. */
export function flagged(flags: Uint8Array, size: number): Int32Array {
  const rows = new Int32Array(size)
  for (let row = 0, at = 0; at < size; row++) if (flags[row] === 1) rows[at++] = row
  return rows
}
