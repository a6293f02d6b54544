// The keys of rows in the store. Their byte order is the order of measure, key parts and window.
//
//   u32 measure id, big endian
//   key parts, each: its UTF-8 with 00 written as 00 02, then 00 01
//   u48 window start, Unix milliseconds, big endian
//
// The end of a part (00 01) sorts before a NUL in it (00 02) and before every other byte, so a part comes before
// those that it is a prefix of. Key parts longer than KEY_BYTES_MAX together are cut there and followed by the
// SHA-256 of all of them, and the row holds them whole: such keys sort by what was left of them.

import { createHash } from 'node:crypto'
import { KEY_BYTES_MAX } from '../limits.ts'

export const MEASURE_BYTES = 4
export const WINDOW_BYTES = 6
const HASH_BYTES = 32
const LONG_BYTES = MEASURE_BYTES + KEY_BYTES_MAX + HASH_BYTES + WINDOW_BYTES

/** Key parts as they stand in a key. */
export function encodeParts(parts: readonly string[]): Buffer {
  const pieces = parts.map((part) => {
    const bytes = Buffer.from(part)
    if (!bytes.includes(0)) return Buffer.concat([bytes, END])
    const escaped: number[] = []
    for (const byte of bytes) {
      escaped.push(byte)
      if (byte === 0) escaped.push(2)
    }
    return Buffer.concat([Buffer.from(escaped), END])
  })
  return Buffer.concat(pieces)
}
const END = Buffer.from([0, 1])

/** The key parts of `encodeParts` again. */
export function decodeParts(encoded: Uint8Array): string[] {
  const parts: string[] = []
  let part = Buffer.allocUnsafe(encoded.length)
  let length = 0
  for (let at = 0; at < encoded.length; at++) {
    const byte = encoded[at]
    if (byte === 0 && encoded[++at] === 1) {
      parts.push(part.toString('utf8', 0, length))
      part = part.subarray(length)
      length = 0
    } else part[length++] = byte
  }
  return parts
}

/** True when the row has to hold these key parts itself. */
export function isLong(parts: Uint8Array): boolean {
  return parts.length > KEY_BYTES_MAX
}

/** The start of the keys of all rows of a measure. */
export function measureKey(measure: number): Buffer {
  const key = Buffer.allocUnsafe(MEASURE_BYTES)
  key.writeUInt32BE(measure)
  return key
}

/** The start of the keys of all windows of a key. `parts` are encoded. */
export function keyStem(measure: number, parts: Uint8Array): Buffer {
  const long = isLong(parts)
  const stem = Buffer.allocUnsafe(MEASURE_BYTES + (long ? KEY_BYTES_MAX + HASH_BYTES : parts.length))
  stem.writeUInt32BE(measure)
  if (!long) stem.set(parts, MEASURE_BYTES)
  else {
    stem.set(parts.subarray(0, KEY_BYTES_MAX), MEASURE_BYTES)
    stem.set(createHash('sha256').update(parts).digest(), MEASURE_BYTES + KEY_BYTES_MAX)
  }
  return stem
}

/** The start of the keys of all rows whose key parts begin with these encoded ones; of some others too, if cut. */
export function prefixStem(measure: number, parts: Uint8Array): Buffer {
  const stem = Buffer.allocUnsafe(MEASURE_BYTES + Math.min(parts.length, KEY_BYTES_MAX))
  stem.writeUInt32BE(measure)
  stem.set(parts.subarray(0, KEY_BYTES_MAX), MEASURE_BYTES)
  return stem
}

/** The key of a row. `parts` are encoded, `windowStart` is in Unix milliseconds. */
export function rowKey(measure: number, parts: Uint8Array, windowStart: number): Buffer {
  return withWindow(keyStem(measure, parts), windowStart)
}

/** Bytes of a row's key whose parts take so many. */
export function rowKeyBytes(partBytes: number): number {
  return partBytes > KEY_BYTES_MAX ? LONG_BYTES : MEASURE_BYTES + partBytes + WINDOW_BYTES
}

/** Writes the key of a row, whose parts stand at parts[from, from + bytes), to `target` from `at` on; returns the end. */
export function putRowKey(
  measure: number,
  parts: Uint8Array,
  from: number,
  bytes: number,
  windowStart: number,
  target: Buffer,
  at: number,
): number {
  if (bytes > KEY_BYTES_MAX) {
    target.set(rowKey(measure, parts.subarray(from, from + bytes), windowStart), at)
    return at + LONG_BYTES
  }
  target[at] = measure >>> 24
  target[at + 1] = measure >>> 16
  target[at + 2] = measure >>> 8
  target[at + 3] = measure
  let end = at + MEASURE_BYTES
  for (let i = from; i < from + bytes; i++) target[end++] = parts[i]
  const high = Math.floor(windowStart / 0x100000000)
  target[end] = high >>> 8
  target[end + 1] = high
  target[end + 2] = windowStart >>> 24
  target[end + 3] = windowStart >>> 16
  target[end + 4] = windowStart >>> 8
  target[end + 5] = windowStart
  return end + WINDOW_BYTES
}

export function withWindow(stem: Buffer, windowStart: number): Buffer {
  const key = Buffer.allocUnsafe(stem.length + WINDOW_BYTES)
  key.set(stem)
  key.writeUIntBE(windowStart, stem.length, WINDOW_BYTES)
  return key
}

/** Everything of a row's key but its window: the same for all windows of one key, and for no other. */
export function stemOf(key: Buffer): Buffer {
  return key.subarray(0, key.length - WINDOW_BYTES)
}

export function windowOf(key: Buffer): number {
  return key.readUIntBE(key.length - WINDOW_BYTES, WINDOW_BYTES)
}

/** The encoded key parts in a row's key, or undefined where they were too long and the row holds them. */
export function partsOf(key: Buffer): Buffer | undefined {
  if (key.length === LONG_BYTES) return undefined
  return key.subarray(MEASURE_BYTES, key.length - WINDOW_BYTES)
}

/** The first key after all those that start with `prefix`. */
export function after(prefix: Buffer): Buffer {
  const next = Buffer.from(prefix)
  for (let at = next.length - 1; at >= 0; at--) {
    if (next[at] < 0xff) {
      next[at]++
      return next.subarray(0, at + 1)
    }
  }
  return Buffer.alloc(prefix.length + 1, 0xff)
}
