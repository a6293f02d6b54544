// A delta: what folding one task came to, in one buffer. Columns, so that it is written by copying whole arrays and
// read in place.
//
//    0  f64  events folded
//    8  i32  start, multiplier   the seed of the hashes
//   16  u32  sections, 0         one for each measure, in the order of the configuration:
//
//       u32  rows, samples, keyBytes, 0
//       f64  stats[rows][6]         count, sum, carry (results/sum.ts), min, max, window start in Unix milliseconds
//       i32  hash[rows]             of key and window
//       i32  keyEnd[rows]           where the row's key ends in keys; it starts where the one before ends
//       i32  sampleRow[samples]     a value that was counted: its row,
//       i32  sampleBucket[samples]  and its bucket (results/sketch.ts); none where the measure has no quantiles
//       u8   keys[keyBytes]         key parts as in results/keys.ts
//       u8   0 to 7 more, so that the next section starts at a whole number of doubles
//
// In the byte order of the machine: a delta never leaves it. Values are not counted by bucket here: most buckets of a
// row get one value of a task, and finding that out costs the thread more than it spares the one that merges.

import type { Seed } from './seed.ts'

export const STATS = 6
export const COUNT = 0
export const SUM = 1
export const CARRY = 2
export const MIN = 3
export const MAX = 4
export const WINDOW = 5

/** Begins a row: of nothing yet, in the window that starts then. */
export function clearStats(stats: Float64Array, base: number, window: number): void {
  stats[base + COUNT] = 0
  stats[base + SUM] = 0
  stats[base + CARRY] = 0
  stats[base + MIN] = Number.POSITIVE_INFINITY
  stats[base + MAX] = Number.NEGATIVE_INFINITY
  stats[base + WINDOW] = window
}

const HEADER_BYTES = 24
const SECTION_HEADER_BYTES = 16
const ROW_BYTES = STATS * 8 + 8
const SAMPLE_BYTES = 8

/** How much a section holds. */
export interface Size {
  rows: number
  samples: number
  keyBytes: number
}

/** Views on the part of a measure: to be filled, or read. */
export interface Section extends Size {
  stats: Float64Array
  hash: Int32Array
  keyEnd: Int32Array
  sampleRow: Int32Array
  sampleBucket: Int32Array
  keys: Uint8Array
}

export class Delta {
  readonly buffer: ArrayBufferLike
  /** Events that were folded, counted by a measure or not. */
  readonly events: number
  readonly seed: Seed
  readonly sections: Section[] = []

  constructor(buffer: ArrayBufferLike) {
    this.buffer = buffer
    this.events = new Float64Array(buffer, 0, 1)[0]
    const [start, multiplier, sections] = new Int32Array(buffer, 8, 3)
    this.seed = { start, multiplier }
    let at = HEADER_BYTES
    for (let i = 0; i < sections; i++) {
      const [rows, samples, keyBytes] = new Uint32Array(buffer, at, 3)
      this.sections.push(section(buffer, at + SECTION_HEADER_BYTES, { rows, samples, keyBytes }))
      at += sectionBytes({ rows, samples, keyBytes })
    }
  }

  /** Without what is left of the room that it may lie in. */
  get bytes(): number {
    return this.sections.reduce((sum, one) => sum + sectionBytes(one), HEADER_BYTES)
  }

  /** An empty one: in `room`, where that is large enough. */
  static of(events: number, seed: Seed, sizes: readonly Size[], room?: ArrayBufferLike): Delta {
    let bytes = HEADER_BYTES
    for (const size of sizes) bytes += sectionBytes(size)
    const buffer = room !== undefined && room.byteLength >= bytes ? room : new SharedArrayBuffer(bytes)
    new Float64Array(buffer, 0, 1)[0] = events
    new Int32Array(buffer, 8, 3).set([seed.start, seed.multiplier, sizes.length])
    let at = HEADER_BYTES
    for (const size of sizes) {
      new Uint32Array(buffer, at, 3).set([size.rows, size.samples, size.keyBytes])
      at += sectionBytes(size)
    }
    return new Delta(buffer)
  }
}

export function sectionBytes({ rows, samples, keyBytes }: Size): number {
  return SECTION_HEADER_BYTES + rows * ROW_BYTES + samples * SAMPLE_BYTES + Math.ceil(keyBytes / 8) * 8
}

function section(buffer: ArrayBufferLike, from: number, { rows, samples, keyBytes }: Size): Section {
  let at = from
  const stats = new Float64Array(buffer, at, rows * STATS)
  at += stats.byteLength
  const hash = new Int32Array(buffer, at, rows)
  at += hash.byteLength
  const keyEnd = new Int32Array(buffer, at, rows)
  at += keyEnd.byteLength
  const sampleRow = new Int32Array(buffer, at, samples)
  at += sampleRow.byteLength
  const sampleBucket = new Int32Array(buffer, at, samples)
  at += sampleBucket.byteLength
  const keys = new Uint8Array(buffer, at, keyBytes)
  return { rows, samples, keyBytes, stats, hash, keyEnd, sampleRow, sampleBucket, keys }
}
