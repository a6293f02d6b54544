// The event that a handler is shown: one object for all of them, over the columns of a block (fields.ts). What stands in
// a column is decoded from there; for the rest the event's bytes are walked when it is asked for.

import {
  ATTRIBUTE_NAME_TAG,
  ATTRIBUTE_VALUE_TAG,
  ATTRIBUTES_TAG,
  DATA_TAG,
  DATACONTENTTYPE_TAG,
  EVENT_TAG,
  ID_TAG,
} from '../frame/tags.ts'
import { ended, skip, varint } from '../frame/wire.ts'
import type { EventView } from '../handler.ts'
import { BLOCK_EVENTS, type Fields } from './fields.ts'
import { FIELD_ATTRIBUTES, FIELD_SOURCE, FIELD_SUBJECT, FIELD_TYPE } from './measure.ts'
import { Texts } from './texts.ts'

const NO_BYTES: Buffer = Buffer.alloc(0)

export class View implements EventView {
  readonly #fields: Fields
  readonly #texts = new Texts()
  /** Attributes that have columns. */
  readonly #columns: Map<string, number>
  #event = 0
  #buffer: Buffer = NO_BYTES

  // The block: where it stands in the frames, and once that was asked for where each of its events does.
  #blockFrom = 0
  #blockTo = 0
  #bounded = false
  readonly #starts = new Int32Array(BLOCK_EVENTS)
  readonly #ends = new Int32Array(BLOCK_EVENTS)

  // What #find and #nameOf have found.
  #from = 0
  #to = 0

  /** The string that was decoded last, and where it stands in the frames: most keys are such a string as it is. */
  lastText = ''
  lastFrom = 0
  lastTo = 0

