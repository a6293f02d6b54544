// Folds the bytes of events into aggregates: no object and no string is made for an event.
//
// An event's fields are walked once, noting where the wanted ones stand; then each measure makes its key from them
// and finds its row. Frames were checked before they were acknowledged, so nothing is checked here.

import type { Measure } from '../config/config.ts'
import { bucketOf } from '../results/sketch.ts'
import { lost } from '../results/sum.ts'
import { Aggregates } from './aggregates.ts'
import { CARRY, COUNT, MAX, MIN, STATS, SUM } from './delta.ts'
import {
  type CompiledMeasure,
  compile,
  FIELD_ATTRIBUTES,
  FIELD_SOURCE,
  FIELD_SUBJECT,
  FIELD_TYPE,
  matches,
  same,
} from './measure.ts'

// Tags of protobuf fields: number << 3 | wire type.
const FRAME_EVENT = 0x0a
const SOURCE = 0x12
const TYPE = 0x1a
const SUBJECT = 0x22
const TIME = 0x29
const VALUE = 0x31
const ATTRIBUTES = 0x4a
const ENTRY_KEY = 0x0a
const ENTRY_VALUE = 0x12

/** Where the last varint ended. */
let ended = 0

export class Fold {
  readonly #measures: CompiledMeasure[]
  readonly #attributes: Uint8Array[]
  /** Where each field stands in the event at hand; both 0 where it has none. */
  readonly #starts: Int32Array
  readonly #ends: Int32Array
  readonly #table = new Aggregates()

  constructor(measures: readonly Measure[]) {
    const compiled = compile(measures)
    this.#measures = compiled.measures
    this.#attributes = compiled.attributes
    this.#starts = new Int32Array(FIELD_ATTRIBUTES + compiled.attributes.length)
    this.#ends = new Int32Array(FIELD_ATTRIBUTES + compiled.attributes.length)
  }

