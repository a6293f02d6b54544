// What a measure comes to within a task: a table of rows by key and window, open addressing with linear probing over
// typed arrays. Rows are dense, in the order they came, and numbered from 1.
//
// Blocks of events go through it step by step, each step a loop over the block: pick the events that count, tell their
// windows, hash their keys, find their rows, add their values. Each loop is small enough to be compiled well, and
// waits for memory that one event needs while it works on the next.

import { FOLD_ROWS_KEPT_MAX } from '../limits.ts'
import { bucketOf } from '../results/sketch.ts'
import { lost } from '../results/sum.ts'
import {
  CARRY,
  COUNT,
  clearStats,
  MAX,
  MIN,
  type Section,
  type Size,
  STATS,
  SUM,
  sectionBytes,
} from './delta.ts'
import { BLOCK_EVENTS, type Block } from './fields.ts'
import { type CompiledMeasure, matches } from './measure.ts'
import type { Seed } from './seed.ts'

const ROWS_MIN = 1024
/** Of the table, where there is no row: it takes what no row is to have. */
const NO_ROW = 0
/** Nanoseconds by which a time and a bound of a window, as doubles, are off together, and more. */
const ROUNDED_MAX = 4096
const SAMPLES_MIN = 4096
const WINDOWS_MIN = 16
/** The events of a block where all are picked. */
const ALL = Int32Array.from({ length: BLOCK_EVENTS }, (_, event) => event)
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
  #picked = ALL
  readonly #windowOf = new Int32Array(BLOCK_EVENTS)
  #keyFrom!: Int32Array
  #keyTo!: Int32Array
  readonly #hashes = new Int32Array(BLOCK_EVENTS)
  readonly #found = new Int32Array(BLOCK_EVENTS)
  #source!: DataView
  readonly #own = {
    picked: new Int32Array(BLOCK_EVENTS),
    keyFrom: new Int32Array(BLOCK_EVENTS),
    keyTo: new Int32Array(BLOCK_EVENTS),
  }
  /** Keys of the block, where they do not stand in the frames as they are. */
  #encoded: DataView = new DataView(new ArrayBuffer(BLOCK_EVENTS * 64))

  // Windows of the task by number: the Unix milliseconds where they start, and what the hashes of their keys start with.
  readonly #windowNumbers = new Map<number, number>()
  #windows = new Float64Array(WINDOWS_MIN)
  #windowSeeds = new Int32Array(WINDOWS_MIN)
  // The last one: its number; from and to in rounded nanoseconds, safely inside.
  #window = 0
  #windowFrom = 0
  #windowTo = 0

  #rows = 0
  #rowsMax!: number
  /** Pairs: hash, row. Twice as many pairs as rows at least. */
  #slots!: Int32Array
  /** STATS numbers for each row, as in a delta. */
  #stats!: Float64Array
  #hash!: Int32Array
  /** The number of its window. */
  #rowWindow!: Int32Array
  /** Where a row's key ends in #keys; it starts where the one before ends. */
  #keyEnd!: Int32Array
  #keys!: DataView

  #samples = 0
  #sampleRow = new Int32Array(SAMPLES_MIN)
  #sampleBucket = new Int32Array(SAMPLES_MIN)

  constructor(measure: CompiledMeasure, seed: Seed) {
    this.#measure = measure
    this.#seed = seed
    this.#windowSeeds[0] = Math.imul(seed.start, seed.multiplier)
    this.#makeRows(ROWS_MIN)
    this.#keys = new DataView(new ArrayBuffer(ROWS_MIN * 16))
  }

  /** Adds the events of a block. */
  add(fields: Block): void {
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
  #pick(fields: Block): number {
    const { conditions, numbers } = this.#measure
    const { frames, size, valued, values } = fields
    this.#picked = ALL
    if (conditions.length === 0 && (!numbers || valued === size)) return size
    const { picked } = this.#own
    this.#picked = picked
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

  #tellWindows(fields: Block, events: number): void {
    const { windowMs } = this.#measure
    if (windowMs === 0) return
    const { lows, highs } = fields
    const picked = this.#picked
    const windowOf = this.#windowOf
    for (let i = 0; i < events; i++) {
      const low = lows[picked[i]] >>> 0
      const high = highs[picked[i]] >>> 0
      const nanos = high * 4294967296 + low // rounded to 1024 at most
      if (!(nanos >= this.#windowFrom && nanos < this.#windowTo)) this.#enter(low, high)
      windowOf[i] = this.#window
    }
  }

  /** Makes the window of this time the last one. */
  #enter(low: number, high: number): void {
    const { windowMs } = this.#measure
    // Both are whole and the time < 2^45, so rounding never lifts the quotient over the next whole number.
    const start = Math.floor(milliseconds(low, high) / windowMs) * windowMs
    this.#windowFrom = start * 1e6 + ROUNDED_MAX
    this.#windowTo = (start + windowMs) * 1e6 - ROUNDED_MAX
    const known = this.#windowNumbers.get(start)
    this.#window = known ?? this.#windowNumbers.size
    if (known !== undefined) return
    this.#windowNumbers.set(start, this.#window)
    if (this.#window === this.#windows.length) this.#growWindows()
    this.#windows[this.#window] = start
    this.#windowSeeds[this.#window] = Math.imul(this.#seed.start ^ start, this.#seed.multiplier)
  }

  #growWindows(): void {
    const windows = new Float64Array(this.#windows.length * 2)
    const windowSeeds = new Int32Array(windows.length)
    windows.set(this.#windows)
    windowSeeds.set(this.#windowSeeds)
    this.#windows = windows
    this.#windowSeeds = windowSeeds
  }

  /** Keys of one part, which stand in the frames as they are; false when a NUL has to be escaped in one of them. */
  #takeKeys(fields: Block, field: number, events: number): boolean {
    const starts = fields.starts[field]
    const ends = fields.ends[field]
    const picked = this.#picked
    const all = picked === ALL
    this.#keyFrom = all ? starts : this.#own.keyFrom
    this.#keyTo = all ? ends : this.#own.keyTo
    for (let i = 0; i < events && !all; i++) {
      this.#keyFrom[i] = starts[picked[i]]
      this.#keyTo[i] = ends[picked[i]]
    }
    this.#source = fields.view
    return !this.#hashKeys(events)
  }

  /** Keys of several parts, or with NULs: written to #encoded. */
  #encodeKeys(fields: Block, by: readonly number[], events: number): void {
    const { view } = fields
    const picked = this.#picked
    const { keyFrom, keyTo } = this.#own
    this.#keyFrom = keyFrom
    this.#keyTo = keyTo
    let to = 0
    for (let i = 0; i < events; i++) {
      const event = picked[i]
      keyFrom[i] = to
      for (let part = 0; part < by.length; part++) {
        const start = fields.starts[by[part]][event]
        const end = fields.ends[by[part]][event]
        const room = to + (end - start) * 2 + END_BYTES + SLACK_BYTES
        if (room > this.#encoded.byteLength) this.#encoded = grown(this.#encoded, room * 2)
        to = encodePart(view, start, end, this.#encoded, to)
      }
      keyTo[i] = to - END_BYTES
    }
    this.#source = this.#encoded
    this.#hashKeys(events)
  }

  /** Hashes keys and windows, in words of four bytes, the last of which may overlap the one before. True when there may be a NUL in a key. */
  #hashKeys(events: number): boolean {
    const keys = this.#source
    const keyFrom = this.#keyFrom
    const keyTo = this.#keyTo
    const windowOf = this.#windowOf
    const windowSeeds = this.#windowSeeds
    const hashes = this.#hashes
    const { multiplier } = this.#seed
    let zeros = 0 // sign bits of bytes that are 0, and of some that are 1
    for (let i = 0; i < events; i++) {
      const from = keyFrom[i]
      const to = keyTo[i]
      let hash = Math.imul(windowSeeds[windowOf[i]] ^ (to - from), multiplier)
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
        word = shortWord(keys, from, to)
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
    const windowOf = this.#windowOf
    const hashes = this.#hashes
    const keyFrom = this.#keyFrom
    const keyTo = this.#keyTo
    const source = this.#source
    const found = this.#found
    const slots = this.#slots
    const rowWindow = this.#rowWindow
    const keyEnd = this.#keyEnd
    const mask = slots.length - 2
    for (let i = 0; i < events; i++) {
      const hash = hashes[i]
      const bytes = keyTo[i] - keyFrom[i]
      let slot = (hash << 1) & mask
      let row = slots[slot + 1]
      while (row !== NO_ROW) {
        const start = keyEnd[row - 1]
        if (
          slots[slot] === hash &&
          rowWindow[row] === windowOf[i] &&
          keyEnd[row] - start === bytes + END_BYTES &&
          same(source, keyFrom[i], this.#keys, start, bytes)
        ) {
          break
        }
        slot = (slot + 2) & mask
        row = slots[slot + 1]
      }
      found[i] = row === NO_ROW ? this.#make(slot, i) : row
    }
  }

  #make(slot: number, i: number): number {
    const row = ++this.#rows
    this.#slots[slot] = this.#hashes[i]
    this.#slots[slot + 1] = row
    clearStats(this.#stats, row * STATS, this.#windows[this.#windowOf[i]])
    this.#rowWindow[row] = this.#windowOf[i]
    this.#hash[row] = this.#hashes[i]
    const start = this.#keyEnd[row - 1]
    const from = this.#keyFrom[i]
    const to = this.#keyTo[i]
    const room = start + to - from + END_BYTES + SLACK_BYTES
    if (room > this.#keys.byteLength) this.#keys = grown(this.#keys, room * 2)
    copy(this.#source, from, to, this.#keys, start)
    const end = start + to - from
    this.#keys.setUint16(end, END)
    this.#keyEnd[row] = end + END_BYTES
    return row
  }

  #count(events: number): void {
    const found = this.#found
    const stats = this.#stats
    for (let i = 0; i < events; i++) stats[found[i] * STATS + COUNT]++
  }

  #addValues(fields: Block, events: number): void {
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
      // Without branches, which would be guessed wrong too often: times 0 it goes to NO_ROW. 17 ns become 11.
      stats[(base + MIN) * Number(value < stats[base + MIN])] = value
      stats[(base + MAX) * Number(value > stats[base + MAX])] = value
    }
  }

  /** Notes the buckets of values. */
  #sample(fields: Block, events: number): void {
    if (this.#samples + events > this.#sampleRow.length) this.#makeSamples(this.#sampleRow.length * 2)
    const picked = this.#picked
    const found = this.#found
    const sampleRow = this.#sampleRow
    const sampleBucket = this.#sampleBucket
    let at = this.#samples
    for (let i = 0; i < events; i++, at++) {
      sampleRow[at] = found[i] - 1
      sampleBucket[at] = bucketOf(fields.upperOf(picked[i]))
    }
    this.#samples = at
  }

  /** How much there is to take. */
  size(): Size {
    return { rows: this.#rows, samples: this.#samples, keyBytes: this.#keyEnd[this.#rows] }
  }

  /** What that is in a delta. */
  get bytes(): number {
    return sectionBytes(this.size())
  }

  /** Puts all rows into a section of their size; the table is empty then. */
  take(section: Section): void {
    const rows = this.#rows
    section.stats.set(this.#stats.subarray(STATS, (rows + 1) * STATS))
    section.hash.set(this.#hash.subarray(1, rows + 1))
    section.keyEnd.set(this.#keyEnd.subarray(1, rows + 1))
    section.sampleRow.set(this.#sampleRow.subarray(0, this.#samples))
    section.sampleBucket.set(this.#sampleBucket.subarray(0, this.#samples))
    section.keys.set(new Uint8Array(this.#keys.buffer, 0, section.keyBytes))
    this.#source = this.#encoded // not the frames, which may be let go
    if (rows === 0) return
    if (this.#rowsMax > FOLD_ROWS_KEPT_MAX) this.#makeRows(ROWS_MIN)
    else this.#slots.fill(0)
    this.#rows = 0
    this.#samples = 0
    this.#windowNumbers.clear()
    this.#windowFrom = 0
    this.#windowTo = 0
    if (this.#sampleRow.length > FOLD_ROWS_KEPT_MAX * 4) this.#makeSamples(SAMPLES_MIN)
  }

  #makeRows(rowsMax: number): void {
    this.#rowsMax = rowsMax
    this.#slots = new Int32Array(rowsMax * 4)
    this.#stats = new Float64Array((rowsMax + 1) * STATS)
    this.#hash = new Int32Array(rowsMax + 1)
    this.#rowWindow = new Int32Array(rowsMax + 1)
    this.#keyEnd = new Int32Array(rowsMax + 1)
  }

  #growRows(): void {
    const stats = this.#stats
    const hash = this.#hash
    const rowWindow = this.#rowWindow
    const keyEnd = this.#keyEnd
    this.#makeRows(this.#rowsMax * 2)
    this.#stats.set(stats)
    this.#hash.set(hash)
    this.#rowWindow.set(rowWindow)
    this.#keyEnd.set(keyEnd)
    const slots = this.#slots
    const mask = slots.length - 2
    for (let row = 1; row <= this.#rows; row++) {
      let slot = (hash[row] << 1) & mask
      while (slots[slot + 1] !== NO_ROW) slot = (slot + 2) & mask
      slots[slot] = hash[row]
      slots[slot + 1] = row
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

/**
 * Whole milliseconds of nanoseconds given as two halves. As 2^32 = 4294 * 10^6 + 967296, this is exact in doubles:
 * the sum stays below 2^53, and rounding the quotient never lifts it over the next whole number.
 */
function milliseconds(low: number, high: number): number {
  return high * 4294 + Math.floor((high * 967296 + low) / 1e6)
}

/** True when the bytes at two places are the same. */
function same(a: DataView, atA: number, b: DataView, atB: number, bytes: number): boolean {
  if (bytes < 4) {
    for (let i = 0; i < bytes; i++) if (a.getUint8(atA + i) !== b.getUint8(atB + i)) return false
    return true
  }
  for (let i = 0; i + 4 < bytes; i += 4) {
    if (a.getInt32(atA + i, true) !== b.getInt32(atB + i, true)) return false
  }
  return a.getInt32(atA + bytes - 4, true) === b.getInt32(atB + bytes - 4, true)
}

/** Copies source[from, end) to `target`, and up to three bytes more. True when there may be a NUL in it. */
function copy(source: DataView, from: number, end: number, target: DataView, at: number): boolean {
  let zeros = 0
  let to = at
  let i = from
  for (; i + 4 <= end; i += 4, to += 4) {
    const word = source.getInt32(i, true)
    zeros |= (word - 0x01010101) & ~word
    target.setInt32(to, word, true)
  }
  if (i < end) {
    const word = shortWord(source, i, end)
    zeros |= (word - 0x01010101) & ~word
    target.setInt32(to, word, true)
  }
  return (zeros & 0x80808080) !== 0
}

/** Writes a key part and its end, as in results/keys.ts; returns where that ends. */
function encodePart(source: DataView, from: number, end: number, target: DataView, at: number): number {
  const nul = copy(source, from, end, target, at)
  const to = nul ? escapePart(source, from, end, target, at) : at + end - from
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

/** The fewer than four bytes from `from` to `end` as a word; the others are 1, so as not to look like NULs. */
function shortWord(view: DataView, from: number, end: number): number {
  const bytes = end - from
  const word = from + 4 <= view.byteLength ? view.getInt32(from, true) : wordAtEnd(view, from, end)
  return (word & MASKS[bytes]) | FILLERS[bytes]
}

/** The fewer than four bytes from `from` to `to`, where the view ends before a word would. */
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
