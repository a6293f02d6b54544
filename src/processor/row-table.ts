// Rows of one measure in memory, found by hash, key and window: a lookup touches one line of the index, one of the row,
// and the key.
//
// A row is 64 bytes: six doubles as in a delta (count, sum, carry, min, max, window), then four 32-bit numbers.

import { Buckets, NO_RUN } from './buckets.ts'
import { clearStats, STATS, WINDOW } from './delta.ts'

/** Numbers of a row: as doubles, and as 32-bit numbers, over the same bytes. */
export const DOUBLES = 8
export const INTS = 16
/** Places among a row's 32-bit numbers: those behind the six doubles. */
export const HASH = 12
export const KEY_AT = 13
export const KEY_BYTES = 14
/** The run of its buckets. */
export const BUCKETS = 15

const ROWS_MIN = 1024
const KEY_AT_MAX = 0x7fffffff

/** What tells a row's key. */
export interface Keyed {
  readonly doubles: Float64Array
  /** The same memory. */
  readonly ints: Int32Array
  /** Key parts, encoded. */
  readonly keys: Uint8Array
}

export class RowTable implements Keyed {
  readonly buckets = new Buckets()
  size = 0
  doubles!: Float64Array
  ints!: Int32Array
  keys: Uint8Array
  /** How many bytes all keys begin with alike. */
  alike = 0
  /** Of all rows; -1 where there are none. */
  newestWindow = -1
  /** For each row, whether it was changed since the last commit, and whether its place in the store is behind. */
  isDirty!: Uint8Array
  isBehind!: Uint8Array
  /** For each row, the generation of commits that it was touched in last (rows.ts). */
  generation!: Uint8Array
  #rowsMax!: number
  #keyBytes = 0
  /** Pairs: hash, row + 1; 0 is free. Twice as many pairs as rows at least; open addressing with linear probing. */
  #slots!: Int32Array

  /** With room for so many rows, and for as many bytes of their keys. */
  constructor(rows = ROWS_MIN, keyBytes = ROWS_MIN * 16) {
    this.#make(2 ** Math.ceil(Math.log2(Math.max(ROWS_MIN, rows))))
    this.keys = new Uint8Array(keyBytes)
  }

  /** Of the keys of all rows. */
  get keyBytes(): number {
    return this.#keyBytes
  }

  /** Puts into `found`, for each of the hashes, the first row with it, or -1. */
  guess(hashes: Int32Array, found: Int32Array): void {
    const slots = this.#slots
    const mask = slots.length - 2
    for (let i = 0; i < hashes.length; i++) {
      let slot = (hashes[i] << 1) & mask
      while (slots[slot] !== hashes[i] && slots[slot + 1] !== 0) slot = (slot + 2) & mask
      found[i] = slots[slot + 1] - 1
    }
  }

  /** True when the row is of this window, and of the key at keys[start, end). */
  is(row: number, window: number, keys: Uint8Array, start: number, end: number): boolean {
    if (this.doubles[row * DOUBLES + WINDOW] !== window) return false
    if (this.ints[row * INTS + KEY_BYTES] !== end - start) return false
    const own = this.keys
    let at = this.ints[row * INTS + KEY_AT]
    for (let i = start; i < end; i++) if (keys[i] !== own[at++]) return false
    return true
  }

  /** The row, or -1. */
  find(hash: number, window: number, keys: Uint8Array, start: number, end: number): number {
    const slots = this.#slots
    const mask = slots.length - 2
    for (let slot = (hash << 1) & mask; slots[slot + 1] !== 0; slot = (slot + 2) & mask) {
      const row = slots[slot + 1] - 1
      if (slots[slot] === hash && this.is(row, window, keys, start, end)) return row
    }
    return -1
  }

  /** Adds an empty row, of which there is none; returns it. */
  add(hash: number, window: number, keys: Uint8Array, start: number, end: number): number {
    if (this.size === this.#rowsMax) this.#grow()
    const row = this.size++
    this.#index(row, hash)
    if (window > this.newestWindow) this.newestWindow = window
    const { ints } = this
    clearStats(this.doubles, row * DOUBLES, window)
    ints[row * INTS + HASH] = hash
    ints[row * INTS + KEY_AT] = this.#keyBytes
    ints[row * INTS + KEY_BYTES] = end - start
    ints[row * INTS + BUCKETS] = NO_RUN
    this.#addKey(keys, start, end)
    return row
  }

  /** Adds a row of another table; returns it. */
  copy(from: RowTable, row: number): number {
    const at = from.ints[row * INTS + KEY_AT]
    const end = at + from.ints[row * INTS + KEY_BYTES]
    const base = row * DOUBLES
    const copy = this.add(from.ints[row * INTS + HASH], from.doubles[base + WINDOW], from.keys, at, end)
    for (let i = 0; i < STATS; i++) this.doubles[copy * DOUBLES + i] = from.doubles[base + i]
    this.ints[copy * INTS + BUCKETS] = this.buckets.copy(from.buckets, from.ints[row * INTS + BUCKETS])
    this.isDirty[copy] = from.isDirty[row]
    this.isBehind[copy] = from.isBehind[row]
    this.generation[copy] = from.generation[row]
    return copy
  }

  #index(row: number, hash: number): void {
    const slots = this.#slots
    const mask = slots.length - 2
    let slot = (hash << 1) & mask
    while (slots[slot + 1] !== 0) slot = (slot + 2) & mask
    slots[slot] = hash
    slots[slot + 1] = row + 1
  }

  #addKey(keys: Uint8Array, start: number, end: number): void {
    const at = this.#keyBytes
    if (at + end - start > this.keys.length) {
      if (at + end - start > KEY_AT_MAX) throw new Error('more bytes of keys than a row can tell apart')
      const grown = new Uint8Array((this.keys.length + end - start) * 2)
      grown.set(this.keys)
      this.keys = grown
    }
    const own = this.keys
    for (let i = start, to = at; i < end; i++, to++) own[to] = keys[i]
    this.#keyBytes = at + end - start
    const alikeMax = at === 0 ? end - start : Math.min(this.alike, end - start)
    let alike = 0
    while (alike < alikeMax && own[alike] === own[at + alike]) alike++
    this.alike = alike
  }

  #make(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.doubles = new Float64Array(rowsMax * DOUBLES)
    this.ints = new Int32Array(this.doubles.buffer)
    this.isDirty = new Uint8Array(rowsMax)
    this.isBehind = new Uint8Array(rowsMax)
    this.generation = new Uint8Array(rowsMax)
  }

  #grow(): void {
    const { doubles, isDirty, isBehind, generation } = this
    this.#make(this.#rowsMax * 2)
    this.doubles.set(doubles)
    this.isDirty.set(isDirty)
    this.isBehind.set(isBehind)
    this.generation.set(generation)
    for (let row = 0; row < this.size; row++) this.#index(row, this.ints[row * INTS + HASH])
  }
}
