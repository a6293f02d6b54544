// Folds the bytes of events into aggregates: no object and no string is made for an event.
//
// An event's fields are walked once, noting where the wanted ones stand; then each measure makes its key from them
// and finds its row. Frames were checked before they were acknowledged, so nothing is checked here.

import type { Measure } from '../config/config.ts'
import {
  ATTRIBUTE_NAME_TAG,
  ATTRIBUTE_VALUE_TAG,
  ATTRIBUTES_TAG,
  EVENT_TAG,
  SOURCE_TAG,
  SUBJECT_TAG,
  TIME_UNIX_NANO_TAG,
  TYPE_TAG,
  VALUE_TAG,
} from '../log/event.ts'
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

// Numbers kept for each measure's last window.
const WINDOW_NUMBERS = 3
const FROM = 0
const TO = 1
const START = 2
/** Nanoseconds by which a time and a bound of a window, as doubles, are off together, and more. */
const ROUNDED_MAX = 4096

/** Where the last varint ended. */
let ended = 0

export class Fold {
  readonly #measures: CompiledMeasure[]
  readonly #attributes: Uint8Array[]
  /** Where each field stands in the event at hand; both 0 where it has none. */
  readonly #starts: Int32Array
  readonly #ends: Int32Array
  /** For each measure its last window: from and to in rounded nanoseconds, safely inside; start in milliseconds. */
  readonly #windows: Float64Array
  /** Of the run at hand. Doubles are passed in arrays: as arguments of a call they would be put on the heap. */
  readonly #receivedAt = new Float64Array(1)
  readonly #table: Aggregates

  constructor(measures: readonly Measure[]) {
    const compiled = compile(measures)
    this.#measures = compiled.measures
    this.#attributes = compiled.attributes
    this.#windows = new Float64Array(compiled.measures.length * WINDOW_NUMBERS)
    this.#starts = new Int32Array(FIELD_ATTRIBUTES + compiled.attributes.length)
    this.#ends = new Int32Array(FIELD_ATTRIBUTES + compiled.attributes.length)
    this.#table = new Aggregates(this.#starts, this.#ends, this.#windows)
  }

  /**
   * Folds frames laid end to end. `runs`: pairs of where a run ends in them and its time of receipt in Unix
   * milliseconds, which is the time of its events that carry none. The delta is the caller's.
   *
   * Measured on one shared core, 41-byte events, 10,000 a task, 1000 keys, in millions of events a second: one measure
   * by subject 13.2, with quantiles 9.4, by subject and type 11.6, by subject and an attribute 12.6 (8.1 where the
   * events carry attributes), three measures 6.4; walking the fields alone 31.
   */
  task(frames: Uint8Array, runs: ArrayLike<number>): ArrayBuffer {
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
    this.#table.begin(view)
    let events = 0
    let at = 0
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run]
      this.#receivedAt[0] = runs[run + 1]
      while (at < end) {
        const tag = varint(frames, at)
        at = ended
        if (tag !== EVENT_TAG) {
          at = skip(frames, at, tag)
          continue
        }
        const length = varint(frames, at)
        at = ended
        this.#fold(frames, view, at, at + length)
        at += length
        events++
      }
    }
    return this.#table.take(events)
  }

  /** One event: frames[from, end). */
  #fold(frames: Uint8Array, view: DataView, from: number, end: number): void {
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
      let tag = frames[at++]
      if (tag > 127) {
        tag = varint(frames, at - 1)
        at = ended
      }
      if (tag === VALUE_TAG) {
        valueAt = at
        at += 8
        continue
      }
      if (tag === TIME_UNIX_NANO_TAG) {
        timeAt = at
        at += 8
        continue
      }
      if ((tag & 7) !== 2) {
        at = skip(frames, at, tag)
        continue
      }
      let length = frames[at++]
      if (length > 127) {
        length = varint(frames, at - 1)
        at = ended
      }
      const fieldEnd = at + length
      if (tag === SUBJECT_TAG) {
        starts[FIELD_SUBJECT] = at
        ends[FIELD_SUBJECT] = fieldEnd
      } else if (tag === TYPE_TAG) {
        starts[FIELD_TYPE] = at
        ends[FIELD_TYPE] = fieldEnd
      } else if (tag === SOURCE_TAG) {
        starts[FIELD_SOURCE] = at
        ends[FIELD_SOURCE] = fieldEnd
      } else if (tag === ATTRIBUTES_TAG && this.#attributes.length > 0) this.#attribute(frames, at, fieldEnd)
      at = fieldEnd
    }

    let value = 0
    if (valueAt !== 0) {
      value = view.getFloat64(valueAt, true)
      if (Number.isNaN(value)) valueAt = 0
    }
    let low = 0
    let high = 0
    if (timeAt !== 0) {
      low = view.getUint32(timeAt, true)
      high = view.getUint32(timeAt + 4, true)
    }
    const nanos = (low | high) === 0 ? this.#receivedAt[0] * 1e6 : high * 4294967296 + low // rounded to 1024 at most

    const measures = this.#measures
    const table = this.#table
    const windows = this.#windows
    for (let i = 0; i < measures.length; i++) {
      const measure = measures[i]
      if (measure.numbers && valueAt === 0) continue
      if (measure.conditions.length > 0 && !this.#wanted(measure, frames)) continue
      const window = i * WINDOW_NUMBERS
      if (measure.windowMs !== 0 && !(nanos >= windows[window + FROM] && nanos < windows[window + TO])) {
        this.#window(i, low, high)
      }
      const row = table.row(measure, window + START)
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

  /** Notes the window of this time as the measure's last. */
  #window(measure: number, low: number, high: number): void {
    const { windowMs } = this.#measures[measure]
    const ms = (low | high) === 0 ? this.#receivedAt[0] : milliseconds(low, high)
    // ms and windowMs are whole and ms < 2^45, so rounding never lifts the quotient over the next whole number.
    const start = Math.floor(ms / windowMs) * windowMs
    const window = measure * WINDOW_NUMBERS
    this.#windows[window + FROM] = start * 1e6 + ROUNDED_MAX
    this.#windows[window + TO] = (start + windowMs) * 1e6 - ROUNDED_MAX
    this.#windows[window + START] = start
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
      const tag = varint(frames, at)
      at = ended
      if (tag !== ATTRIBUTE_NAME_TAG && tag !== ATTRIBUTE_VALUE_TAG) {
        at = skip(frames, at, tag)
        continue
      }
      const length = varint(frames, at)
      at = ended + length
      if (tag === ATTRIBUTE_NAME_TAG) {
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

/** The end of the field whose tag ends at `at`. */
function skip(bytes: Uint8Array, at: number, tag: number): number {
  switch (tag & 7) {
    case 0:
      varint(bytes, at)
      return ended
    case 1:
      return at + 8
    case 2: {
      const length = varint(bytes, at)
      return ended + length
    }
    case 5:
      return at + 4
    default:
      return skipGroup(bytes, at)
  }
}

/** The end of the group whose tag ends at `at`: its fields, up to its own end tag. */
function skipGroup(bytes: Uint8Array, at: number): number {
  for (let inside = at; ; ) {
    const tag = varint(bytes, inside)
    if ((tag & 7) === 4) return ended
    inside = skip(bytes, ended, tag)
  }
}
