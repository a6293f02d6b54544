import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EventEncoder } from '../../src/client/encoder.ts'
import type { Event } from '../../src/client/event.ts'
import { scan } from '../../src/ingest/scan.ts'
import { decode } from '../cli/fake.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 60 })
const event: fc.Arbitrary<Event> = fc.record(
  {
    source: fc.oneof(text, fc.constantFrom('', 'x'.repeat(1024), 'x'.repeat(1025), 'é'.repeat(600))),
    type: text,
    id: text,
    subject: fc.oneof(text, fc.constant('ü'.repeat(513))),
    time: fc.oneof(
      fc.date({ min: new Date(-1000), max: new Date('2600-01-01'), noInvalidDate: false }),
      fc.bigInt({ min: -1n, max: 2n ** 64n }),
      fc.constantFrom(
        '2026-05-01T12:30:00.25Z',
        '2026-05-01',
        '1969-12-31T23:59:59Z',
        '2600-01-01T00:00:00Z',
      ),
    ),
    value: fc.double(),
    data: fc.oneof(fc.uint8Array(), text, fc.object(), fc.constant('x'.repeat(3000))),
    datacontenttype: text,
    attributes: fc.dictionary(fc.oneof(text, fc.constant('n'.repeat(65))), text, { maxKeys: 70 }),
  },
  { requiredKeys: ['source', 'type'] },
)

test('what the client takes a listener takes, with every field as it was; what it refuses adds nothing', () => {
  const encoder = new EventEncoder()
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 8 }), (events) => {
      const taken = events.filter((one) => {
        const before = encoder.bytes
        try {
          assert.ok(encoder.add(one))
          return true
        } catch (error) {
          assert.ok(error instanceof Error && !('generatedMessage' in error), String(error))
          assert.equal(encoder.bytes, before)
          return false
        }
      })
      assert.equal(encoder.events, taken.length)
      const frame = encoder.take()
      if (taken.length === 0) return
      assert.equal(scan(frame, 0, frame.length), taken.length)
      const read = decode(frame)
      for (const [i, { time, data, ...rest }] of taken.entries()) {
        const got = read[i]
        for (const name of ['source', 'type', 'id', 'subject'] as const)
          assert.equal(got[name] ?? '', rest[name] ?? '')
        assert.deepEqual({ ...got.attributes }, { ...rest.attributes })
        if (rest.value !== undefined) assert.ok(Object.is(got.value, rest.value))
        else assert.equal(got.value ?? null, null)
        if (time instanceof Date) assert.equal(got.timeUnixNano, String(BigInt(time.getTime()) * 1_000_000n))
        if (typeof time === 'bigint') assert.equal(got.timeUnixNano, String(time))
        if (data instanceof Uint8Array) assert.deepEqual(Buffer.from(got.data ?? []), Buffer.from(data))
        else if (data !== undefined) {
          const said = typeof data === 'string' ? data : JSON.stringify(data)
          assert.equal(Buffer.from(got.data ?? []).toString(), Buffer.from(said).toString())
          const type = typeof data === 'string' ? 'text/plain' : 'application/json'
          assert.equal(got.datacontenttype ?? '', rest.datacontenttype ?? type)
        }
      }
    }),
    { numRuns: 500 },
  )
})

test('an event that does not fit is left out, and the next one is not spoilt', () => {
  const encoder = new EventEncoder()
  assert.ok(encoder.add({ source: 's', type: 't' }, 100))
  assert.equal(encoder.add({ source: 's', type: 't', data: new Uint8Array(200) }, 100), false)
  assert.ok(encoder.add({ source: 's', type: 'u' }, 100))
  assert.deepEqual(
    decode(encoder.take()).map(({ type }) => type),
    ['t', 'u'],
  )
})

for (const [what, wrong, message] of [
  ['no source', { type: 't' }, /source is missing/],
  ['an empty type', { source: 's', type: '' }, /type is missing/],
  ['a name that there is not', { source: 's', type: 't', timestamp: 1 }, /timestamp is no field of an event/],
  ['a number as subject', { source: 's', type: 't', subject: 1 }, /subject must be a string, not a number/],
  ['null as value', { source: 's', type: 't', value: null }, /value must be a number, not null/],
  ['infinity', { source: 's', type: 't', value: Infinity }, /value is not a finite number/],
  [
    'a number as time',
    { source: 's', type: 't', time: 1 },
    /time must be a Date, a bigint of nanoseconds or RFC 3339/,
  ],
  ['a time before 1970', { source: 's', type: 't', time: new Date(0) }, /time is not after 1970/],
  ['a function as data', { source: 's', type: 't', data: () => {} }, /data must be bytes, a string or JSON/],
  ['null instead of an event', null, /an event must be an object/],
] as const) {
  test(`${what} is refused with its reason`, () => {
    assert.throws(() => new EventEncoder().add(wrong as unknown as Event), message)
  })
}
