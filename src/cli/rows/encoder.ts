// Rows of a table to events of a frame.

import { EventEncoder, type TimedEvent } from '../../client/encoder.ts'
import { type Instant, timeOfDate, timeOfNanoseconds } from '../../frame/instant.ts'
import { type TimeUnit, timeOf } from './time.ts'

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
  readonly #out = new EventEncoder()
  #lastTime: unknown
  #lastInstant: Instant = { seconds: 0, nanos: 0 }

  constructor(mapping: Mapping) {
    this.#mapping = mapping
  }

  get events(): number {
    return this.#out.events
  }

  get bytes(): number {
    return this.#out.bytes
  }

  /** The frame so far, as a copy; the next row begins a new one. */
  take(): Buffer {
    return this.#out.take()
  }

  /** Adds a row, its values in the order of `columnsOf`. Throws Error with what is wrong. */
  add(values: readonly unknown[]): void {
    const { type, source, attributes, time, value } = this.#mapping
    const event: TimedEvent = { id: textOf(values[0]), source, type, subject: textOf(values[1]) }
    if (time !== undefined && !isEmpty(values[2])) event.time = this.#instant(values[2])
    if (value !== undefined && !isEmpty(values[3])) event.value = numberOf(values[3], value)
    if (attributes.length > 0) {
      event.attributes = {}
      for (let i = 0; i < attributes.length; i++) {
        const text = textOf(values[4 + i])
        if (text !== '') event.attributes[attributes[i].name] = text
      }
    }
    this.#out.add(event)
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
