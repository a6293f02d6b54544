// Writes a frame by hand into memory that is used again, without an object or a Long on the way.

import { CONVERTED_BYTES_KEPT_MAX } from '../limits.ts'

/** Strings up to this length are written character by character: quicker than a call into the runtime. */
const SHORT = 48
const TWO_32 = 4294967296

/** The protobuf wire format, field by field. Nothing is checked here but the range of times. */
export class FrameWriter {
  #bytes = Buffer.allocUnsafeSlow(64 * 1024)
  #at = 0

  /** Begins a new frame; the last one's bytes are given up. */
  reset(): void {
    this.#at = 0
    if (this.#bytes.length > CONVERTED_BYTES_KEPT_MAX) this.#bytes = Buffer.allocUnsafeSlow(64 * 1024)
  }

  /** What was written: a view that holds until the next reset. */
  frame(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** Opens a message, leaving `width` bytes for its length. Returns where its fields begin. */
  begin(tag: number, width: number): number {
    this.#reserve(8)
    this.#bytes[this.#at] = tag
    this.#at += 1 + width
    return this.#at
  }

  /**
   * Closes the message whose fields begin at `start`, moving them where `width` was a wrong guess. Returns the
   * width its length took, which is the best guess for the next one.
   */
  end(start: number, width: number): number {
    const end = this.#at
    const size = end - start
    const taken = varintBytes(size)
    if (taken !== width) {
      this.#reserve(8)
      this.#bytes.copyWithin(start - width + taken, start, end)
    }
    this.#at = start - width
    this.#varint(size)
    this.#at += size
    return taken
  }

  /** Writes a string and returns its bytes in UTF-8. */
  string(tag: number, value: string): number {
    const { length } = value
    this.#reserve(3 * length + 8)
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = tag
    if (length <= SHORT) {
      bytes[at++] = length
      let i = 0
      for (; i < length; i++) {
        const code = value.charCodeAt(i)
        if (code > 127) break
        bytes[at++] = code
      }
      if (i === length) {
        this.#at = at
        return length
      }
    }
    const size = Buffer.byteLength(value)
    this.#at++
    this.#varint(size)
    bytes.write(value, this.#at, size)
    this.#at += size
    return size
  }

  /** Writes bytes that come as base64 (either alphabet, `length` characters without the padding). */
  base64(tag: number, value: string, length: number): void {
    const size = Math.floor((length * 3) / 4)
    this.#reserve(size + 8)
    this.#bytes[this.#at++] = tag
    this.#varint(size)
    this.#bytes.write(value, this.#at, size, 'base64')
    this.#at += size
  }

  /** Writes bytes as they are. */
  bytes(tag: number, value: Uint8Array): void {
    this.#reserve(value.length + 8)
    this.#bytes[this.#at++] = tag
    this.#varint(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  /** Writes a whole number below 2^31. */
  number(tag: number, value: number): void {
    this.#reserve(8)
    this.#bytes[this.#at++] = tag
    this.#varint(value)
  }

  double(tag: number, value: number): void {
    this.#reserve(9)
    this.#bytes[this.#at] = tag
    this.#bytes.writeDoubleLE(value, this.#at + 1)
    this.#at += 9
  }

  /** Writes seconds * 10^9 + nanos, seconds below 2^38, as fixed64. False, and nothing, when past 2^64 - 1. */
  nanoseconds(tag: number, seconds: number, nanos: number): boolean {
    // In two halves of 16 bits, so that every product stays exact.
    const upper = Math.floor(seconds / 65536) * 1e9
    const lower = (upper % 65536) * 65536 + (seconds % 65536) * 1e9 + nanos
    const high = Math.floor(upper / 65536) + Math.floor(lower / TWO_32)
    if (high >= TWO_32) return false
    this.#reserve(9)
    this.#bytes[this.#at] = tag
    this.#bytes.writeUInt32LE(lower % TWO_32, this.#at + 1)
    this.#bytes.writeUInt32LE(high, this.#at + 5)
    this.#at += 9
    return true
  }

  #varint(value: number): void {
    const bytes = this.#bytes
    let rest = value
    while (rest > 127) {
      bytes[this.#at++] = (rest & 127) | 128
      rest >>>= 7
    }
    bytes[this.#at++] = rest
  }

  #reserve(more: number): void {
    const needed = this.#at + more
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}

function varintBytes(value: number): number {
  return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : value < 268435456 ? 4 : 5
}
