// One parsed JSON value to one event of a frame, by the names of protobuf JSON (and those of the .proto), with
// `time` as RFC 3339 besides. As in protobuf JSON, null is absent, bytes are base64 of either alphabet, and
// numbers may be strings. Half a surrogate pair is refused, since UTF-8 cannot hold it.

import { nearest } from '../config/nearest.ts'
import { Problem } from '../errors.ts'
import { ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_PER_EVENT_MAX, STRING_BYTES_MAX } from '../limits.ts'
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
} from '../log/event.ts'
import type { FrameWriter } from './frame-writer.ts'
import { parseTime } from './rfc3339.ts'

export const names = [
  'id',
  'source',
  'type',
  'subject',
  'time',
  'timeUnixNano',
  'value',
  'data',
  'datacontenttype',
  'attributes',
]
/** The names of the one field that may be a number past 2^53, where JSON.parse rounds. */
export const nanosecondNames = ['timeUnixNano', 'time_unix_nano']

const loneSurrogate = /\p{Surrogate}/u
const notBase64 = /[^A-Za-z0-9+/_-]/
const wholeNumber = /^[0-9]{1,20}$/
export const jsonNumber = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/

/**
 * Adds one event to the frame. `width`: the guess for the bytes of its length, of which the better one is
 * returned; `digitsOf`: called with `number` for the source of a nanosecond number that JSON.parse has rounded.
 * Throws a Problem `malformed` that names the field but not the event; the frame is then not to be used.
 */
export function writeEvent(
  out: FrameWriter,
  value: unknown,
  width: number,
  digitsOf: (number: number) => string | undefined,
  number: number,
): number {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal(`an event must be an object, not ${kindOf(value)}`)
  }
  const event = value as Record<string, unknown>
  const start = out.begin(EVENT_TAG, width)
  let hasSource = false
  let hasType = false
  let timeName = ''
  for (const name in event) {
    const field = event[name]
    switch (name) {
      case 'id':
        writeString(out, ID_TAG, name, field)
        break
      case 'source':
        hasSource = writeString(out, SOURCE_TAG, name, field)
        break
      case 'type':
        hasType = writeString(out, TYPE_TAG, name, field)
        break
      case 'subject':
        writeString(out, SUBJECT_TAG, name, field)
        break
      case 'time':
      case 'timeUnixNano':
      case 'time_unix_nano':
        if (field === null) break
        if (timeName !== '') throw refusal(`${timeName} and ${name} are the same field: send one of them`)
        timeName = name
        if (name === 'time') writeTime(out, field)
        else writeNanoseconds(out, name, field, sourceOf(field, digitsOf, number))
        break
      case 'value':
        if (field !== null) out.double(VALUE_TAG, finite(field))
        break
      case 'data':
        if (field !== null) writeData(out, field)
        break
      case 'datacontenttype':
        writeString(out, DATACONTENTTYPE_TAG, name, field)
        break
      case 'attributes':
        if (field !== null) writeAttributes(out, field)
        break
      default:
        throw unknownName(name)
    }
  }
  if (!hasSource) throw refusal('source is missing')
  if (!hasType) throw refusal('type is missing')
  return out.end(start, width)
}

/** False where the string is absent or empty, which is the same on the wire. */
function writeString(out: FrameWriter, tag: number, name: string, value: unknown): boolean {
  if (value === null || value === '') return false
  if (typeof value !== 'string') throw refusal(`${name} must be a string, not ${kindOf(value)}`)
  // A character is never less than a byte, so what is clearly too long is not written first.
  if (value.length > STRING_BYTES_MAX) throw tooLong(name, value, STRING_BYTES_MAX)
  const size = out.string(tag, value)
  if (size !== value.length) checkUnicode(name, value, size, STRING_BYTES_MAX)
  return true
}

