// Random frames, written field by field so that they hold all that the wire format allows.

import fc from 'fast-check'
import protobuf from 'protobufjs/minimal.js'
import { anyCharacter } from '../characters.ts'

const text = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('a', 'b', 'page.view', 'page.click', 'shop/1') },
  { weight: 2, arbitrary: fc.constantFrom('', '\0', 'a\0', 'a\0b', '😀', 'x'.repeat(130), 'k'.repeat(1024)) },
  { weight: 1, arbitrary: fc.string({ unit: anyCharacter, maxLength: 8 }) },
)
const attribute = fc.record({
  name: fc.option(fc.constantFrom('region', 'tier', 'regio', ''), { nil: undefined }),
  value: fc.option(text, { nil: undefined }),
  valueFirst: fc.boolean(),
  extra: fc.boolean(),
})
const time = fc.oneof(
  fc.constant([0, 0] as [number, number]),
  fc.constant([0xffffffff, 0xffffffff] as [number, number]),
  fc.tuple(fc.nat(0xffffffff), fc.constantFrom(0, 1, 400000000, 400000001)),
)
const value = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -1000, max: 1000 }) },
  { weight: 2, arbitrary: fc.constantFrom(0.1, 0.2, 1e16, -1e16, 1e-3) },
  { weight: 1, arbitrary: fc.double({ noNaN: true, min: -1e300, max: 1e300 }) },
)
const rareValue = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 0, -0, 5e-324, -2.2e-308)

type Part = (writer: protobuf.Writer) => protobuf.Writer

const part: fc.Arbitrary<Part> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.tuple(fc.constantFrom(2, 3, 4), text).map(
      ([field, s]) =>
        (w: protobuf.Writer) =>
          w.uint32((field << 3) | 2).string(s),
    ),
  },
  {
    weight: 2,
    arbitrary: time.map(
      ([low, high]) =>
        (w: protobuf.Writer) =>
          w.uint32(41).fixed32(low).fixed32(high),
    ),
  },
  { weight: 4, arbitrary: value.map((v) => (w: protobuf.Writer) => w.uint32(49).double(v)) },
  { weight: 1, arbitrary: rareValue.map((v) => (w: protobuf.Writer) => w.uint32(49).double(v)) },
  {
    weight: 3,
    arbitrary: attribute.map((a) => (w: protobuf.Writer) => {
      w.uint32(74).fork()
      if (a.extra) w.uint32(24).uint32(300)
      if (a.valueFirst && a.value !== undefined) w.uint32(18).string(a.value)
      if (a.name !== undefined) w.uint32(10).string(a.name)
      if (!a.valueFirst && a.value !== undefined) w.uint32(18).string(a.value)
      return w.ldelim()
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Part>(
      (w: protobuf.Writer) => w.uint32(10).string('id'), // id
      (w: protobuf.Writer) => w.uint32(58).bytes(new Uint8Array(200)), // data
      (w: protobuf.Writer) => w.uint32(66).string('text/plain'), // datacontenttype
      (w: protobuf.Writer) => w.uint32((100 << 3) | 0).uint32(77777), // unknown ones, of every wire type
      (w: protobuf.Writer) =>
        w
          .uint32((100 << 3) | 1)
          .fixed32(1)
          .fixed32(2),
      (w: protobuf.Writer) => w.uint32((100 << 3) | 2).string('unknown'),
      (w: protobuf.Writer) => w.uint32((100 << 3) | 5).fixed32(1),
      (w: protobuf.Writer) =>
        w
          .uint32((100 << 3) | 3)
          .uint32((4 << 3) | 2)
          .string('inside')
          .uint32((7 << 3) | 3)
          .uint32((7 << 3) | 4)
          .uint32((100 << 3) | 4),
      (w: protobuf.Writer) => w.uint32((4 << 3) | 0).uint32(9), // subject, value and time with wire types that are not theirs
      (w: protobuf.Writer) => w.uint32((6 << 3) | 5).fixed32(9),
      (w: protobuf.Writer) => w.uint32((5 << 3) | 0).uint32(9),
      (w: protobuf.Writer) => w.raw(Uint8Array.of(0xa2, 0x80, 0x00)).string('a'), // tags longer than they need to be
      (w: protobuf.Writer) => w.raw(Uint8Array.of(0xb1, 0x00)).double(7),
      (w: protobuf.Writer) =>
        w
          .raw(Uint8Array.of(0xca, 0x80, 0x00, 10, 0x8a, 0x00, 4))
          .raw(Buffer.from('tier'))
          .raw(Uint8Array.of(0x92, 0x00, 0)),
      (w: protobuf.Writer) => w.uint32((1 << 3) | 3).uint32((1 << 3) | 4),
    ),
  },
)

/** A frame of one event, perhaps with an unknown field around it. */
export const eventFrame: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.array(part, { maxLength: 9 }), fc.nat(9))
  .map(([parts, dice]) => {
    const writer = protobuf.Writer.create()
    if (dice === 0) writer.uint32((9 << 3) | 2).string('unknown')
    const outer = dice === 2 ? writer.raw(Uint8Array.of(0x8a, 0x00)) : writer.uint32(10)
    outer.fork()
    for (const write of parts) write(writer)
    writer.ldelim()
    if (dice === 1) writer.uint32((9 << 3) | 0).uint32(1000)
    // Unknown here, and what a field of an event looks like.
    if (dice === 3) writer.uint32(49).double(3).uint32(41).fixed32(9).fixed32(9).uint32(34).string('a')
    if (dice === 4) writer.uint32(18).string('outside').uint32(26).string('outside')
    return writer.finish()
  })
