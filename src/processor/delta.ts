// A delta: what folding one task came to, in one transferable ArrayBuffer. Columns, so that it is written by copying
// whole arrays and read in place.
//
//    0  u32  rows
//    4  u32  keyBytes
//    8  u32  sketchBytes
//   12  u32  0
//   16  f64  events folded
//   24  f64  stats[rows][6]     count, sum, carry (results/sum.ts), min, max, window start in Unix milliseconds
//       i32  measure[rows]      place in the configuration
//       i32  keyEnd[rows]       where the row's key ends in keys; it starts where the one before ends
//       i32  sketchEnd[rows]    likewise; empty where the measure has no quantiles
//       u8   keys[keyBytes]     key parts as in results/keys.ts
//       u8   sketches[sketchBytes]   as in results/sketch.ts
//
// In the byte order of the machine: a delta never leaves it.

export const STATS = 6
export const COUNT = 0
export const SUM = 1
export const CARRY = 2
export const MIN = 3
export const MAX = 4
export const WINDOW = 5

const HEADER_BYTES = 24

/** Views on a delta: to be filled, or read. */
export class Delta {
  readonly buffer: ArrayBuffer
  readonly rows: number
  readonly stats: Float64Array
  readonly measure: Int32Array
  readonly keyEnd: Int32Array
  readonly sketchEnd: Int32Array
  readonly keys: Uint8Array
  readonly sketches: Uint8Array

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer
    const [rows, keyBytes, sketchBytes] = new Uint32Array(buffer, 0, 3)
    this.rows = rows
    let at = HEADER_BYTES
    this.stats = new Float64Array(buffer, at, rows * STATS)
    at += rows * STATS * 8
    this.measure = new Int32Array(buffer, at, rows)
    at += rows * 4
    this.keyEnd = new Int32Array(buffer, at, rows)
    at += rows * 4
    this.sketchEnd = new Int32Array(buffer, at, rows)
    at += rows * 4
    this.keys = new Uint8Array(buffer, at, keyBytes)
    this.sketches = new Uint8Array(buffer, at + keyBytes, sketchBytes)
  }

  /** An empty one of this size. */
  static of(events: number, rows: number, keyBytes: number, sketchBytes: number): Delta {
    const buffer = new ArrayBuffer(HEADER_BYTES + rows * (STATS * 8 + 12) + keyBytes + sketchBytes)
    new Uint32Array(buffer, 0, 3).set([rows, keyBytes, sketchBytes])
    new Float64Array(buffer, 16, 1)[0] = events
    return new Delta(buffer)
  }

  /** Events that were folded, counted by a measure or not. */
  get events(): number {
    return new Float64Array(this.buffer, 16, 1)[0]
  }
}
