// What a measure comes to within a task: a table of rows by key and window, open addressing with linear probing over
// typed arrays. Rows are dense, in the order they came.
//
// Blocks of events go through it step by step, each step a loop over the block: pick the events that count, tell their
// windows, hash their keys, find their rows, add their values. Each loop is small enough to be compiled well, and
// waits for memory that one event needs while it works on the next.

import { FOLD_ROWS_KEPT_MAX } from '../limits.ts'
import { bucketOf } from '../results/sketch.ts'
import { lost } from '../results/sum.ts'
import { CARRY, COUNT, MAX, MIN, type Section, type Size, STATS, SUM, WINDOW } from './delta.ts'
import { BLOCK_EVENTS, type Fields } from './fields.ts'
import { type CompiledMeasure, matches } from './measure.ts'
import type { Seed } from './seed.ts'

const ROWS_MIN = 1024
const SAMPLES_MIN = 4096
/** A 32-bit number that spreads well: 2^32 divided by the golden ratio. */
const SPREAD = 0x9e3779b1
/** What ends a key part (results/keys.ts), big endian. */
const END = 0x0001
const END_BYTES = 2
/** Keys are read and written four bytes at a time, past their ends too. */
const SLACK_BYTES = 4
/** The first bytes of a word that are meant where fewer than four are, and what stands in for the others: not NULs. */
const MASKS = Int32Array.of(0, 0xff, 0xffff, 0xffffff)
const FILLERS = Int32Array.of(0x01010101, 0x01010100, 0x01010000, 0x01000000)

export class Aggregates {
  readonly #measure: CompiledMeasure
  readonly #seed: Seed

  // Of the block at hand: the events that count, and for each of these its window, where its key stands in #source
  // (without the end of its last part), its hash, its row.
  readonly #picked = new Int32Array(BLOCK_EVENTS)
  readonly #windows = new Float64Array(BLOCK_EVENTS)
  readonly #keyFrom = new Int32Array(BLOCK_EVENTS)
  readonly #keyTo = new Int32Array(BLOCK_EVENTS)
  readonly #hashes = new Int32Array(BLOCK_EVENTS)
  readonly #found = new Int32Array(BLOCK_EVENTS)
  #source!: DataView
  /** Keys of the block, where they do not stand in the frames as they are. */
  #encoded: DataView = new DataView(new ArrayBuffer(BLOCK_EVENTS * 64))

  // The last window: from and to in Unix milliseconds.
  #windowFrom = 0
  #windowTo = 0

  #rows = 0
  #rowsMax!: number
  /** Pairs: hash, row + 1; 0 is free. Twice as many pairs as rows at least. */
  #slots!: Int32Array
  /** STATS numbers for each row, as in a delta. */
  #stats!: Float64Array
  #hash!: Int32Array
  #keyEnd!: Int32Array
  #keys!: DataView

  #samples = 0
  #sampleRow = new Int32Array(SAMPLES_MIN)
  #sampleBucket = new Int32Array(SAMPLES_MIN)

  constructor(measure: CompiledMeasure, seed: Seed) {
    this.#measure = measure
    this.#seed = seed
    this.#makeRows(ROWS_MIN)
    this.#keys = new DataView(new ArrayBuffer(ROWS_MIN * 16))
  }

  /** Adds the events of a block. */
  add(fields: Fields): void {
    const { numbers, sketch, by } = this.#measure
    const events = this.#pick(fields)
    if (events === 0) return
    this.#tellWindows(fields, events)
    const plain = by.length === 1 && this.#takeKeys(fields, by[0], events)
    if (!plain) this.#encodeKeys(fields, by, events)
    this.#find(events)
    if (numbers) this.#addValues(fields, events)
    else this.#count(events)
    if (sketch) this.#sample(fields, events)
  }

