// What a handler has emitted to one measure and is not folded yet: columns as those of a block of events (fields.ts), the
// keys in bytes of their own, so that they go into the same tables as the measures of the configuration.

import { EMITS_PER_EVENT_MAX, EMITTED_KEY_BYTES_PER_EVENT_MAX, STRING_BYTES_MAX } from '../limits.ts'
import { Aggregates } from './aggregates.ts'
import type { View } from './event-view.ts'
import { BLOCK_EVENTS, type Block } from './fields.ts'
import type { CompiledMeasure } from './measure.ts'
import type { Seed } from './seed.ts'

const TIME_MS_MAX = 18_446_744_073_709
const TIME_NANOS_MAX = 2n ** 64n - 1n
/** Which half of a double holds its sign and exponent, as the machine lays it. */
const UPPER = new Uint8Array(Uint16Array.of(1).buffer)[0]
const TWO_32 = 4294967296

export class Emitted implements Block {
  readonly table: Aggregates
  readonly #name: string
  readonly #parts: readonly string[]
  readonly #numbers: boolean
  /** The bytes of the keys. */
  frames: Uint8Array = new Uint8Array(BLOCK_EVENTS * 32)
  view: DataView = new DataView(this.frames.buffer)
  #bytes = 0
  size = 0
  starts: Int32Array[]
  ends: Int32Array[]
  values = new Float64Array(BLOCK_EVENTS)
  lows = new Int32Array(BLOCK_EVENTS)
  highs = new Int32Array(BLOCK_EVENTS)
  #valueBits = new Int32Array(this.values.buffer)
  /** What was there before the event at hand. */
  #sizeBefore = 0
  #bytesBefore = 0

  constructor(name: string, parts: readonly string[], measure: CompiledMeasure, seed: Seed) {
    this.#name = name
    this.#parts = parts
    this.#numbers = measure.numbers
    this.starts = parts.map(() => new Int32Array(BLOCK_EVENTS))
    this.ends = parts.map(() => new Int32Array(BLOCK_EVENTS))
    this.table = new Aggregates(measure, seed)
  }

  get valued(): number {
    return this.size
  }

  upperOf(row: number): number {
    return this.#valueBits[row * 2 + UPPER]
  }

