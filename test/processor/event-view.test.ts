import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { millrace } from '#proto'
import type { EventView } from '../../src/handler.ts'
import { handle, handler, RECEIVED_AT } from './handlers.ts'
import { eventFrame } from './wire.ts'

const { Event, Frame } = millrace.v1

const seen = (event: EventView) => ({
  id: event.id,
  source: event.source,
  type: event.type,
  subject: event.subject,
  timeUnixNano: event.timeUnixNano,
  time: event.time,
  value: event.value,
  data: Buffer.from(event.data).toString('hex'),
  datacontenttype: event.datacontenttype,
  attributes: { ...event.attributes },
  region: event.attribute('region'),
  declared: event.attribute('tier'),
  unknown: event.attribute('régio'),
})

test('every field of the view is what protobufjs decodes, in whatever order fields are touched', () => {
  fc.assert(
    fc.property(fc.array(eventFrame, { minLength: 1, maxLength: 5 }), fc.boolean(), (frames, backwards) => {
      const bytes = Buffer.concat(frames)
      const views: unknown[] = []
      const map = (event: EventView) => {
        const once = seen(event)
        if (backwards) assert.deepEqual({ ...event.attributes }, once.attributes)
        assert.equal(event.subject, once.subject)
        views.push(once)
      }
      // A match on `tier` gives that attribute a column; it matches everything.
      const { effects } = handle(bytes, [handler(map, { match: { 'attributes.tier': '*', type: '*' } })])
      assert.deepEqual(effects.letters, [])
      const expected = Frame.decode(bytes).events.map((event) => {
        const time = event.timeUnixNano as { low: number; high: number } | number
        const [low, high] = typeof time === 'number' ? [time, 0] : [time.low, time.high]
        const own = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
        const timeUnixNano = own === 0n ? BigInt(RECEIVED_AT) * 1_000_000n : own
        const attributes = { ...event.attributes }
        return {
          id: event.id,
          source: event.source,
          type: event.type,
          subject: event.subject,
          timeUnixNano,
          time: Number(timeUnixNano / 1_000_000n),
          value: event.value === null || Number.isNaN(event.value) ? undefined : event.value,
          data: Buffer.from(event.data ?? []).toString('hex'),
          datacontenttype: event.datacontenttype,
          attributes,
          region: attributes.region ?? '',
          declared: attributes.tier ?? '',
          unknown: '',
        }
      })
      assert.deepEqual(views, expected)
    }),
    { numRuns: 500 },
  )
})

test('data is a copy, and json() reads it', () => {
  const bytes = Frame.encode({
    events: [
      { source: 's', type: 't', data: Buffer.from('{"a":[1,"é"]}') },
      { source: 's', type: 't', data: Buffer.from('{') },
    ],
  }).finish()
  const kept: Uint8Array[] = []
  const { effects } = handle(bytes, [
    handler((event) => {
      kept.push(event.data)
      assert.deepEqual(event.json(), { a: [1, 'é'] })
    }),
  ])
  assert.equal(effects.letters.length, 1)
  assert.match(effects.letters[0].reason, /JSON/)
  bytes.fill(0)
  assert.equal(Buffer.from(kept[0]).toString(), '{"a":[1,"é"]}')
  const { from, to } = effects.letters[0]
  assert.ok(from > 0 && to === bytes.length)
})

test('strings that look alike are told apart, however many there are', () => {
  const subjects = Array.from({ length: 40_000 }, (_, i) => `s${i % 20_000}`)
  const bytes = Frame.encode({
    events: subjects.map((subject) => Event.create({ source: 's', type: 't', subject })),
  }).finish()
  const views: string[] = []
  handle(bytes, [handler((event) => void views.push(event.subject))])
  assert.deepEqual(views, subjects)
})
