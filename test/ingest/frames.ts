// Frames for tests: what clients send, what encoders may write, and what nobody should.

import fc from 'fast-check'
import { millrace } from '#proto'
import { anyCharacter } from '../characters.ts'

/** An event as a test thinks of it. */
export interface TestEvent {
  id?: string
  source: string
  type: string
  subject?: string
  timeUnixNano?: bigint
  value?: number
  data?: Uint8Array
  datacontenttype?: string
  attributes?: Record<string, string>
}

const text = (maxLength: number) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.string({ maxLength, unit: 'grapheme-ascii' }) },
    { weight: 1, arbitrary: fc.string({ maxLength: Math.ceil(maxLength / 4), unit: anyCharacter }) },
  )
const filled = (maxLength: number) => text(maxLength).map((value) => (value === '' ? 'x' : value))

export const event: fc.Arbitrary<TestEvent> = fc.record(
  {
    id: text(20),
    source: filled(70),
    type: filled(20),
    subject: text(70),
    timeUnixNano: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    value: fc.double({ noNaN: true, noDefaultInfinity: true }),
    data: fc.uint8Array({ maxLength: 200 }),
    datacontenttype: text(20),
    attributes: fc.dictionary(fc.oneof(text(16), fc.constant('__proto__')), text(150), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  },
  { requiredKeys: ['source', 'type'] },
)
export const events = fc.array(event, { minLength: 1, maxLength: 4 })

/** As a client's encoder writes it. */
export function encode(list: readonly TestEvent[]): Uint8Array {
  const plain = list.map((one) => ({ ...one, timeUnixNano: (one.timeUnixNano ?? 0n).toString() }))
  return new Uint8Array(millrace.v1.Frame.encode(millrace.v1.Frame.fromObject({ events: plain })).finish())
}

// --- The wire, piece by piece -------------------------------------------------------------------------

/** A varint, `padding` bytes longer than it has to be. */
export function varint(value: number, padding = 0): number[] {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  for (let i = 0; i < padding; i++) {
    bytes[bytes.length - 1] |= 128
    bytes.push(0)
  }
  return bytes
}

export const tag = (field: number, wireType: number, padding = 0) => varint(field * 8 + wireType, padding)
export const sized = (field: number, payload: readonly number[], padding = 0) => [
  ...tag(field, 2, padding),
  ...varint(payload.length, padding),
  ...payload,
]
export const string = (field: number, value: string) => sized(field, [...Buffer.from(value)])
export const double = (field: number, value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return [...tag(field, 1), ...bytes]
}
/** A group in a group in a group, `depth` of them, around a payload. */
export const groups = (depth: number, payload: readonly number[], field = 11) => [
  ...Array.from({ length: depth }, () => tag(field, 3)).flat(),
  ...payload,
  ...Array.from({ length: depth }, () => tag(field, 4)).flat(),
]
/** An event that is as it should be, and what a test adds to it. */
export const eventBytes = (...more: number[]) => sized(1, [...string(2, 's'), ...string(3, 't'), ...more])
/** A frame, or what stands for one. */
export const frame = (...pieces: readonly number[][]) => new Uint8Array(pieces.flat())

const padding = fc.oneof(
  { weight: 8, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 4 }) },
)
const fieldNumber = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 11 }) },
  { weight: 1, arbitrary: fc.constantFrom(15, 16, 2047, 2048, 19000, 2 ** 29 - 1) },
)
const bytes = (maxLength: number) => fc.array(fc.nat(255), { maxLength })
const anyVarint = fc.oneof(
  fc.tuple(fc.nat(), padding).map(([value, more]) => varint(value, more)),
  fc
    .tuple(fc.integer({ min: 7, max: 11 }), fc.nat(3))
    .map(([length, last]) => [...Array(length).fill(0x81), last]),
)

/** Fields of any number and wire type, well formed nearly always; groups nest. */
const { anyField } = fc.letrec<{ anyField: number[]; group: number[] }>((tie) => ({
  anyField: fc.oneof(
    { maxDepth: 4 },
    fc
      .tuple(fieldNumber, anyVarint, padding)
      .map(([field, value, more]) => [...tag(field, 0, more), ...value]),
    fc
      .tuple(fieldNumber, fc.array(fc.nat(255), { minLength: 8, maxLength: 8 }))
      .map(([field, value]) => [...tag(field, 1), ...value]),
    fc
      .tuple(fieldNumber, bytes(12), padding)
      .map(([field, payload, more]) => sized(field === 9 ? 10 : field, payload, more)),
    fc
      .tuple(fieldNumber, fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }))
      .map(([field, value]) => [...tag(field, 5), ...value]),
    tie('group'),
  ),
  group: fc
    .tuple(fieldNumber, fc.array(tie('anyField'), { maxLength: 3 }), fc.nat(30))
    .map(([field, fields, odd]) => [
      ...tag(field, 3),
      ...fields.flat(),
      ...tag(odd === 0 ? field + 1 : field, 4),
    ]),
}))
const evil: fc.Arbitrary<number[]> = fc.oneof(
  fc.constantFrom<number[][]>(
    [0x00, 0x00],
    [0x02, 0x00],
    [0x03, 0x04],
    [0x0c],
    [0x0e],
    [0x0f, 0x00],
    [0x80],
    [0x8a, 0x80],
  ),
  fc.constantFrom<number[][]>(
    [0x0a, 0x80, 0x80, 0x80, 0x80, 0x08],
    [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07],
    [0xff, 0xff, 0xff, 0xff, 0x0f],
  ),
  fc.constantFrom<number[][]>(
    [0x8a, 0x80, 0x80, 0x80, 0x10, 0x00],
    [0x8a, 0x80, 0x80, 0x80, 0x80, 0x00, 0x00],
  ),
  fc.tuple(fc.integer({ min: 96, max: 102 }), anyField).map(([depth, inner]) => groups(depth, inner)),
  fc.constant(groups(200, [])),
)
const name = fc.oneof(
  { weight: 9, arbitrary: fc.nat(8) },
  { weight: 1, arbitrary: fc.constantFrom(63, 64, 65) },
)
const length = fc.oneof(
  { weight: 9, arbitrary: fc.nat(140) },
  { weight: 1, arbitrary: fc.constantFrom(1023, 1024, 1025) },
)
const stringField = fc
  .tuple(fc.constantFrom(1, 2, 3, 4, 8), length, padding)
  .map(([field, size, more]) => sized(field, Array(size).fill(97), more))
