// Events to frames. What a listener would refuse is refused here, before it shares a body with events of others.

import { type Instant, timeOfDate, timeOfNanoseconds } from '../frame/instant.ts'
import { parseTime } from '../frame/rfc3339.ts'
import {
  ATTRIBUTE_NAME_TAG,
  ATTRIBUTE_VALUE_TAG,
  ATTRIBUTES_TAG,
  DATA_TAG,
  DATACONTENTTYPE_TAG,
  EVENT_TAG,
  ID_TAG,
  SOURCE_TAG,
  SUBJECT_TAG,
  TIME_UNIX_NANO_TAG,
  TYPE_TAG,
  VALUE_TAG,
} from '../frame/tags.ts'
import { FrameWriter } from '../frame/writer.ts'
import { ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_PER_EVENT_MAX, STRING_BYTES_MAX } from '../limits.ts'
import type { Event } from './event.ts'

/** An event whose time may also have been worked out already. */
export type TimedEvent = Omit<Event, 'time'> & { time?: Event['time'] | Instant }

/** Fills one frame after another. */
export class EventEncoder {
  readonly #out = new FrameWriter()
  #width = 1
  #attributeWidth = 1
  #events = 0

  constructor() {
    this.#out.reset()
  }

  get events(): number {
    return this.#events
  }

  get bytes(): number {
    return this.#out.length
  }

  /** The frame so far, as a copy; the next event begins a new one. */
  take(): Buffer {
    const frame = Buffer.from(this.#out.frame())
    this.#out.reset()
    this.#events = 0
    return frame
  }

  /**
   * Adds an event where the frame then has `bytesMax` bytes at most; otherwise the answer is false and nothing was
   * added. Throws Error with what is wrong with the event: that, too, adds nothing.
   */
  add(event: TimedEvent, bytesMax = Number.POSITIVE_INFINITY): boolean {
    const before = this.#out.length
    try {
      this.#write(event)
    } catch (error) {
      this.#out.cut(before)
      throw error
    }
    if (this.#out.length > bytesMax) {
      this.#out.cut(before)
      return false
    }
    this.#events++
    return true
  }

  /** The bytes that an event would take in a frame. Throws as `add` does, and adds nothing. */
  measure(event: TimedEvent): number {
    const before = this.#out.length
    try {
      this.#write(event)
      return this.#out.length - before
    } finally {
      this.#out.cut(before)
    }
  }

  #write(event: TimedEvent): void {
    const out = this.#out
    if (typeof event !== 'object' || event === null) throw new TypeError(`an event must be an object`)
    const start = out.begin(EVENT_TAG, this.#width)
    let hasSource = false
    let hasType = false
    for (const name in event) {
      switch (name as keyof Event) {
        case 'id':
          this.#string(ID_TAG, name, event.id)
          break
        case 'source':
          hasSource = this.#string(SOURCE_TAG, name, event.source)
          break
        case 'type':
          hasType = this.#string(TYPE_TAG, name, event.type)
          break
        case 'subject':
          this.#string(SUBJECT_TAG, name, event.subject)
          break
        case 'time':
          if (event.time !== undefined) this.#time(event.time)
          break
        case 'value':
          if (event.value !== undefined) out.double(VALUE_TAG, finite(event.value))
          break
        case 'data':
          if (event.data !== undefined) this.#data(event.data, event.datacontenttype === undefined)
          break
        case 'datacontenttype':
          this.#string(DATACONTENTTYPE_TAG, name, event.datacontenttype)
          break
        case 'attributes':
          if (event.attributes !== undefined) this.#attributes(event.attributes)
          break
        default:
          throw new TypeError(`${name} is no field of an event: what is beyond them belongs into attributes`)
      }
    }
    if (!hasSource) throw new TypeError('source is missing')
    if (!hasType) throw new TypeError('type is missing')
    this.#width = out.end(start, this.#width)
  }

  /** False where the string is absent or empty, which is the same on the wire. */
  #string(tag: number, name: string, value: unknown): boolean {
    if (value === undefined || value === '') return false
    if (typeof value !== 'string') throw new TypeError(`${name} must be a string, not ${kindOf(value)}`)
    // A character is never less than a byte, so what is clearly too long is not written first.
    const size = value.length > STRING_BYTES_MAX ? value.length : this.#out.string(tag, value)
    if (size > STRING_BYTES_MAX) throw tooLong(name, value, STRING_BYTES_MAX)
    return true
  }

  #time(time: NonNullable<TimedEvent['time']>): void {
    const { seconds, nanos } = instantOf(time)
    if (!(seconds < 2 ** 38) || !this.#out.nanoseconds(TIME_UNIX_NANO_TAG, seconds, nanos)) {
      throw new RangeError('time is after 2554-07-21T23:34:33.709551615Z, the last that fits')
    }
  }

  #data(data: unknown, untyped: boolean): void {
    const out = this.#out
    if (data instanceof Uint8Array) {
      out.bytes(DATA_TAG, data)
      return
    }
    const isText = typeof data === 'string'
    const text = isText ? data : JSON.stringify(data)
    if (typeof text !== 'string')
      throw new TypeError(`data must be bytes, a string or JSON, not a ${typeof data}`)
    out.string(DATA_TAG, text)
    if (untyped) out.string(DATACONTENTTYPE_TAG, isText ? 'text/plain' : 'application/json')
  }

  #attributes(attributes: Record<string, string>): void {
    const out = this.#out
    let count = 0
    for (const name in attributes) {
      const value = attributes[name]
      if (++count > ATTRIBUTES_PER_EVENT_MAX) {
        throw new RangeError(`attributes has more than ${ATTRIBUTES_PER_EVENT_MAX} entries`)
      }
      const entry = out.begin(ATTRIBUTES_TAG, this.#attributeWidth)
      const size = name.length > ATTRIBUTE_NAME_BYTES_MAX ? name.length : out.string(ATTRIBUTE_NAME_TAG, name)
      if (size > ATTRIBUTE_NAME_BYTES_MAX) {
        throw tooLong(`the attribute name ${name.slice(0, 40)}`, name, ATTRIBUTE_NAME_BYTES_MAX)
      }
      if (value === undefined) throw new TypeError(`attributes.${name} must be a string, not undefined`)
      this.#string(ATTRIBUTE_VALUE_TAG, `attributes.${name}`, value)
      this.#attributeWidth = out.end(entry, this.#attributeWidth)
    }
  }
}

function instantOf(time: NonNullable<TimedEvent['time']>): Instant {
  if (typeof time === 'string') return parseTime(time)
  if (typeof time === 'bigint') return timeOfNanoseconds(time)
  if (time instanceof Date) return timeOfDate(time)
  if (typeof time === 'object' && typeof time.seconds === 'number') return time
  throw new TypeError(`time must be a Date, a bigint of nanoseconds or RFC 3339, not ${kindOf(time)}`)
}

function finite(value: unknown): number {
  if (typeof value !== 'number') throw new TypeError(`value must be a number, not ${kindOf(value)}`)
  if (!Number.isFinite(value)) throw new RangeError('value is not a finite number')
  return value
}

function tooLong(name: string, value: string, most: number): RangeError {
  return new RangeError(`${name} is ${Buffer.byteLength(value)} bytes, ${most} at most`)
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
