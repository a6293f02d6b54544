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
  merge(value: Buffer, sketches: boolean): void {
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
    target[at] = (this.numbers ? NUMBERS : 0) | (key ? KEY : 0) | (sketch ? SKETCH : 0)
    let end = target.writeDoubleLE(this.count, at + 1)
    if (this.numbers) {
      end = target.writeDoubleLE(this.sum, end)
      end = target.writeDoubleLE(this.carry, end)
      end = target.writeDoubleLE(this.min, end)
      end = target.writeDoubleLE(this.max, end)
    }
    if (key !== undefined) {
      end = target.writeUInt32LE(key.length, end)
      target.set(key, end)
      end += key.length
    }
    return sketch === undefined ? end : sketch.encode(target, end)
  }
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