const entryField = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(name, padding).map(([size, more]) => sized(1, Array(size).fill(98), more)),
  },
  { weight: 4, arbitrary: length.map((size) => sized(2, Array(size).fill(99))) },
  { weight: 1, arbitrary: anyField },
)
const entry = fc
  .tuple(fc.array(entryField, { maxLength: 3 }), padding)
  .map(([fields, more]) => sized(9, fields.flat(), more))
const data = fc.oneof({ weight: 5, arbitrary: bytes(140) }, { weight: 1, arbitrary: bytes(1100) })
const eventField = fc.oneof(
  { weight: 6, arbitrary: stringField },
  { weight: 2, arbitrary: entry },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom(5, 6), fc.double()).map(([field, value]) => double(field, value)),
  },
  { weight: 1, arbitrary: fc.tuple(data, padding).map(([payload, more]) => sized(7, payload, more)) },
  { weight: 2, arbitrary: anyField },
)
const wireEvent = fc
  .tuple(
    fc.array(eventField, { maxLength: 5 }),
    fc.array(eventField, { maxLength: 3 }),
    fc.nat(15),
    fc.oneof({ weight: 20, arbitrary: fc.constant([] as number[]) }, { weight: 1, arbitrary: evil }),
    fc.oneof(
      { weight: 40, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.constantFrom(63, 64, 65) },
    ),
    padding,
  )
  .map(([before, after, odd, bad, entries, more]) =>
    sized(
      1,
      [
        ...before.flat(),
        ...(odd === 0 ? [] : string(2, 'source')),
        ...(odd === 1 ? [] : string(3, 'type')),
        ...Array.from({ length: entries }, () => sized(9, string(1, 'k'))).flat(),
        ...after.flat(),
        ...bad,
      ],
      more,
    ),
  )
/** Frames as no encoder writes them but a decoder may read them, and some that it may not. */
export const wireFrame: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.oneof(
      { weight: 24, arbitrary: wireEvent },
      { weight: 4, arbitrary: anyField },
      { weight: 1, arbitrary: evil },
    ),
    { minLength: 1, maxLength: 3 },
  )
  .map((pieces) => frame(...pieces))

// --- Damage -------------------------------------------------------------------------------------------

export type Mutation = (bytes: Uint8Array) => Uint8Array
const joined = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))
const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })
const at = (bytes: Uint8Array, where: number) => Math.floor(bytes.length * where)

export const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  // a bit flipped
  fc.tuple(place, fc.nat(7)).map(
    ([where, bit]): Mutation =>
      (bytes) => {
        const copy = bytes.slice()
        if (copy.length > 0) copy[at(copy, where)] ^= 1 << bit
        return copy
      },
  ),
  // a byte replaced
  fc.tuple(place, fc.nat(255)).map(
    ([where, byte]): Mutation =>
      (bytes) => {
        const copy = bytes.slice()
        if (copy.length > 0) copy[at(copy, where)] = byte
        return copy
      },
  ),
  // the end cut off
  place.map(
    (where): Mutation =>
      (bytes) =>
        bytes.slice(0, at(bytes, where)),
  ),
  // something put in
  fc.tuple(place, fc.oneof(bytes(6), evil, anyField)).map(
    ([where, more]): Mutation =>
      (bytes) =>
        joined(bytes.subarray(0, at(bytes, where)), Uint8Array.from(more), bytes.subarray(at(bytes, where))),
  ),
  // something taken out
  fc.tuple(place, fc.nat(9)).map(
    ([where, count]): Mutation =>
      (bytes) =>
        joined(bytes.subarray(0, at(bytes, where)), bytes.subarray(at(bytes, where) + count)),
  ),
  // a part repeated elsewhere
  fc.tuple(place, place, fc.nat(40)).map(
    ([from, to, count]): Mutation =>
      (bytes) =>
        joined(
          bytes.subarray(0, at(bytes, to)),
          bytes.subarray(at(bytes, from), at(bytes, from) + count),
          bytes.subarray(at(bytes, to)),
        ),
  ),
)

/** Bytes without any shape. */
export const noise: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 40 })
