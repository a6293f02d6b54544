// Sums by subject, straight from the bytes of frames: open addressing, typed arrays, no string.

import { EVENT_TAG, SUBJECT_TAG, VALUE_TAG } from '../../src/frame/tags.ts'

/** Count, sum, least, greatest of each row. */
export const STATS = 4
const ROWS_MIN = 4096

let ended = 0

export class Fold {
  rows = 0
  stats = new Float64Array(ROWS_MIN * STATS)
  /** Where the row's key ends in `keys`; it starts where the one before ends. */
  keyEnd = new Int32Array(ROWS_MIN)
  keys = Buffer.alloc(ROWS_MIN * 16)
  /** Rows touched since they were last taken, the first `dirtyRows` of these. */
  dirty = new Int32Array(ROWS_MIN)
  dirtyRows = 0
  #isDirty = new Uint8Array(ROWS_MIN)
  /** Pairs of hash and row + 1. */
  #slots = new Int32Array(ROWS_MIN * 4)

  /** Folds frames that were scanned. Returns how many events they hold. */
  add(frames: Buffer, view: DataView, start: number, end: number): number {
    let events = 0
    for (let at = start; at < end; events++) {
      if (frames[at] !== EVENT_TAG) throw new Error('the floor takes frames of events only')
      const length = varint(frames, at + 1)
      at = ended
      this.#event(frames, view, at, at + length)
      at += length
    }
    return events
  }

  #event(frames: Buffer, view: DataView, start: number, end: number): void {
    let keyStart = 0
    let keyEnd = 0
    let valueAt = 0
    for (let at = start; at < end; ) {
      const tag = frames[at++]
      if ((tag & 7) === 1) {
        if (tag === VALUE_TAG) valueAt = at
        at += 8
        continue
      }
      const length = varint(frames, at)
      at = ended
      if (tag === SUBJECT_TAG) {
        keyStart = at
        keyEnd = at + length
      }
      at += length
    }
    const row = this.#row(frames, keyStart, keyEnd)
    const base = row * STATS
    const { stats } = this
    stats[base]++
    if (valueAt > 0) {
      const value = view.getFloat64(valueAt, true)
      stats[base + 1] += value
      if (value < stats[base + 2]) stats[base + 2] = value
      if (value > stats[base + 3]) stats[base + 3] = value
    }
    if (this.#isDirty[row] === 0) {
      this.#isDirty[row] = 1
      this.dirty[this.dirtyRows++] = row
    }
  }

  /** The rows touched since the last call are called so no more. */
  taken(): void {
    for (let i = 0; i < this.dirtyRows; i++) this.#isDirty[this.dirty[i]] = 0
    this.dirtyRows = 0
  }

  #row(frames: Buffer, start: number, end: number): number {
    let hash = 0x811c9dc5
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ frames[at], 0x01000193)
    hash ^= hash >>> 15
    const slots = this.#slots
    const mask = slots.length - 2
    let slot = (hash << 1) & mask
    for (;;) {
      const row = slots[slot + 1] - 1
      if (row < 0) return this.#newRow(frames, start, end, hash, slot)
      if (slots[slot] === hash && this.#isKey(row, frames, start, end)) return row
      slot = (slot + 2) & mask
    }
  }

  #isKey(row: number, frames: Buffer, start: number, end: number): boolean {
    const keyStart = row === 0 ? 0 : this.keyEnd[row - 1]
    if (this.keyEnd[row] - keyStart !== end - start) return false
    for (let i = 0; i < end - start; i++) if (this.keys[keyStart + i] !== frames[start + i]) return false
    return true
  }

  #newRow(frames: Buffer, start: number, end: number, hash: number, slot: number): number {
    const row = this.rows++
    this.#slots[slot] = hash
    this.#slots[slot + 1] = row + 1
    const keyStart = row === 0 ? 0 : this.keyEnd[row - 1]
    if (keyStart + end - start > this.keys.length)
      this.keys = Buffer.concat([this.keys], this.keys.length * 2 + end - start)
    frames.copy(this.keys, keyStart, start, end)
    this.keyEnd[row] = keyStart + end - start
    this.stats[row * STATS + 2] = Number.POSITIVE_INFINITY
    this.stats[row * STATS + 3] = Number.NEGATIVE_INFINITY
    if (this.rows === this.keyEnd.length) this.#grow()
    return row
  }

  #grow(): void {
    const rows = this.rows * 2
    this.stats = grown(this.stats, new Float64Array(rows * STATS))
    this.keyEnd = grown(this.keyEnd, new Int32Array(rows))
    this.dirty = grown(this.dirty, new Int32Array(rows))
    this.#isDirty = grown(this.#isDirty, new Uint8Array(rows))
    const old = this.#slots
    const slots = new Int32Array(rows * 4)
    const mask = slots.length - 2
    for (let from = 0; from < old.length; from += 2) {
      if (old[from + 1] === 0) continue
      let slot = (old[from] << 1) & mask
      while (slots[slot + 1] !== 0) slot = (slot + 2) & mask
      slots[slot] = old[from]
      slots[slot + 1] = old[from + 1]
    }
    this.#slots = slots
  }
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from)
  return to
}

function varint(bytes: Buffer, at: number): number {
  let byte = bytes[at++]
  let value = byte & 127
  for (let shift = 7; byte > 127; shift += 7) {
    byte = bytes[at++]
    value |= (byte & 127) << shift
  }
  ended = at
  return value
}