  /** `attributes`: names of those that have columns, the first of which is FIELD_ATTRIBUTES. */
  constructor(fields: Fields, attributes: readonly Uint8Array[]) {
    this.#fields = fields
    this.#columns = new Map(
      attributes.map((name, i) => [Buffer.from(name).toString(), FIELD_ATTRIBUTES + i] as const),
    )
  }

  /** Shows events of the block in fields, which stand in frames[from, to). */
  block(from: number, to: number): void {
    const { frames } = this.#fields
    this.#buffer = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength)
    this.#blockFrom = from
    this.#blockTo = to
    this.#bounded = false
  }

  show(event: number): void {
    this.#event = event
    this.lastTo = 0
    this.lastFrom = 0
    this.lastText = ''
  }

  /** Lets go of the frames, and of what was decoded from them. */
  end(): void {
    this.show(0)
    this.#buffer = NO_BYTES
  }

  /** Where the event that is shown starts and ends in the frames. */
  get from(): number {
    if (!this.#bounded) this.#bound()
    return this.#starts[this.#event]
  }
  get to(): number {
    if (!this.#bounded) this.#bound()
    return this.#ends[this.#event]
  }

  /** Halves of the time in nanoseconds. */
  get low(): number {
    return this.#fields.lows[this.#event]
  }
  get high(): number {
    return this.#fields.highs[this.#event]
  }
  get bytes(): Uint8Array {
    return this.#fields.frames
  }

  get source(): string {
    return this.#column(FIELD_SOURCE)
  }
  get type(): string {
    return this.#column(FIELD_TYPE)
  }
  get subject(): string {
    return this.#column(FIELD_SUBJECT)
  }
  get value(): number | undefined {
    const value = this.#fields.values[this.#event]
    return Number.isNaN(value) ? undefined : value
  }
  get time(): number {
    return Number(this.timeUnixNano / 1_000_000n)
  }
  get timeUnixNano(): bigint {
    return (BigInt(this.high >>> 0) << 32n) | BigInt(this.low >>> 0)
  }
  get id(): string {
    this.#find(ID_TAG)
    return this.#text(this.#from, this.#to)
  }
  get datacontenttype(): string {
    this.#find(DATACONTENTTYPE_TAG)
    return this.#text(this.#from, this.#to)
  }
  get data(): Uint8Array {
    this.#find(DATA_TAG)
    const data = new Uint8Array(this.#to - this.#from)
    data.set(this.#buffer.subarray(this.#from, this.#to))
    return data
  }

  json(): unknown {
    this.#find(DATA_TAG)
    return JSON.parse(this.#buffer.toString('utf8', this.#from, this.#to))
  }

  get attributes(): Readonly<Record<string, string>> {
    const attributes: Record<string, string> = Object.create(null)
    const { to } = this
    for (let at = this.#nextAttribute(this.from, to); at <= to; at = this.#nextAttribute(at, to)) {
      const name = this.#buffer.toString('utf8', this.#nameFrom, this.#nameTo)
      attributes[name] = this.#text(this.#from, this.#to)
    }
    return attributes
  }

  attribute(name: string): string {
    const column = this.#columns.get(name)
    if (column !== undefined) return this.#column(column)
    const { to } = this
    let valueFrom = 0
    let valueTo = 0
    for (let at = this.#nextAttribute(this.from, to); at <= to; at = this.#nextAttribute(at, to)) {
      if (!this.#isName(name)) continue
      valueFrom = this.#from
      valueTo = this.#to
    }
    return this.#text(valueFrom, valueTo)
  }

  #column(field: number): string {
    return this.#text(this.#fields.starts[field][this.#event], this.#fields.ends[field][this.#event])
  }

  #text(from: number, to: number): string {
    const text = this.#texts.of(this.#buffer, this.#fields.view, from, to)
    this.lastText = text
    this.lastFrom = from
    this.lastTo = to
    return text
  }

  /** Notes where the content of the event's last field with this tag stands. */
  #find(wanted: number): void {
    const bytes = this.#buffer
    const end = this.to
    this.#from = 0
    this.#to = 0
    let at = this.from
    while (at < end) {
      const tag = varint(bytes, at)
      at = ended
      if (tag !== wanted) {
        at = skip(bytes, at, tag)
        continue
      }
      const length = varint(bytes, at)
      this.#from = ended
      at = this.#to = this.#from + length
    }
  }

  #nameFrom = 0
  #nameTo = 0

  /** Notes the name and the value of the first attribute from `at` on; returns its end, or more than `end`. */
  #nextAttribute(from: number, end: number): number {
    const bytes = this.#buffer
    let at = from
    while (at < end) {
      const tag = varint(bytes, at)
      at = ended
      if (tag === ATTRIBUTES_TAG) {
        const length = varint(bytes, at)
        at = ended
        this.#entry(at, at + length)
        return at + length
      }
      at = skip(bytes, at, tag)
    }
    return end + 1
  }

  #entry(from: number, end: number): void {
    const bytes = this.#buffer
    this.#nameFrom = this.#nameTo = this.#from = this.#to = 0
    let at = from
    while (at < end) {
      const tag = varint(bytes, at)
      at = ended
      if (tag !== ATTRIBUTE_NAME_TAG && tag !== ATTRIBUTE_VALUE_TAG) {
        at = skip(bytes, at, tag)
        continue
      }
      const length = varint(bytes, at)
      const start = ended
      at = start + length
      if (tag === ATTRIBUTE_NAME_TAG) {
        this.#nameFrom = start
        this.#nameTo = at
      } else {
        this.#from = start
        this.#to = at
      }
    }
  }

  #isName(name: string): boolean {
    const bytes = this.#buffer
    const length = this.#nameTo - this.#nameFrom
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i)
      if (code > 127) return bytes.toString('utf8', this.#nameFrom, this.#nameTo) === name
      if (i >= length || bytes[this.#nameFrom + i] !== code) return false
    }
    return length === name.length
  }

  #bound(): void {
    const bytes = this.#buffer
    let event = 0
    for (let at = this.#blockFrom; at < this.#blockTo; ) {
      const tag = varint(bytes, at)
      at = ended
      if (tag !== EVENT_TAG) {
        at = skip(bytes, at, tag)
        continue
      }
      const length = varint(bytes, at)
      at = ended
      this.#starts[event] = at
      at += length
      this.#ends[event++] = at
    }
    this.#bounded = true
  }
}
