// CloudEvents 1.0 in JSON to a frame: structured mode (one event) and batched mode (an array of them).
// (https://github.com/cloudevents/spec: spec.md, formats/json-format.md, bindings/http-protocol-binding.md, v1.0.2)
//
// What has a field in the frame goes there; `dataschema` and extension attributes go to `attributes`. `value` is the
// extension attribute that measures aggregate: docs/cloudevents.md says how it and everything else comes back.

import { Problem } from '../errors.ts'
import * as tags from '../frame/tags.ts'
import { FrameWriter } from '../frame/writer.ts'
import {
  ATTRIBUTE_NAME_BYTES_MAX,
  ATTRIBUTES_PER_EVENT_MAX,
  EVENTS_PER_BODY_MAX,
  STRING_BYTES_MAX,
} from '../limits.ts'
import { FORM_BYTES, FORM_JSON, FORM_TEXT, formOf } from './cloudevents-data.ts'
import { jsonNumber, kindOf, refusal, shown, tooLong, writeData, writeTime } from './event-json.ts'
import { notJson, sourcesOf, textOf } from './json-text.ts'

const out = new FrameWriter()

const attributeName = /^[a-z0-9]+$/
const disallowed = /[\p{Cc}\p{Noncharacter_Code_Point}\p{Surrogate}]/u
/** Numbers that a double may not hold exactly: those with many digits, and those with large exponents. */
const inexact = /[0-9][0-9.]{15}|[0-9][eE][+-]?[0-9]{3}/
const loneSurrogate = /\p{Surrogate}/u

/**
 * The frame that the body stands for, and how many events are in it: none where a batch is empty. The frame is a view
 * that holds until the next call. Throws a Problem `malformed` that names the event (from 1) and the attribute, or line
 * and column where the body is not JSON.
 */
export function cloudEventsToFrame(
  body: Uint8Array,
  batched: boolean,
): { frame: Uint8Array; events: number } {
  const text = textOf(body)
  const value = parse(text)
  if (Array.isArray(value) !== batched) throw wrongMode(value, batched)
  const events = batched ? (value as unknown[]) : [value]
  if (events.length > EVENTS_PER_BODY_MAX) {
    throw refusal(`the batch has ${events.length} events, ${EVENTS_PER_BODY_MAX} at most`)
  }
  const sources = dataSources(text)
  let width = 1
  let index = 0
  out.reset()
  try {
    for (; index < events.length; index++) width = writeCloudEvent(events[index], width, () => sources(index))
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const place = `event ${index + 1}`
    throw new Problem(error.code, `${place}: ${error.message}`, { logged: place })
  }
  return { frame: out.frame(), events: events.length }
}

/**
 * The frame of an event in binary mode: its attributes by name, as the headers have them, and the body, which is its
 * data. The frame holds until the next call. Throws a Problem `malformed` that names the header.
 */
export function binaryToFrame(attributes: BinaryAttributes, body: Uint8Array): Uint8Array {
  out.reset()
  const start = out.begin(tags.EVENT_TAG, 1)
  const writer = new AttributeWriter('ce-')
  for (const [name, value] of attributes.named) writer.write(name, value)
  if (attributes.datacontenttype !== '') {
    writer.core('content-type', tags.DATACONTENTTYPE_TAG, attributes.datacontenttype)
  }
  writer.check()
  if (body.length > 0) out.bytes(tags.DATA_TAG, body)
  out.end(start, 1)
  return out.frame()
}

export interface BinaryAttributes {
  named: Map<string, string>
  /** Empty for none. */
  datacontenttype: string
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw notJson(text, 1, error)
  }
}

function wrongMode(value: unknown, batched: boolean): Problem {
  const other = batched ? 'application/cloudevents+json' : 'application/cloudevents-batch+json'
  const wanted = batched ? 'an array of events' : 'one event'
  const hint =
    batched === Array.isArray(value) || kindOf(value).startsWith('a ') ? '' : `; ${other} is the other one`
  return refusal(`the body is ${kindOf(value)}, and this content type stands for ${wanted}${hint}`)
}

