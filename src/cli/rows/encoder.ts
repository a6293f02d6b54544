// Rows of a table to events of a frame.

import { FrameWriter } from '../../ingest/frame-writer.ts'
import {
  ATTRIBUTE_NAME_TAG,
  ATTRIBUTE_VALUE_TAG,
  ATTRIBUTES_TAG,
  EVENT_TAG,
  ID_TAG,
  SOURCE_TAG,
  SUBJECT_TAG,
  TIME_UNIX_NANO_TAG,
  TYPE_TAG,
  VALUE_TAG,
} from '../../log/event.ts'
import { type Instant, type TimeUnit, timeOf, timeOfDate, timeOfNanoseconds } from './time.ts'

/** Which columns make which fields; type and source are the same for all rows. */
export interface Mapping {
  type: string
  source: string
  id?: string | undefined
  subject?: string | undefined
  time?: string | undefined
  value?: string | undefined
  /** Names of attributes, and of their columns. */
  attributes: { name: string; column: string }[]
  timeUnit?: TimeUnit | undefined
}

/** The columns in the order in which RowEncoder.add takes their values. */
export function columnsOf({ id, subject, time, value, attributes }: Mapping): (string | undefined)[] {
  return [id, subject, time, value, ...attributes.map(({ column }) => column)]
}

/** A value as a file has it: a timestamp in nanoseconds is wrapped, since a bigint can be any number. */
export class Timestamp {
  readonly nanoseconds: bigint
  constructor(nanoseconds: bigint) {
    this.nanoseconds = nanoseconds
  }
}

const decimal = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/

/** Fills one frame after another. What is empty or null is left out of the event. */
export class RowEncoder {
  readonly #mapping: Mapping
  readonly #out = new FrameWriter()
  #width = 1
  #attributeWidth = 1
  #lastTime: unknown
  #lastInstant: Instant = { seconds: 0, nanos: 0 }
  events = 0

  constructor(mapping: Mapping) {
    this.#mapping = mapping
    this.#out.reset()
  }

  get bytes(): number {
    return this.#out.frame().length
  }

  /** The frame so far, as a copy; the next row begins a new one. */
  take(): Buffer {
    const frame = Buffer.from(this.#out.frame())
    this.#out.reset()
    this.events = 0
    return frame
  }

  /** Adds a row, its values in the order of `columnsOf`. Throws Error with what is wrong; the frame is then spoilt. */
  add(values: readonly unknown[]): void {
    const out = this.#out
    const { type, source, attributes, time, value } = this.#mapping
    const start = out.begin(EVENT_TAG, this.#width)
    const id = textOf(values[0])
    if (id !== '') out.string(ID_TAG, id)
    out.string(SOURCE_TAG, source)
    out.string(TYPE_TAG, type)
    const subject = textOf(values[1])
    if (subject !== '') out.string(SUBJECT_TAG, subject)
    if (time !== undefined && !isEmpty(values[2])) {
      const { seconds, nanos } = this.#instant(values[2])
      if (!out.nanoseconds(TIME_UNIX_NANO_TAG, seconds, nanos))
        throw new RangeError('time is after the year 2554')
    }
    if (value !== undefined && !isEmpty(values[3])) out.double(VALUE_TAG, numberOf(values[3], value))
    for (let i = 0; i < attributes.length; i++) {
      const text = textOf(values[4 + i])
      if (text === '') continue
      const entry = out.begin(ATTRIBUTES_TAG, this.#attributeWidth)
      out.string(ATTRIBUTE_NAME_TAG, attributes[i].name)
      out.string(ATTRIBUTE_VALUE_TAG, text)
      this.#attributeWidth = out.end(entry, this.#attributeWidth)
    }
    this.#width = out.end(start, this.#width)
    this.events++
  }

  /** Rows that follow each other often have the same time. */
  #instant(value: unknown): Instant {
    if (value === this.#lastTime) return this.#lastInstant
    const instant =
      value instanceof Timestamp
        ? timeOfNanoseconds(value.nanoseconds)
        : value instanceof Date
          ? timeOfDate(value)
          : timeOf(textOf(value), this.#mapping.timeUnit)
    this.#lastTime = value
    this.#lastInstant = instant
    return instant
  }
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    (typeof value === 'string' && value.trim() === '')
  )
}

function numberOf(value: unknown, column: string): number {
  const number =
    typeof value === 'number'
      ? value
      : typeof value === 'string' && !decimal.test(value.trim())
        ? Number.NaN
        : Number(value)
  if (typeof value === 'object' || !Number.isFinite(number)) {
    throw new RangeError(
      `column ${column}: ${JSON.stringify(textOf(value).slice(0, 60))} is not a finite number`,
    )
  }
  return number
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (value instanceof Timestamp) return new Date(Number(value.nanoseconds / 1_000_000n)).toISOString()
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'object' ? JSON.stringify(value, bigints) : String(value)
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