  /** Adds for the event that is shown. Throws where key, value or time are not what they have to be. */
  add(
    shown: View,
    key: string | readonly string[],
    value: number | undefined,
    time: number | bigint | undefined,
  ): void {
    const row = this.size
    if (row === this.values.length) this.#grow()
    if (this.#numbers) {
      if (typeof value !== 'number' || !Number.isFinite(value)) {
        throw new TypeError(`measure ${this.#name}: the value ${told(value)} is not a finite number`)
      }
      this.values[row] = value
    }
    if (typeof key === 'string') {
      if (this.#parts.length !== 1) throw this.#wrongKey(key)
      this.#put(0, row, key, shown)
    } else {
      if (!Array.isArray(key) || key.length !== this.#parts.length) throw this.#wrongKey(key)
      for (let part = 0; part < key.length; part++) this.#put(part, row, key[part], shown)
    }
    if (time === undefined) {
      this.lows[row] = shown.low
      this.highs[row] = shown.high
    } else this.#time(row, time)
    this.size = row + 1
    if (this.size - this.#sizeBefore > EMITS_PER_EVENT_MAX) {
      throw new RangeError(
        `measure ${this.#name}: more than ${EMITS_PER_EVENT_MAX} values are emitted for one event`,
      )
    }
    if (this.#bytes - this.#bytesBefore > EMITTED_KEY_BYTES_PER_EVENT_MAX) {
      throw new RangeError(
        `measure ${this.#name}: the keys emitted for one event have more than ${EMITTED_KEY_BYTES_PER_EVENT_MAX} bytes`,
      )
    }
  }

  /** What was added for the event at hand stays. Returns by how many bytes the table has grown, which is mostly none. */
  keep(): number {
    let grown = 0
    if (this.size >= BLOCK_EVENTS) {
      grown = -this.table.bytes
      this.fold()
      grown += this.table.bytes
    }
    this.#sizeBefore = this.size
    this.#bytesBefore = this.#bytes
    return grown
  }

  /** What was added for the event at hand was never there. */
  forget(): void {
    this.size = this.#sizeBefore
    this.#bytes = this.#bytesBefore
  }

  /** Folds what is there, in blocks. */
  fold(): void {
    const all = this.size
    for (let left = all; left > 0; ) {
      const block = Math.min(left, BLOCK_EVENTS)
      this.size = block
      this.table.add(this)
      left -= block
      if (left === 0) break
      const columns = [this.values, this.lows, this.highs, ...this.starts, ...this.ends]
      for (const column of columns) column.copyWithin(0, block, block + left)
    }
    this.size = 0
    this.#bytes = 0
    this.#sizeBefore = 0
    this.#bytesBefore = 0
  }

  #put(part: number, row: number, text: string, shown: View): void {
    const room = this.#bytes + STRING_BYTES_MAX + 3
    if (room > this.frames.length) this.#growBytes(room)
    const from = this.#bytes
    const { frames } = this
    let at = from
    if (text === shown.lastText) {
      const { bytes, lastFrom, lastTo } = shown
      for (let i = lastFrom; i < lastTo; i++) frames[at++] = bytes[i]
    } else {
      if (typeof text !== 'string') {
        throw new TypeError(`measure ${this.#name}: ${this.#parts[part]} is ${told(text)}, not a text`)
      }
      if (text.length > STRING_BYTES_MAX) throw this.#tooLong(part)
      at = write(text, frames, from)
      if (at - from > STRING_BYTES_MAX) throw this.#tooLong(part)
    }
    this.starts[part][row] = from
    this.ends[part][row] = at
    this.#bytes = at
  }

  #time(row: number, time: number | bigint): void {
    if (typeof time === 'bigint') {
      if (time < 0n || time > TIME_NANOS_MAX) throw this.#wrongTime(time)
      this.lows[row] = Number(BigInt.asIntN(32, time))
      this.highs[row] = Number(BigInt.asIntN(32, time >> 32n))
      return
    }
    const ms = Math.floor(time)
    if (!(ms >= 0 && ms <= TIME_MS_MAX)) throw this.#wrongTime(time)
    // The product with 10^6 has up to 64 bits: in two parts, each exact in a double.
    const upper = Math.floor(ms / 1048576) * 1e6 // times 2^20
    const lower = (ms % 1048576) * 1e6 + (upper % 4096) * 1048576
    this.lows[row] = (lower % TWO_32) | 0
    this.highs[row] = (Math.floor(upper / 4096) + Math.floor(lower / TWO_32)) | 0
  }

  #wrongKey(key: unknown): Error {
    const names = this.#parts.join(', ')
    const given = Array.isArray(key) ? `${key.length} parts` : told(key)
    return new TypeError(`measure ${this.#name}: its key is made of ${names}, but ${given} was given`)
  }

  #tooLong(part: number): Error {
    return new RangeError(
      `measure ${this.#name}: ${this.#parts[part]} has more than ${STRING_BYTES_MAX} bytes`,
    )
  }

  #wrongTime(time: unknown): Error {
    return new RangeError(`measure ${this.#name}: the time ${told(time)} is not between 1970 and 2554`)
  }

  #grow(): void {
    const rows = this.size * 2
    const longer = (column: Int32Array) => {
      const grown = new Int32Array(rows)
      grown.set(column)
      return grown
    }
    const values = new Float64Array(rows)
    values.set(this.values)
    this.values = values
    this.#valueBits = new Int32Array(values.buffer)
    this.lows = longer(this.lows)
    this.highs = longer(this.highs)
    this.starts = this.starts.map(longer)
    this.ends = this.ends.map(longer)
  }

  #growBytes(room: number): void {
    const grown = new Uint8Array(room * 2)
    grown.set(this.frames)
    this.frames = grown
    this.view = new DataView(grown.buffer)
  }
}

/** Writes a text of up to STRING_BYTES_MAX characters as UTF-8; returns the end. Most are ASCII. */
function write(text: string, target: Uint8Array, from: number): number {
  let at = from
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 127) return from + writeUtf8(text, target, from)
    target[at++] = code
  }
  return at
}

function writeUtf8(text: string, target: Uint8Array, from: number): number {
  const bytes = Buffer.from(text)
  target.set(bytes.subarray(0, STRING_BYTES_MAX + 1), from)
  return bytes.length
}

function told(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : String(value)
}