  /**
   * Folds frames laid end to end. `runs`: pairs of where a run ends in them and its time of receipt in Unix
   * milliseconds, which is the time of its events that carry none. The delta is the caller's.
   *
   * Measured on one core: see bench notes at #fold.
   */
  task(frames: Uint8Array, runs: ArrayLike<number>): ArrayBuffer {
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
    let events = 0
    let at = 0
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run]
      const receivedAt = runs[run + 1]
      while (at < end) {
        if (frames[at] !== FRAME_EVENT) {
          at = skipField(frames, at)
          continue
        }
        let length = frames[at + 1]
        if (length < 128) at += 2
        else {
          length = varint(frames, at + 1)
          at = ended
        }
        this.#fold(frames, view, at, at + length, receivedAt)
        at += length
        events++
      }
    }
    return this.#table.take(events)
  }

  /** One event: frames[from, end). */
  #fold(frames: Uint8Array, view: DataView, from: number, end: number, receivedAt: number): void {
    const starts = this.#starts
    const ends = this.#ends
    for (let i = 0; i < starts.length; i++) {
      starts[i] = 0
      ends[i] = 0
    }
    let timeAt = 0
    let valueAt = 0
    let at = from
    while (at < end) {
      const tag = frames[at]
      if (tag === VALUE) {
        valueAt = at + 1
        at += 9
        continue
      }
      if (tag === TIME) {
        timeAt = at + 1
        at += 9
        continue
      }
      if ((tag & 7) !== 2 || tag > ATTRIBUTES) {
        at = skipField(frames, at)
        continue
      }
      let length = frames[at + 1]
      if (length < 128) at += 2
      else {
        length = varint(frames, at + 1)
        at = ended
      }
      const fieldEnd = at + length
      if (tag === SUBJECT) {
        starts[FIELD_SUBJECT] = at
        ends[FIELD_SUBJECT] = fieldEnd
      } else if (tag === TYPE) {
        starts[FIELD_TYPE] = at
        ends[FIELD_TYPE] = fieldEnd
      } else if (tag === SOURCE) {
        starts[FIELD_SOURCE] = at
        ends[FIELD_SOURCE] = fieldEnd
      } else if (tag === ATTRIBUTES && this.#attributes.length > 0) this.#attribute(frames, at, fieldEnd)
      at = fieldEnd
    }

    let value = 0
    if (valueAt !== 0) {
      value = view.getFloat64(valueAt, true)
      if (Number.isNaN(value)) valueAt = 0
    }
    let ms = receivedAt
    if (timeAt !== 0) {
      const low = view.getUint32(timeAt, true)
      const high = view.getUint32(timeAt + 4, true)
      if ((low | high) !== 0) ms = milliseconds(low, high)
    }

    const measures = this.#measures
    const table = this.#table
    for (let i = 0; i < measures.length; i++) {
      const measure = measures[i]
      if (measure.numbers && valueAt === 0) continue
      if (measure.conditions.length > 0 && !this.#wanted(measure, frames)) continue
      // ms and windowMs are whole and ms < 2^45, so rounding never lifts the quotient over the next whole number.
      const { windowMs } = measure
      const windowStart = windowMs === 0 ? 0 : Math.floor(ms / windowMs) * windowMs
      const row = table.row(measure, windowStart, view, starts, ends)
      const stats = table.stats
      const base = row * STATS
      stats[base + COUNT]++
      if (!measure.numbers) continue
      const before = stats[base + SUM]
      const sum = before + value
      stats[base + SUM] = sum
      stats[base + CARRY] += lost(before, value, sum)
      if (value < stats[base + MIN]) stats[base + MIN] = value
      if (value > stats[base + MAX]) stats[base + MAX] = value
      if (measure.sketch) table.bucket(row, bucketOf(view.getInt32(valueAt + 4, true)))
    }
  }

  #wanted(measure: CompiledMeasure, frames: Uint8Array): boolean {
    const { conditions } = measure
    for (let i = 0; i < conditions.length; i++) {
      const { field } = conditions[i]
      if (!matches(conditions[i], frames, this.#starts[field], this.#ends[field])) return false
    }
    return true
  }

  /** One entry of the map: notes where its value stands if some measure wants it. The last of a name counts. */
  #attribute(frames: Uint8Array, from: number, end: number): void {
    let keyStart = 0
    let keyEnd = 0
    let valueStart = 0
    let valueEnd = 0
    let at = from
    while (at < end) {
      const tag = frames[at]
      if (tag !== ENTRY_KEY && tag !== ENTRY_VALUE) {
        at = skipField(frames, at)
        continue
      }
      const length = varint(frames, at + 1)
      at = ended + length
      if (tag === ENTRY_KEY) {
        keyStart = ended
        keyEnd = at
      } else {
        valueStart = ended
        valueEnd = at
      }
    }
    const names = this.#attributes
    for (let i = 0; i < names.length; i++) {
      if (names[i].length !== keyEnd - keyStart || !same(names[i], frames, keyStart)) continue
      this.#starts[FIELD_ATTRIBUTES + i] = valueStart
      this.#ends[FIELD_ATTRIBUTES + i] = valueEnd
    }
  }
}

/**
 * Whole milliseconds of nanoseconds given as two halves. As 2^32 = 4294 * 10^6 + 967296, this is exact in doubles:
 * the sum stays below 2^53, and rounding the quotient never lifts it over the next whole number.
 */
function milliseconds(low: number, high: number): number {
  return high * 4294 + Math.floor((high * 967296 + low) / 1e6)
}

/** The varint at `at`, of at most 32 bits that count; `ended` is set to its end. */
function varint(bytes: Uint8Array, at: number): number {
  let byte = bytes[at++]
  let n = byte & 127
  for (let shift = 7; byte > 127; shift += 7) {
    byte = bytes[at++]
    if (shift < 32) n |= (byte & 127) << shift
  }
  ended = at
  return n >>> 0
}

/** The end of the field that starts at `at`, whatever it is. */
function skipField(bytes: Uint8Array, at: number): number {
  const tag = varint(bytes, at)
  switch (tag & 7) {
    case 0:
      varint(bytes, ended)
      return ended
    case 1:
      return ended + 8
    case 2: {
      const length = varint(bytes, ended)
      return ended + length
    }
    case 5:
      return ended + 4
    default: {
      // A group: its fields, up to the end of the same group.
      let inside = ended
      while ((bytes[inside] & 7) !== 4) inside = skipField(bytes, inside)
      varint(bytes, inside)
      return ended
    }
  }
}