  /** Notes the events that count; returns how many there are. */
  #pick(fields: Fields): number {
    const { conditions, numbers } = this.#measure
    const { frames, size, values } = fields
    const picked = this.#picked
    let events = 0
    for (let event = 0; event < size; event++) {
      picked[events] = event
      if (!numbers || !Number.isNaN(values[event])) events++
    }
    for (let i = 0; i < conditions.length; i++) {
      const condition = conditions[i]
      const starts = fields.starts[condition.field]
      const ends = fields.ends[condition.field]
      const candidates = events
      events = 0
      for (let candidate = 0; candidate < candidates; candidate++) {
        const event = picked[candidate]
        if (matches(condition, frames, starts[event], ends[event])) picked[events++] = event
      }
    }
    return events
  }

  #tellWindows(fields: Fields, events: number): void {
    const { windowMs } = this.#measure
    if (windowMs === 0) return
    const { times } = fields
    const picked = this.#picked
    const windows = this.#windows
    let from = this.#windowFrom
    let to = this.#windowTo
    for (let i = 0; i < events; i++) {
      const time = times[picked[i]]
      if (!(time >= from && time < to)) {
        // Both are whole and time < 2^45, so rounding never lifts the quotient over the next whole number.
        from = Math.floor(time / windowMs) * windowMs
        to = from + windowMs
      }
      windows[i] = from
    }
    this.#windowFrom = from
    this.#windowTo = to
  }

  /** Keys of one part, which stand in the frames as they are; false when a NUL has to be escaped in one of them. */
  #takeKeys(fields: Fields, field: number, events: number): boolean {
    const starts = fields.starts[field]
    const ends = fields.ends[field]
    const picked = this.#picked
    for (let i = 0; i < events; i++) {
      const event = picked[i]
      this.#keyFrom[i] = starts[event]
      this.#keyTo[i] = ends[event]
    }
    this.#source = fields.view
    return !this.#hashKeys(events)
  }

  /** Keys of several parts, or with NULs: written to #encoded. */
  #encodeKeys(fields: Fields, by: readonly number[], events: number): void {
    const { view } = fields
    const picked = this.#picked
    let to = 0
    for (let i = 0; i < events; i++) {
      const event = picked[i]
      this.#keyFrom[i] = to
      for (let part = 0; part < by.length; part++) {
        const start = fields.starts[by[part]][event]
        const end = fields.ends[by[part]][event]
        const room = to + (end - start) * 2 + END_BYTES + SLACK_BYTES
        if (room > this.#encoded.byteLength) this.#encoded = grown(this.#encoded, room * 2)
        to = encodePart(view, start, end, this.#encoded, to)
      }
      this.#keyTo[i] = to - END_BYTES
    }
    this.#source = this.#encoded
    this.#hashKeys(events)
  }

  /** Hashes keys and windows, in words of four bytes, the last of which may overlap the one before. True when there may be a NUL in a key. */
  #hashKeys(events: number): boolean {
    const keys = this.#source
    const keyFrom = this.#keyFrom
    const keyTo = this.#keyTo
    const windows = this.#windows
    const hashes = this.#hashes
    const { start, multiplier } = this.#seed
    const wordMax = keys.byteLength - 4
    let zeros = 0 // sign bits of bytes that are 0, and of some that are 1
    for (let i = 0; i < events; i++) {
      const from = keyFrom[i]
      const to = keyTo[i]
      let hash = Math.imul(Math.imul(start ^ windows[i], multiplier) ^ (to - from), multiplier)
      let word: number
      if (to - from >= 4) {
        for (let at = from; at + 4 < to; at += 4) {
          word = keys.getInt32(at, true)
          zeros |= (word - 0x01010101) & ~word
          hash = Math.imul(hash ^ word, multiplier)
          hash ^= hash >>> 15
        }
        word = keys.getInt32(to - 4, true)
      } else {
        word = from <= wordMax ? keys.getInt32(from, true) : wordAtEnd(keys, from, to)
        word = (word & MASKS[to - from]) | FILLERS[to - from]
      }
      zeros |= (word - 0x01010101) & ~word
      hash = Math.imul(hash ^ word, multiplier)
      hash ^= hash >>> 15
      hash = Math.imul(hash, SPREAD)
      hashes[i] = hash ^ (hash >>> 15)
    }
    return (zeros & 0x80808080) !== 0
  }

  /** Finds the rows of the keys in their windows, and makes those that there are not. */
  #find(events: number): void {
    if (this.#rows + events > this.#rowsMax) this.#growRows()
    const windows = this.#windows
    const hashes = this.#hashes
    const found = this.#found
    const slots = this.#slots
    const stats = this.#stats
    const mask = slots.length - 2
    for (let i = 0; i < events; i++) {
      const hash = hashes[i]
      let slot = (hash << 1) & mask
      for (;;) {
        const row = slots[slot + 1] - 1
        if (row < 0) {
          found[i] = this.#make(slot, i)
          break
        }
        if (slots[slot] === hash && stats[row * STATS + WINDOW] === windows[i] && this.#isKey(row, i)) {
          found[i] = row
          break
        }
        slot = (slot + 2) & mask
      }
    }
  }

  /** True when the row's key is the i-th of the block. */
  #isKey(row: number, i: number): boolean {
    const keys = this.#keys
    const source = this.#source
    const from = this.#keyFrom[i]
    const to = this.#keyTo[i]
    const start = row === 0 ? 0 : this.#keyEnd[row - 1]
    const end = this.#keyEnd[row] - END_BYTES
    if (end - start !== to - from) return false
    if (to - from < 4) {
      for (let at = from; at < to; at++) {
        if (source.getUint8(at) !== keys.getUint8(start + at - from)) return false
      }
      return true
    }
    for (let at = from, key = start; at + 4 < to; at += 4, key += 4) {
      if (source.getInt32(at, true) !== keys.getInt32(key, true)) return false
    }
    return source.getInt32(to - 4, true) === keys.getInt32(end - 4, true)
  }

  #make(slot: number, i: number): number {
    const row = this.#rows++
    this.#slots[slot] = this.#hashes[i]
    this.#slots[slot + 1] = row + 1
    const stats = this.#stats
    const base = row * STATS
    stats[base + COUNT] = 0
    stats[base + SUM] = 0
    stats[base + CARRY] = 0
    stats[base + MIN] = Number.POSITIVE_INFINITY
    stats[base + MAX] = Number.NEGATIVE_INFINITY
    stats[base + WINDOW] = this.#windows[i]
    this.#hash[row] = this.#hashes[i]
    const start = row === 0 ? 0 : this.#keyEnd[row - 1]
    const from = this.#keyFrom[i]
    const to = this.#keyTo[i]
    const room = start + to - from + END_BYTES + SLACK_BYTES
    if (room > this.#keys.byteLength) this.#keys = grown(this.#keys, room * 2)
    const end = copy(this.#source, from, to, this.#keys, start)
    this.#keys.setUint16(end, END)
    this.#keyEnd[row] = end + END_BYTES
    return row
  }

  #count(events: number): void {
    const found = this.#found
    const stats = this.#stats
    for (let i = 0; i < events; i++) stats[found[i] * STATS + COUNT]++
  }

  #addValues(fields: Fields, events: number): void {
    const { values } = fields
    const picked = this.#picked
    const found = this.#found
    const stats = this.#stats
    for (let i = 0; i < events; i++) {
      const value = values[picked[i]]
      const base = found[i] * STATS
      stats[base + COUNT]++
      const before = stats[base + SUM]
      const sum = before + value
      stats[base + SUM] = sum
      stats[base + CARRY] += lost(before, value, sum)
      if (value < stats[base + MIN]) stats[base + MIN] = value
      if (value > stats[base + MAX]) stats[base + MAX] = value
    }
  }

  /** Notes the buckets of values. */
  #sample(fields: Fields, events: number): void {
    if (this.#samples + events > this.#sampleRow.length) this.#makeSamples(this.#sampleRow.length * 2)
    const picked = this.#picked
    const found = this.#found
    const sampleRow = this.#sampleRow
    const sampleBucket = this.#sampleBucket
    let at = this.#samples
    for (let i = 0; i < events; i++, at++) {
      sampleRow[at] = found[i]
      sampleBucket[at] = bucketOf(fields.upperOf(picked[i]))
    }
    this.#samples = at
  }

  /** How much there is to take. */
  size(): Size {
    const rows = this.#rows
    return { rows, samples: this.#samples, keyBytes: rows === 0 ? 0 : this.#keyEnd[rows - 1] }
  }

  /** Puts all rows into a section of their size; the table is empty then. */
  take(section: Section): void {
    const rows = this.#rows
    section.stats.set(this.#stats.subarray(0, rows * STATS))
    section.hash.set(this.#hash.subarray(0, rows))
    section.keyEnd.set(this.#keyEnd.subarray(0, rows))
    section.sampleRow.set(this.#sampleRow.subarray(0, this.#samples))
    section.sampleBucket.set(this.#sampleBucket.subarray(0, this.#samples))
    section.keys.set(new Uint8Array(this.#keys.buffer, 0, section.keyBytes))
    this.#source = this.#encoded // not the frames
    if (rows === 0) return
    if (this.#rowsMax > FOLD_ROWS_KEPT_MAX) this.#makeRows(ROWS_MIN)
    else this.#slots.fill(0)
    this.#rows = 0
    this.#samples = 0
    if (this.#sampleRow.length > FOLD_ROWS_KEPT_MAX * 4) this.#makeSamples(SAMPLES_MIN)
  }

  #makeRows(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.#stats = new Float64Array(rowsMax * STATS)
    this.#hash = new Int32Array(rowsMax)
    this.#keyEnd = new Int32Array(rowsMax)
  }

  #growRows(): void {
    const stats = this.#stats
    const hash = this.#hash
    const keyEnd = this.#keyEnd
    this.#makeRows(this.#rowsMax * 2)
    this.#stats.set(stats)
    this.#hash.set(hash)
    this.#keyEnd.set(keyEnd)
    const slots = this.#slots
    const mask = slots.length - 2
    for (let row = 0; row < this.#rows; row++) {
      let slot = (hash[row] << 1) & mask
      while (slots[slot + 1] !== 0) slot = (slot + 2) & mask
      slots[slot] = hash[row]
      slots[slot + 1] = row + 1
    }
  }

  #makeSamples(samplesMax: number): void {
    const sampleRow = new Int32Array(samplesMax)
    const sampleBucket = new Int32Array(samplesMax)
    sampleRow.set(this.#sampleRow.subarray(0, this.#samples))
    sampleBucket.set(this.#sampleBucket.subarray(0, this.#samples))
    this.#sampleRow = sampleRow
    this.#sampleBucket = sampleBucket
  }
}

/** Writes a key part and its end, as in results/keys.ts; returns where that ends. */
function encodePart(source: DataView, from: number, end: number, target: DataView, at: number): number {
  let zeros = 0
  let to = at
  let word = from
  for (; word + 4 <= end; word += 4, to += 4) {
    const bytes = source.getInt32(word, true)
    zeros |= (bytes - 0x01010101) & ~bytes
    target.setInt32(to, bytes, true)
  }
  for (; word < end; word++, to++) {
    const byte = source.getUint8(word)
    if (byte === 0) zeros = -1
    target.setUint8(to, byte)
  }
  if ((zeros & 0x80808080) !== 0) to = escapePart(source, from, end, target, at)
  target.setUint16(to, END)
  return to + END_BYTES
}

function escapePart(source: DataView, from: number, end: number, target: DataView, at: number): number {
  let to = at
  for (let i = from; i < end; i++) {
    const byte = source.getUint8(i)
    target.setUint8(to++, byte)
    if (byte === 0) target.setUint8(to++, 2)
  }
  return to
}

/** Copies source[from, end); returns where the copy ends. */
function copy(source: DataView, from: number, end: number, target: DataView, at: number): number {
  let to = at
  let i = from
  for (; i + 4 <= end; i += 4, to += 4) target.setInt32(to, source.getInt32(i, true), true)
  for (; i < end; i++, to++) target.setUint8(to, source.getUint8(i))
  return to
}

/** The fewer than four bytes from `from` to `to`, where the view ends before a whole word. */
function wordAtEnd(view: DataView, from: number, to: number): number {
  let word = 0
  for (let at = to - 1; at >= from; at--) word = (word << 8) | view.getUint8(at)
  return word
}

function grown(view: DataView, bytes: number): DataView {
  const target = new Uint8Array(bytes)
  target.set(new Uint8Array(view.buffer))
  return new DataView(target.buffer)
}
