// The processor's table of rows as they stand: a row is read from the store when a delta first touches it, deltas are
// added to it, and those touched since the last commit are put into the next one.

import { randomBytes } from 'node:crypto'
import type { Measure } from '../config/config.ts'
import { MERGED_BUCKETS_MAX, MERGED_ROWS_MAX } from '../limits.ts'
import { identity } from '../results/catalogue.ts'
import { isLong, rowKey } from '../results/keys.ts'
import { Row, rowBytesMax } from '../results/row.ts'
import { Sketch } from '../results/sketch.ts'
import { lost } from '../results/sum.ts'
import { CARRY, COUNT, Delta, MAX, MIN, STATS, SUM, WINDOW } from './delta.ts'

const SLOTS_MIN = 4096
const BLOCK_BYTES = 256 * 1024
const SPREAD = 0x9e3779b1

/** The small part of the store that is needed here. */
export interface RowStore {
  getRow(key: Buffer): Buffer | undefined
  measures(): { id: number; measure: Measure }[]
}
export interface RowBatch {
  putRow(key: Buffer, value: Buffer): void
}

class MergedRow extends Row {
  readonly measure: number
  readonly window: number
  /** Encoded key parts. */
  readonly parts: Uint8Array
  readonly hash: number
  /** Its key in the store. */
  readonly key: Buffer
  dirty = false

  constructor(measure: number, window: number, parts: Uint8Array, hash: number, key: Buffer) {
    super()
    this.measure = measure
    this.window = window
    this.parts = parts
    this.hash = hash
    this.key = key
  }
}

export class Merged {
  readonly #store: RowStore
  readonly #measures: { id: number; numbers: boolean; sketch: boolean }[]
  readonly #seed = randomBytes(4).readInt32LE()
  readonly #multiplier = randomBytes(4).readInt32LE() | 0x10000001
  /** Index into #rows + 1; 0 is free. Open addressing with linear probing. */
  #slots = new Int32Array(SLOTS_MIN)
  #rows: MergedRow[] = []
  #dirty: MergedRow[] = []
  #buckets = 0

  /** `measures` as configured; the store's owner has given them ids. */
  constructor(store: RowStore, measures: readonly Measure[]) {
    this.#store = store
    const known = new Map(store.measures().map(({ id, measure }) => [JSON.stringify(measure), id]))
    this.#measures = measures.map((measure) => {
      const id = known.get(JSON.stringify(identity(measure)))
      if (id === undefined) throw new Error(`measure ${measure.name} has no id: was the store taken over?`)
      const numbers = measure.value === 'value'
      return { id, numbers, sketch: numbers && measure.quantiles }
    })
  }

  /** Rows held in memory. */
  get rows(): number {
    return this.#rows.length
  }

  /** Adds a delta. The store must be as it was after the last `write`: the same owner throughout. */
  merge(buffer: ArrayBuffer): void {
    const delta = new Delta(buffer)
    const { rows, stats, measure, keyEnd, sketchEnd, keys, sketches } = delta
    let keyStart = 0
    let sketchStart = 0
    for (let i = 0; i < rows; i++) {
      const base = i * STATS
      const row = this.#row(measure[i], stats[base + WINDOW], keys, keyStart, keyEnd[i])
      row.count += stats[base + COUNT]
      if (row.numbers) {
        const sum = stats[base + SUM]
        const total = row.sum + sum
        row.carry += stats[base + CARRY] + lost(row.sum, sum, total)
        row.sum = total
        if (stats[base + MIN] < row.min) row.min = stats[base + MIN]
        if (stats[base + MAX] > row.max) row.max = stats[base + MAX]
      }
      if (row.sketch !== undefined && sketchEnd[i] > sketchStart) {
        const before = row.sketch.size
        row.sketch.merge(sketches, sketchStart)
        this.#buckets += row.sketch.size - before
      }
      if (!row.dirty) {
        row.dirty = true
        this.#dirty.push(row)
      }
      keyStart = keyEnd[i]
      sketchStart = sketchEnd[i]
    }
  }

  /** Puts the rows touched since the last call into a commit. Returns how many there were. */
  write(batch: RowBatch): number {
    const rows = this.#dirty
    this.#dirty = []
    let block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    let at = 0
    for (const row of rows) {
      row.dirty = false
      const held = isLong(row.parts) ? row.parts : undefined
      const bytesMax = rowBytesMax(held?.length ?? 0, row.sketch?.encodedBytesMax ?? 0)
      if (at + bytesMax > block.length) {
        block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytesMax))
        at = 0
      }
      const end = row.encode(block, at, held)
      batch.putRow(row.key, block.subarray(at, end))
      at = end
    }
    return rows.length
  }

  /**
   * Lets go of rows when there are too many. To be called when the commit of the last `write` has resolved and
   * before the next one: rows not touched since then can be read again from the store.
   */
  letGo(): void {
    if (this.#rows.length <= MERGED_ROWS_MAX && this.#buckets <= MERGED_BUCKETS_MAX) return
    this.#rows = [...this.#dirty]
    this.#buckets = 0
    for (const row of this.#rows) this.#buckets += row.sketch?.size ?? 0
    this.#index(Math.max(SLOTS_MIN, 2 ** Math.ceil(Math.log2(this.#rows.length * 4 + 1))))
  }

  #row(measure: number, window: number, keys: Uint8Array, start: number, end: number): MergedRow {
    let hash = this.#seed ^ window
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ keys[i], this.#multiplier)
    hash = Math.imul(hash ^ measure, SPREAD)
    hash ^= hash >>> 15
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = hash & mask
    for (; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const row = this.#rows[slots[slot] - 1]
      if (row.hash === hash && row.measure === measure && row.window === window) {
        if (same(row.parts, keys, start, end)) return row
      }
    }
    const row = this.#load(measure, window, keys.slice(start, end), hash)
    this.#rows.push(row)
    slots[slot] = this.#rows.length
    if (this.#rows.length * 2 > slots.length) this.#index(slots.length * 2)
    return row
  }

  #load(measure: number, window: number, parts: Uint8Array, hash: number): MergedRow {
    const { id, numbers, sketch } = this.#measures[measure]
    const row = new MergedRow(measure, window, parts, hash, rowKey(id, parts, window))
    row.numbers = numbers
    if (sketch) row.sketch = new Sketch()
    const stored = this.#store.getRow(row.key)
    if (stored !== undefined) row.merge(stored, true)
    this.#buckets += row.sketch?.size ?? 0
    return row
  }

  #index(size: number): void {
    const slots = new Int32Array(size)
    const mask = size - 1
    for (let i = 0; i < this.#rows.length; i++) {
      let slot = this.#rows[i].hash & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = i + 1
    }
    this.#slots = slots
  }
}

function same(parts: Uint8Array, keys: Uint8Array, start: number, end: number): boolean {
  if (parts.length !== end - start) return false
  for (let i = 0; i < parts.length; i++) if (parts[i] !== keys[start + i]) return false
  return true
}