/** The text of an event's `data` as the client wrote it, or undefined where the parsed value says the same. */
function dataSources(text: string): (index: number) => string | undefined {
  let sources: (string | undefined)[] | undefined
  const exact = !inexact.test(text)
  return (index) => {
    if (exact) return undefined
    sources ??= sourcesOf(text, 'data')
    return sources[index]
  }
}

function writeCloudEvent(value: unknown, width: number, sourceOf: () => string | undefined): number {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal(`an event must be an object, not ${kindOf(value)}`)
  }
  const event = value as Record<string, unknown>
  const start = out.begin(tags.EVENT_TAG, width)
  const writer = new AttributeWriter('')
  let base64: unknown = null
  for (const name in event) {
    const member = event[name]
    if (name === 'data_base64') base64 = member
    else if (name !== 'data' && member !== null) writer.write(name, member) // null is the same as unset
  }
  writer.check()
  const hasData = Object.hasOwn(event, 'data')
  if (hasData && base64 !== null)
    throw refusal('data and data_base64 are both there: an event has one of them')
  if (hasData) writeValue(event.data, writer.datacontenttype, sourceOf)
  else if (base64 !== null) {
    writeData(out, base64, 'data_base64')
    note(FORM_BYTES, writer.datacontenttype, base64 === '')
  }
  return out.end(start, width)
}

/** The member `data`, whatever its type: of JSON the text, of other content the string. */
function writeValue(data: unknown, datacontenttype: string, sourceOf: () => string | undefined): void {
  if (typeof data === 'string' && formOf(datacontenttype) !== FORM_JSON && !loneSurrogate.test(data)) {
    if (data !== '') out.string(tags.DATA_TAG, data)
    note(FORM_TEXT, datacontenttype, data === '')
    return
  }
  const text = sourceOf() ?? compact(data)
  out.string(tags.DATA_TAG, text)
  note(FORM_JSON, datacontenttype, false)
}

function compact(data: unknown): string {
  try {
    return JSON.stringify(data)
  } catch {
    throw refusal('data is nested too deep') // the only thing that JSON.parse reads and this cannot write
  }
}

/** Notes how data was said where its type does not say it. */
function note(form: number, datacontenttype: string, empty: boolean): void {
  if (empty || form !== formOf(datacontenttype)) out.number(tags.DATA_FORM_TAG, form)
}

