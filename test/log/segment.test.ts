// A segment says what was put into it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HEADER_BYTES, readU64, Segment, SegmentBuilder, writeU64 } from '../../src/log/segment.ts'

const ascii = (max: number) =>
  fc
    .array(fc.integer({ min: 0x21, max: 0x7e }), { maxLength: max })
    .map((codes) => String.fromCharCode(...codes))

const body = fc.record({
  frame: fc.uint8Array({ maxLength: 300 }),
  events: fc.nat({ max: 1000 }),
  producer: ascii(128),
  sequence: fc.maxSafeNat(),
  correlation: ascii(128),
})

test('bodies come out as they went in, in order, and a builder that sealed is empty', () => {
  fc.assert(
    fc.property(fc.array(fc.array(body, { minLength: 1, maxLength: 20 }), { maxLength: 4 }), (segments) => {
      const builder = new SegmentBuilder(16)
      for (const bodies of segments) {
        for (const { frame, events, producer, sequence, correlation } of bodies) {
          builder.add(frame, events, producer, sequence, correlation, 1234)
        }
        assert.equal(builder.bodies, bodies.length)
        const sealed = builder.seal()
        const segment = new Segment(Buffer.from(sealed.bytes))
        builder.reuse(sealed)
        assert.equal(builder.bodies + builder.events + builder.frameBytes, 0)
        assert.equal(segment.bodies, bodies.length)
        assert.equal(segment.receivedAt, 1234)
        assert.equal(
          segment.events,
          bodies.reduce((sum, { events }) => sum + events, 0),
        )
        assert.equal(
          segment.hasProducers,
          bodies.some(({ producer }) => producer !== ''),
        )
        assert.deepEqual(segment.frames, Buffer.concat(bodies.map(({ frame }) => frame)))
        const table = [...segment.table()].map(({ start, end, ...rest }) => ({
          ...rest,
          frame: Uint8Array.from(segment.frames.subarray(start, end)),
        }))
        const expected = bodies.map(({ producer, sequence, ...rest }) =>
          producer === '' ? { ...rest, producer: undefined, sequence: 0 } : { ...rest, producer, sequence },
        )
        assert.deepEqual(table, expected)
      }
    }),
  )
})

test('a stamp is read back and changes nothing else', () => {
  const hex = fc.array(fc.integer({ min: 0, max: 15 }), { minLength: 16, maxLength: 16 })
  const writers = hex.map((digits) => digits.map((digit) => digit.toString(16)).join(''))
  const number = fc.maxSafeNat()
  fc.assert(
    fc.property(writers, number, number, number, (writer, sequence, events, bodies) => {
      const builder = new SegmentBuilder(16)
      builder.add(Buffer.from('frame'), 3, 'producer', 9, 'correlation', 77)
      const segment = builder.seal()
      const before = Buffer.from(segment.bytes)
      segment.stamp(writer, sequence, events, bodies)
      assert.equal(segment.writer, writer)
      assert.equal(segment.sequence, sequence)
      assert.equal(segment.priorEvents, events)
      assert.equal(segment.priorBodies, bodies)
      assert.equal(segment.receivedAt, 77)
      assert.deepEqual(segment.bytes.subarray(0, 24), before.subarray(0, 24))
      assert.deepEqual(segment.bytes.subarray(HEADER_BYTES), before.subarray(HEADER_BYTES))
    }),
  )
})

test('bytes that are not one whole segment are refused', () => {
  const builder = new SegmentBuilder(16)
  builder.add(Buffer.from('frame'), 1, '', 0, '', 1)
  const { bytes } = builder.seal()
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => new Segment(bytes.subarray(0, length)), RangeError)
  }
  assert.throws(() => new Segment(Buffer.concat([bytes, Buffer.alloc(1)])), RangeError)
  assert.throws(() => new Segment(Buffer.concat([Buffer.from('X'), bytes.subarray(1)])), RangeError)
})

test('numbers of 53 bits survive', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const bytes = Buffer.alloc(8)
      writeU64(bytes, 0, value)
      assert.equal(readU64(bytes, 0), value)
      assert.equal(bytes.readBigUInt64LE(), BigInt(value))
    }),
  )
})