function writeAttributes(out: FrameWriter, attributes: unknown): void {
  if (typeof attributes !== 'object' || Array.isArray(attributes)) {
    throw refusal(`attributes must be an object of strings, not ${kindOf(attributes)}`)
  }
  let count = 0
  let width = 1
  for (const name in attributes) {
    if (++count > ATTRIBUTES_PER_EVENT_MAX) {
      throw refusal(`attributes has more than ${ATTRIBUTES_PER_EVENT_MAX} entries`)
    }
    const start = out.begin(ATTRIBUTES_TAG, width)
    if (name.length > ATTRIBUTE_NAME_BYTES_MAX) {
      throw tooLong(`the attribute name ${shown(name)}`, name, ATTRIBUTE_NAME_BYTES_MAX)
    }
    const size = out.string(ATTRIBUTE_NAME_TAG, name)
    if (size !== name.length) {
      checkUnicode(`the attribute name ${shown(name)}`, name, size, ATTRIBUTE_NAME_BYTES_MAX)
    }
    const value = (attributes as Record<string, unknown>)[name]
    // Unlike a field, an attribute cannot be null: protobuf JSON has no such value in a map.
    if (value === null) throw refusal(`attributes.${name} must be a string, not null`)
    if (value !== '') writeString(out, ATTRIBUTE_VALUE_TAG, `attributes.${name}`, value)
    width = out.end(start, width)
  }
}

export function writeTime(out: FrameWriter, time: unknown): void {
  if (typeof time !== 'string') {
    throw refusal(`time must be a string as in RFC 3339, not ${kindOf(time)}; timeUnixNano takes nanoseconds`)
  }
  const { seconds, nanos } = parseTime(time)
  if (!out.nanoseconds(TIME_UNIX_NANO_TAG, seconds, nanos)) {
    throw refusal(`time ${time} is after 2554-07-21T23:34:33.709551615Z, the last that fits`)
  }
}

/** Takes digits as a string, or a number without a fraction. 0 stands for the time of receipt. */
function writeNanoseconds(out: FrameWriter, name: string, value: unknown, source: string | undefined): void {
  const digits = source ?? (typeof value === 'number' ? String(value) : value)
  if (typeof digits !== 'string' || !wholeNumber.test(digits)) {
    throw refusal(`${name} must be a whole number from 0 to 2^64 - 1, as a string or a number`)
  }
  const seconds = Number(digits.slice(0, -9))
  const nanos = Number(digits.slice(-9))
  if (!out.nanoseconds(TIME_UNIX_NANO_TAG, seconds, nanos)) throw refusal(`${name} is past 2^64 - 1`)
}

/** The digits of a number as the client wrote them, where JSON.parse may have rounded it and they are plain. */
function sourceOf(
  value: unknown,
  digitsOf: (number: number) => string | undefined,
  number: number,
): string | undefined {
  if (typeof value !== 'number' || value <= Number.MAX_SAFE_INTEGER) return undefined
  const digits = digitsOf(number)
  return digits !== undefined && wholeNumber.test(digits) ? digits : undefined
}

function finite(value: unknown): number {
  if (typeof value === 'string' && !jsonNumber.test(value)) {
    if (/^(?:NaN|-?Infinity)$/.test(value)) throw refusal('value is not a finite number')
    throw refusal(`value must be a number, not the string ${shown(value)}`)
  }
  if (typeof value !== 'number' && typeof value !== 'string') {
    throw refusal(`value must be a number, not ${kindOf(value)}`)
  }
  const number = Number(value)
  if (!Number.isFinite(number)) throw refusal('value is not a finite number: it is past 1.8e308')
  return number
}

export function writeData(out: FrameWriter, data: unknown, name = 'data'): void {
  if (typeof data !== 'string') throw refusal(`${name} must be a string of base64, not ${kindOf(data)}`)
  if (data === '') return
  const padding = data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0
  const length = data.length - padding
  if (length % 4 === 1 || (padding > 0 && data.length % 4 !== 0)) {
    throw refusal(`${name} is not base64: ${data.length} characters are not a whole number of bytes`)
  }
  const bad = data.search(notBase64)
  if (bad >= 0 && bad < length) {
    throw refusal(`${name} is not base64: ${shown(data[bad])} stands at character ${bad + 1}`)
  }
  out.base64(DATA_TAG, data, length)
}

/** For strings that are not ASCII; `size` in bytes of UTF-8. */
export function checkUnicode(what: string, value: string, size: number, most: number): void {
  if (size > most) throw tooLong(what, value, most)
  if (loneSurrogate.test(value))
    throw refusal(`${what} has half of a surrogate pair, which is not a character`)
}

export function tooLong(what: string, value: string, most: number): Problem {
  return refusal(`${what} is ${Buffer.byteLength(value)} bytes, ${most} at most`)
}

export function refusal(what: string): Problem {
  return new Problem('malformed', what)
}

function unknownName(name: string): Problem {
  const near = nearest(name, names)
  return refusal(`unknown name ${shown(name)}${near === undefined ? '' : `, did you mean ${near}?`}`)
}

/** What a client sent, quoted and short. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
}

export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