/** Writes the attributes of one event. `prefix`: what stands before a name where the client said it. */
class AttributeWriter {
  datacontenttype = ''
  readonly #prefix: string
  #version: unknown
  #hasId = false
  #hasSource = false
  #hasType = false
  #attributes = 0

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  write(name: string, value: unknown): void {
    switch (name) {
      case 'specversion':
        this.#version = value
        break
      case 'id':
        this.core(this.#prefix + name, tags.ID_TAG, value)
        this.#hasId = true
        break
      case 'source':
        this.core(this.#prefix + name, tags.SOURCE_TAG, value)
        this.#hasSource = true
        break
      case 'type':
        this.core(this.#prefix + name, tags.TYPE_TAG, value)
        this.#hasType = true
        break
      case 'subject':
        this.core(this.#prefix + name, tags.SUBJECT_TAG, value)
        break
      case 'datacontenttype':
        this.core(this.#prefix + name, tags.DATACONTENTTYPE_TAG, value)
        this.datacontenttype = value as string
        break
      case 'time':
        writeTime(out, value)
        break
      case 'dataschema':
        if (value === '') throw refusal(`${this.#prefix}dataschema must not be empty`)
        if (typeof value !== 'string') {
          throw refusal(`${this.#prefix}dataschema must be a string, not ${kindOf(value)}`)
        }
        this.#attribute(name, value, 0)
        break
      case 'value':
        this.#value(value)
        break
      default:
        this.#extension(name, value)
    }
  }

  /** Throws where a required attribute is missing. */
  check(): void {
    const prefix = this.#prefix
    const version = this.#version
    if (version === undefined) throw refusal(`${prefix}specversion is missing`)
    if (version !== '1.0') {
      const given = typeof version === 'string' ? shown(version) : kindOf(version)
      throw refusal(`${prefix}specversion is ${given}: "1.0" is understood`)
    }
    if (!this.#hasId) throw refusal(`${prefix}id is missing`)
    if (!this.#hasSource) throw refusal(`${prefix}source is missing`)
    if (!this.#hasType) throw refusal(`${prefix}type is missing`)
  }

  /** One that has a field, and must not be empty. */
  core(name: string, tag: number, value: unknown): void {
    if (typeof value !== 'string') throw refusal(`${name} must be a string, not ${kindOf(value)}`)
    if (value === '') throw refusal(`${name} must not be empty`)
    writeText(tag, name, value)
  }

  /** The number that measures aggregate. One that would come back in another spelling is kept as it was, too. */
  #value(value: unknown): void {
    const isText = typeof value === 'string'
    if (typeof value !== 'number' && !(isText && jsonNumber.test(value))) {
      this.#extension('value', value)
      return
    }
    const number = Number(value)
    if (!Number.isFinite(number))
      throw refusal(`${this.#prefix}value is not a finite number: it is past 1.8e308`)
    out.double(tags.VALUE_TAG, number)
    if (isText && (Number.isSafeInteger(number) || String(number) !== value))
      this.#attribute('value', value, 0)
  }

  #extension(name: string, value: unknown): void {
    if (!attributeName.test(name)) {
      throw refusal(`${shown(this.#prefix + name)} is no attribute: names have a to z and 0 to 9 only`)
    }
    if (name === 'data') throw refusal(`${this.#prefix}data is no attribute: the body is the data`)
    if (typeof value === 'string') this.#attribute(name, value, 0)
    else if (typeof value === 'boolean') this.#attribute(name, String(value), tags.KIND_BOOLEAN)
    else if (Number.isSafeInteger(value)) this.#attribute(name, String(value), tags.KIND_INTEGER)
    else {
      const given = typeof value === 'number' ? String(value) : kindOf(value)
      throw refusal(`${name} must be a string, a boolean or a whole number, not ${given}`)
    }
  }

  #attribute(name: string, value: string, kind: number): void {
    if (++this.#attributes > ATTRIBUTES_PER_EVENT_MAX) {
      throw refusal(`the event has more than ${ATTRIBUTES_PER_EVENT_MAX} extension attributes`)
    }
    if (name.length > ATTRIBUTE_NAME_BYTES_MAX) {
      throw tooLong(`the attribute name ${shown(name)}`, name, ATTRIBUTE_NAME_BYTES_MAX)
    }
    const start = out.begin(tags.ATTRIBUTES_TAG, 1)
    out.string(tags.ATTRIBUTE_NAME_TAG, name)
    if (value !== '') writeText(tags.ATTRIBUTE_VALUE_TAG, this.#prefix + name, value)
    if (kind !== 0) out.number(tags.ATTRIBUTE_KIND_TAG, kind)
    out.end(start, 1)
  }
}

/** A string with the characters that CloudEvents allow. */
function writeText(tag: number, name: string, value: string): void {
  if (value.length > STRING_BYTES_MAX) throw tooLong(name, value, STRING_BYTES_MAX)
  const bad = disallowed.exec(value)
  if (bad !== null) {
    const code = bad[0].codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')
    throw refusal(`${name} has the character U+${code}, which CloudEvents do not allow`)
  }
  const size = out.string(tag, value)
  if (size > STRING_BYTES_MAX) throw tooLong(name, value, STRING_BYTES_MAX)
}
