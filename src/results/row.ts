// The value of a row.
//
//   u8   what follows: 1 numbers, 2 key, 4 sketch
//   f64  count
//   numbers: f64 sum, f64 carry (sum.ts), f64 min, f64 max
//   key:     u32 bytes, key parts encoded (keys.ts), where they are too long for the store's key
//   sketch:  sketch.ts, to the end
//
// All little endian.

import { Sketch } from './sketch.ts'
import { lost } from './sum.ts'

export const NUMBERS = 1
export const KEY = 2
export const SKETCH = 4
/** Flags and count. */
const FIXED_BYTES = 9
const NUMBERS_BYTES = 32

/** Most bytes of a row with this many bytes of key to hold, and of sketch. */
export function rowBytesMax(keyBytes: number, sketchBytes: number): number {
  return FIXED_BYTES + NUMBERS_BYTES + 4 + keyBytes + sketchBytes
}

/** One row, or several of a key folded into one. sum, min and max mean nothing where `numbers` is false. */
export class Row {
  count = 0
  sum = 0
  carry = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY
  numbers = false
  sketch: Sketch | undefined

  /** Adds an encoded row. Its sketch is left out when `sketches` is false. */
  merge(value: Buffer, sketches: boolean): this {
    const flags = value[0]
    this.count += value.readDoubleLE(1)
    let at = FIXED_BYTES
    if (flags & NUMBERS) {
      this.numbers = true
      const sum = value.readDoubleLE(at)
      const total = this.sum + sum
      this.carry += value.readDoubleLE(at + 8) + lost(this.sum, sum, total)
      this.sum = total
      this.min = Math.min(this.min, value.readDoubleLE(at + 16))
      this.max = Math.max(this.max, value.readDoubleLE(at + 24))
      at += NUMBERS_BYTES
    }
    if (flags & KEY) at += 4 + value.readUInt32LE(at)
    if (flags & SKETCH && sketches) {
      this.sketch ??= new Sketch()
      this.sketch.merge(value, at)
    }
    return this
  }

  get total(): number {
    return this.sum + this.carry
  }

  get mean(): number {
    return this.total / this.count
  }

  /** Writes the row to `target` from `at` on; returns the end. `key`: the parts to hold, if any. */
  encode(target: Buffer, at: number, key?: Uint8Array): number {
    const { sketch } = this
    const view = new DataView(target.buffer, target.byteOffset, target.length)
    const flags = (this.numbers ? NUMBERS : 0) | (key ? KEY : 0) | (sketch ? SKETCH : 0)
    const stats = Float64Array.of(this.count, this.sum, this.carry, this.min, this.max)
    let end = putStats(view, at, flags, stats, 0)
    if (key !== undefined) end = putKey(view, end, key)
    return sketch === undefined ? end : sketch.encode(target, end)
  }
}

/** Starts a row: its flags, and of count, sum, carry, min and max in stats[from, from + 5) what they say. */
export function putStats(
  target: DataView,
  at: number,
  flags: number,
  stats: Float64Array,
  from: number,
): number {
  target.setUint8(at, flags)
  target.setFloat64(at + 1, stats[from], true)
  if ((flags & NUMBERS) === 0) return at + FIXED_BYTES
  const numbers = at + FIXED_BYTES
  target.setFloat64(numbers, stats[from + 1], true)
  target.setFloat64(numbers + 8, stats[from + 2], true)
  target.setFloat64(numbers + 16, stats[from + 3], true)
  target.setFloat64(numbers + 24, stats[from + 4], true)
  return numbers + NUMBERS_BYTES
}

/** Goes on with the key parts, for rows that hold them. */
export function putKey(target: DataView, at: number, parts: Uint8Array): number {
  target.setUint32(at, parts.length, true)
  new Uint8Array(target.buffer, target.byteOffset).set(parts, at + 4)
  return at + 4 + parts.length
}

/** Where the sketch of an encoded row stands; -1 where it has none. */
export function sketchAt(value: Buffer): number {
  const flags = value[0]
  if ((flags & SKETCH) === 0) return -1
  const at = FIXED_BYTES + (flags & NUMBERS ? NUMBERS_BYTES : 0)
  return flags & KEY ? at + 4 + value.readUInt32LE(at) : at
}

/** Encoded rows of one key, folded into one. */
export function foldRows(values: readonly Buffer[]): Buffer {
  const row = new Row()
  for (const value of values) row.merge(value, true)
  const key = values[0][0] & KEY ? heldKey(values[0]) : undefined
  const target = Buffer.allocUnsafe(rowBytesMax(key?.length ?? 0, row.sketch?.encodedBytesMax ?? 0))
  return target.subarray(0, row.encode(target, 0, key))
}

/** The key parts that an encoded row holds, encoded. Only for rows whose key does not (keys.ts). */
export function heldKey(value: Buffer): Buffer {
  const at = FIXED_BYTES + (value[0] & NUMBERS ? NUMBERS_BYTES : 0)
  const bytes = value.readUInt32LE(at)
  return value.subarray(at + 4, at + 4 + bytes)
}
