// Strings of events, decoded once for as long as they come again: subjects, types and the like are few.
//
// A table with two places for each hash, of a fixed size: what is new takes one of its two places in turn.

import { TEXT_KEPT_BYTES_MAX, TEXTS_KEPT_MAX } from '../limits.ts'

const MASK = TEXTS_KEPT_MAX - 1
const SPREAD = 0x9e3779b1
const MULTIPLIER = 0x85ebca6b

export class Texts {
  readonly #texts: string[] = new Array(TEXTS_KEPT_MAX).fill('')
  readonly #lengths = new Uint8Array(TEXTS_KEPT_MAX)
  readonly #bytes = new DataView(new ArrayBuffer(TEXTS_KEPT_MAX * TEXT_KEPT_BYTES_MAX))
  #turn = 0

  /** The UTF-8 in buffer[from, to) as a string. `view`: on the same bytes. */
  of(buffer: Buffer, view: DataView, from: number, to: number): string {
    const length = to - from
    if (length === 0) return ''
    if (length > TEXT_KEPT_BYTES_MAX) return buffer.toString('utf8', from, to)
    const slot = hashOf(view, from, to) & MASK
    if (this.#is(slot, view, from, length)) return this.#texts[slot]
    if (this.#is(slot ^ 1, view, from, length)) return this.#texts[slot ^ 1]
    this.#turn ^= 1
    return this.#keep(slot ^ this.#turn, buffer, from, to)
  }

  #is(slot: number, view: DataView, from: number, length: number): boolean {
    if (this.#lengths[slot] !== length) return false
    const own = this.#bytes
    const start = slot * TEXT_KEPT_BYTES_MAX
    if (length < 4) {
      for (let i = 0; i < length; i++) if (own.getUint8(start + i) !== view.getUint8(from + i)) return false
      return true
    }
    for (let i = 0; i + 4 < length; i += 4) {
      if (own.getInt32(start + i, true) !== view.getInt32(from + i, true)) return false
    }
    const last = length - 4
    return own.getInt32(start + last, true) === view.getInt32(from + last, true)
  }

  #keep(slot: number, buffer: Buffer, from: number, to: number): string {
    const text = buffer.toString('utf8', from, to)
    for (let i = from; i < to; i++) this.#bytes.setUint8(slot * TEXT_KEPT_BYTES_MAX + i - from, buffer[i])
    this.#lengths[slot] = to - from
    this.#texts[slot] = text
    return text
  }
}

/** In words of four bytes, the last of which may overlap the one before. */
function hashOf(view: DataView, from: number, to: number): number {
  let hash = to - from
  if (hash < 4) {
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ view.getUint8(at), MULTIPLIER)
  } else {
    for (let at = from; at + 4 < to; at += 4) {
      hash = Math.imul(hash ^ view.getInt32(at, true), MULTIPLIER)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash ^ view.getInt32(to - 4, true), MULTIPLIER)
  }
  hash = Math.imul(hash ^ (hash >>> 15), SPREAD)
  return hash ^ (hash >>> 16)
}
