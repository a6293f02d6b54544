// One event of a frame as a CloudEvent in JSON: the other direction of cloudevents.ts.
//
// Every event can be told so, also one that came as protobuf: what CloudEvents have no place for goes into extension
// attributes whose names begin with `millrace`. docs/cloudevents.md has the whole mapping.

import { isUtf8 } from 'node:buffer'
import * as tags from '../frame/tags.ts'
import { ended, skip, varint } from '../frame/wire.ts'
import { FORM_BYTES, FORM_JSON, FORM_TEXT, formOf } from './cloudevents-data.ts'

/** What is known of an event beside itself. */
export interface Receipt {
  /** Of the request or stream that brought it. */
  correlationId: string
  /** Unix milliseconds. */
  receivedAt: number
  /** Where it stands in the log: the id of an event that came without one, for CloudEvents must have one. */
  place: string
}

const attributeName = /^[a-z0-9]+$/
const integer = /^-?(?:0|[1-9][0-9]{0,15})$/
/** Names that stand for something else in the JSON format, so that no extension attribute can have them. */
const taken: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'subject',
  'time',
  'datacontenttype',
  'data',
])
const OWN = 'millrace'

interface Attribute {
  value: string
  kind: number
}

/** The fields of an event, as they stand in a frame. Strings that are not UTF-8 have U+FFFD in them. */
class Fields {
  id = ''
  source = ''
  type = ''
  subject = ''
  timeUnixNano = 0n
  value: number | undefined
  data: Buffer | undefined
  form = 0
  datacontenttype = ''
  readonly attributes = new Map<string, Attribute>()
}

/** JSON of the event whose fields are in bytes[start, end), which scan has passed, on one line. */
export function toCloudEvent(bytes: Buffer, start: number, end: number, receipt: Receipt): string {
  const fields = read(bytes, start, end)
  const { correlationId, receivedAt, place } = receipt
  let text = `{"specversion":"1.0","id":${JSON.stringify(fields.id || place)}`
  const add = (name: string, json: string) => {
    text += `,"${name}":${json}`
  }
  add('source', JSON.stringify(fields.source))
  add('type', JSON.stringify(fields.type))
  if (fields.subject !== '') add('subject', JSON.stringify(fields.subject))
  if (fields.timeUnixNano !== 0n) add('time', `"${formatTime(fields.timeUnixNano)}"`)
  if (fields.datacontenttype !== '') add('datacontenttype', JSON.stringify(fields.datacontenttype))
  addAttributes(fields, add)
  addData(fields, add)
  add(`${OWN}correlation`, JSON.stringify(correlationId))
  add(`${OWN}received`, `"${new Date(receivedAt).toISOString()}"`)
  return `${text}}`
}

/** RFC 3339 in UTC, with three digits of the second at least and nine at most. */
export function formatTime(unixNano: bigint): string {
  const milliseconds = new Date(Number(unixNano / 1_000_000n)).toISOString()
  const rest = (unixNano % 1_000_000n).toString().padStart(6, '0')
  if (rest === '000000') return milliseconds
  return `${milliseconds.slice(0, -1)}${rest.endsWith('000') ? rest.slice(0, 3) : rest}Z`
}

type Add = (name: string, json: string) => void

function addAttributes({ attributes, value }: Fields, add: Add): void {
  const others: Record<string, string> = {}
  let hasOthers = false
  let hasValue = false
  for (const [name, attribute] of attributes) {
    if (name === `${OWN}correlation` || name === `${OWN}received`) continue // of a tap it came through before
    const isOther =
      !attributeName.test(name) ||
      taken.has(name) ||
      (name === 'value' && value !== undefined && Number(attribute.value) !== value)
    if (isOther) {
      hasOthers = true
      Object.defineProperty(others, name, { value: attribute.value, enumerable: true })
      continue
    }
    if (name === 'value') hasValue = true
    add(name, jsonOf(attribute))
  }
  if (value !== undefined && !hasValue) {
    // CloudEvents have whole numbers only; others are strings of digits.
    add('value', Number.isSafeInteger(value) ? JSON.stringify(value) : `"${value}"`)
  }
  if (hasOthers) add(`${OWN}attributes`, JSON.stringify(JSON.stringify(others)))
}

function jsonOf({ value, kind }: Attribute): string {
  const isBare =
    (kind === tags.KIND_BOOLEAN && (value === 'true' || value === 'false')) ||
    (kind === tags.KIND_INTEGER && integer.test(value))
  return isBare ? value : JSON.stringify(value)
}

function addData({ data, form, datacontenttype }: Fields, add: Add): void {
  if (data === undefined && form === 0) return
  const bytes = data ?? Buffer.alloc(0)
  const wanted = form === 0 ? formOf(datacontenttype) : form
  if (wanted !== FORM_BYTES && isUtf8(bytes)) {
    const text = bytes.toString('utf8')
    if (wanted === FORM_TEXT) {
      add('data', JSON.stringify(text))
      return
    }
    if (wanted === FORM_JSON && isJson(text)) {
      add('data', text.replace(/[\r\n]+/g, ' ')) // which stand between tokens only
      return
    }
  }
  add('data_base64', `"${bytes.toString('base64')}"`)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function read(bytes: Buffer, start: number, end: number): Fields {
  const fields = new Fields()
  for (let at = start; at < end; ) {
    const tag = varint(bytes, at)
    at = ended
    if (tag === tags.TIME_UNIX_NANO_TAG) fields.timeUnixNano = bytes.readBigUInt64LE(at)
    else if (tag === tags.VALUE_TAG) fields.value = bytes.readDoubleLE(at)
    else if (tag === tags.DATA_FORM_TAG) fields.form = varint(bytes, at)
    if ((tag & 7) !== 2) {
      at = skip(bytes, at, tag)
      continue
    }
    const size = varint(bytes, at)
    at = ended + size
    switch (tag) {
      case tags.ID_TAG:
        fields.id = bytes.toString('utf8', at - size, at)
        break
      case tags.SOURCE_TAG:
        fields.source = bytes.toString('utf8', at - size, at)
        break
      case tags.TYPE_TAG:
        fields.type = bytes.toString('utf8', at - size, at)
        break
      case tags.SUBJECT_TAG:
        fields.subject = bytes.toString('utf8', at - size, at)
        break
      case tags.DATA_TAG:
        fields.data = bytes.subarray(at - size, at)
        break
      case tags.DATACONTENTTYPE_TAG:
        fields.datacontenttype = bytes.toString('utf8', at - size, at)
        break
      case tags.ATTRIBUTES_TAG:
        readAttribute(bytes, at - size, at, fields.attributes)
    }
  }
  return fields
}

function readAttribute(bytes: Buffer, start: number, end: number, into: Map<string, Attribute>): void {
  let name = ''
  let value = ''
  let kind = 0
  for (let at = start; at < end; ) {
    const tag = varint(bytes, at)
    at = ended
    if (tag === tags.ATTRIBUTE_KIND_TAG) kind = varint(bytes, at)
    if ((tag & 7) !== 2) {
      at = skip(bytes, at, tag)
      continue
    }
    const size = varint(bytes, at)
    at = ended + size
    if (tag === tags.ATTRIBUTE_NAME_TAG) name = bytes.toString('utf8', at - size, at)
    else if (tag === tags.ATTRIBUTE_VALUE_TAG) value = bytes.toString('utf8', at - size, at)
  }
  into.set(name, { value, kind })
}
