// CloudEvents as the SDK sends them, through the real daemon and back out of the tap.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CloudEvent, HTTP } from 'cloudevents'
import { Daemon, frame } from './daemon.ts'
import { goodNeighbour } from './neighbour.ts'
import { type Shown, TapClient } from './tap-client.ts'

const structuredType = 'application/cloudevents+json; charset=utf-8'
const batchType = 'application/cloudevents-batch+json'

/** Without what the tap adds. */
function sent(shown: Shown): Shown {
  const { millracecorrelation, millracereceived, ...event } = shown
  assert.match(String(millracecorrelation), /^\S+$/)
  assert.match(String(millracereceived), /^\d{4}-\d\d-\d\dT/)
  return event
}

const events: CloudEvent<unknown>[] = [
  new CloudEvent({
    id: 'json',
    source: '/greenhouse',
    type: 'temperature',
    subject: 'bed-1',
    data: { celsius: 21.5 },
  }),
  new CloudEvent({
    id: 'all',
    source: 'https://example.com/a?b=c#d',
    type: 'com.example.all',
    subject: 'Grüße %25 "x"',
    time: '2026-05-01T12:30:00.250Z',
    dataschema: 'https://example.com/schema.json',
    datacontenttype: 'application/json',
    data: [1, 'two', null, { three: 3 }],
    flag: true,
    count: 42,
    word: '42',
    value: 7,
  }),
  new CloudEvent({ id: 'text', source: '/s', type: 't', datacontenttype: 'text/plain', data: 'line\nline' }),
  new CloudEvent({ id: 'xml', source: '/s', type: 't', datacontenttype: 'application/xml', data: '<a/>' }),
  new CloudEvent({
    id: 'bytes',
    source: '/s',
    type: 't',
    datacontenttype: 'image/png',
    data: Uint8Array.of(0x89, 0x50, 0),
  }),
  new CloudEvent({
    id: 'json bytes',
    source: '/s',
    type: 't',
    datacontenttype: 'application/json',
    data: new Uint8Array(Buffer.from('{}')),
  }),
  new CloudEvent({ id: 'string', source: '/s', type: 't', data: '{"not":"parsed"}' }),
  new CloudEvent({ id: 'null', source: '/s', type: 't', data: null }),
  new CloudEvent({ id: 'nothing', source: '/s', type: 't' }),
]

test('what the SDK emits is accepted and comes back from the tap equal, in all modes', async (t) => {
  const daemon = await Daemon.start(t)
  const tap = await TapClient.open(t, daemon)
  const post = async (headers: Record<string, unknown>, body: unknown, accepted: number) => {
    const response = await fetch(`${daemon.http}/v1/events`, {
      method: 'POST',
      headers: headers as never,
      body: body as never,
    })
    assert.deepEqual(await response.json(), { accepted, durability: 'fsynced' })
  }

  await t.test('structured', async () => {
    for (const event of events) {
      const { headers, body } = HTTP.structured(event)
      await post(headers, body, 1)
    }
    await tap.until(() => tap.events.length === events.length)
    // Through different listeners, so perhaps in another order.
    const back = new Map(tap.events.splice(0).map((shown) => [shown.id, sent(shown)]))
    for (const event of events) {
      const { body } = HTTP.structured(event)
      assert.deepEqual(back.get(event.id), JSON.parse(body as string))
      const read = HTTP.toEvent({
        headers: { 'content-type': structuredType },
        body: JSON.stringify(back.get(event.id)),
      })
      assert.deepEqual(read, HTTP.toEvent({ headers: { 'content-type': structuredType }, body }))
    }
  })

  await t.test('batched', async () => {
    await post({ 'content-type': batchType }, JSON.stringify(events), events.length)
    await tap.until(() => tap.events.length === events.length)
    const back = tap.events.splice(0).map(sent)
    assert.deepEqual(back, JSON.parse(JSON.stringify(events)))
    assert.deepEqual(
      HTTP.toEvent({ headers: { 'content-type': batchType }, body: JSON.stringify(back) }),
      HTTP.toEvent({ headers: { 'content-type': batchType }, body: JSON.stringify(events) }),
    )
    await post({ 'content-type': batchType }, '[]', 0)
  })

  await t.test('binary', async () => {
    const headerSafe = events.filter(({ subject }) => subject === undefined || /^[!-~]*$/.test(subject))
    for (const event of headerSafe) {
      const { headers, body } = HTTP.binary(event)
      await post(headers as Record<string, unknown>, body, 1)
    }
    await tap.until(() => tap.events.length === headerSafe.length)
    const back = new Map(tap.events.splice(0).map((shown) => [shown.id, sent(shown)]))
    for (const event of headerSafe) {
      const { id, source, type, subject, time, datacontenttype = 'application/json; charset=utf-8' } = event
      const attributes = { specversion: '1.0', id, source, type, subject, time, datacontenttype }
      const { data, data_base64, ...shown } = back.get(id)!
      assert.deepEqual(shown, JSON.parse(JSON.stringify(attributes)))
      const isBytes = ArrayBuffer.isView(event.data)
      if (isBytes && id !== 'json bytes') assert.equal(data_base64, event.data_base64)
      else if (id === 'json bytes') assert.deepEqual(data, {}, 'in binary mode, JSON is JSON')
      else if (id === 'string') assert.deepEqual(data, { not: 'parsed' }, 'which is what stood in the body')
      else assert.deepEqual(data, event.data)
    }
  })

  await t.test('binary, with what has to be encoded in a header', async () => {
    const headers = {
      'content-type': 'application/x-protobuf',
      'ce-specversion': '1.0',
      'ce-id': 'p',
      'ce-source': '/s',
      'ce-type': 't',
    }
    await post({ ...headers, 'ce-subject': 'Gr%C3%BC%C3%9Fe' }, frame({}), 1)
    await tap.until(() => tap.events.length === 1)
    const { subject, datacontenttype, data_base64 } = tap.events[0]
    assert.deepEqual(
      { subject, datacontenttype, data_base64 },
      {
        subject: 'Grüße',
        datacontenttype: 'application/x-protobuf',
        data_base64: frame({}).toString('base64'),
      },
      'a CloudEvent whose data is protobuf is not taken for a frame',
    )
  })
})

test('value of a CloudEvent is measured', async (t) => {
  const daemon = await Daemon.start(t)
  const headers = { 'content-type': batchType }
  const event = {
    specversion: '1.0',
    id: '1',
    source: '/s',
    type: 't',
    subject: 'bed',
    time: '2026-05-01T12:30:00Z',
  }
  await daemon.post(JSON.stringify([{ ...event, value: 2 }, { ...event, value: '2.5' }, event]), headers)
  await daemon.processed(3)
  const { rows } = await daemon.get('/v1/measures/by-subject?key=bed')
  assert.deepEqual([rows[0].count, rows[0].sum], [2, 4.5])
})

const event = { specversion: '1.0', id: '1', source: '/s', type: 't' }
const text = (over: object) => JSON.stringify({ ...event, ...over })
const ce = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' }
const structured = { 'content-type': structuredType }
const batch = { 'content-type': batchType }

const cases: [
  name: string,
  body: string | Uint8Array,
  headers: Record<string, string>,
  status: number,
  detail: RegExp,
][] = [
  ['no JSON', '{"specversion":', structured, 400, /line 1, column 16: not JSON/],
  ['not UTF-8', Uint8Array.of(0x7b, 0x22, 0xff), structured, 400, /line 1: this is not UTF-8/],
  ['an empty body', '', structured, 400, /not JSON/],
  ['a batch in structured mode', `[${text({})}]`, structured, 400, /an array.*cloudevents-batch\+json/],
  ['an event in batched mode', text({}), batch, 400, /an object.*cloudevents\+json/],
  [
    'another version',
    text({ specversion: '0.3' }),
    structured,
    400,
    /event 1: specversion is "0.3": "1.0" is understood/,
  ],
  ['no version', '{"id":"1","source":"s","type":"t"}', structured, 400, /event 1: specversion is missing/],
  ['an empty id', text({ id: '' }), structured, 400, /event 1: id must not be empty/],
  ['no source', text({ source: null }), structured, 400, /event 1: source is missing/],
  [
    'the third of three without type',
    `[${text({})},${text({})},${text({ type: null })}]`,
    batch,
    400,
    /event 3: type is missing/,
  ],
  ['a name that is none', text({ 'my-name': 1 }), structured, 400, /event 1: "my-name" is no attribute/],
  [
    'an attribute that is an object',
    text({ ext: {} }),
    structured,
    400,
    /event 1: ext must be .* not an object/,
  ],
  ['data twice', text({ data: 1, data_base64: 'AA==' }), structured, 400, /event 1: data and data_base64/],
  ['no base64', text({ data_base64: 'a' }), structured, 400, /event 1: data_base64 is not base64/],
  ['no time', text({ time: 'noon' }), structured, 400, /event 1: time "noon" is not RFC 3339/],
  [
    'data nested 100,000 deep',
    text({ data: 0 }).replace(':0', `:${'['.repeat(1e5)}${']'.repeat(1e5)}`),
    structured,
    400,
    /event 1: data is nested too deep/,
  ],
  [
    'a batch of 100,001',
    `[${Array(100_001).fill(0)}]`,
    batch,
    400,
    /the batch has 100001 events, 100000 at most/,
  ],
  [
    'another event format',
    'x',
    { 'content-type': 'application/cloudevents+avro' },
    415,
    /cloudevents\+avro: one of/,
  ],
  [
    'binary without id',
    'x',
    { 'ce-specversion': '1.0', 'ce-source': '/s', 'ce-type': 't' },
    400,
    /^ce-id is missing/,
  ],
  [
    'binary without version',
    'x',
    { 'content-type': 'text/plain', 'ce-id': '1', 'ce-specversion': '' },
    400,
    /^ce-specversion is missing/,
  ],
  ['binary of another version', 'x', { ...ce, 'ce-specversion': '2.0' }, 400, /ce-specversion is "2.0"/],

  [
    'a type said twice',
    'x',
    { ...ce, 'ce-datacontenttype': 'text/plain' },
    400,
    /ce-datacontenttype.*content-type/,
  ],
  [
    'a broken encoding',
    'x',
    { ...ce, 'ce-subject': '%zz' },
    400,
    /ce-subject: the percent-encoding is broken/,
  ],
  [
    'an encoding that is not UTF-8',
    'x',
    { ...ce, 'ce-subject': '%C0%A0' },
    400,
    /ce-subject: the percent-encoding is broken/,
  ],
  [
    'a header that is not ASCII',
    'x',
    { ...ce, 'ce-subject': 'Gr\xfc\xdfe' },
    400,
    /ce-subject: .*percent-encoded/,
  ],
  ['a header with a bad name', 'x', { ...ce, 'ce-my-name': 'x' }, 400, /"ce-my-name" is no attribute/],
]

test('bad CloudEvents get their answer, leave nothing behind, and disturb nobody', async (t) => {
  const daemon = await Daemon.start(t)
  const undisturbed = goodNeighbour(daemon)
  for (const [name, body, headers, status, detail] of cases) {
    await t.test(name, async () => {
      const response = await daemon.post(body, {
        'content-type': 'application/octet-stream',
        ...headers,
        'x-correlation-id': 'abc-1',
      })
      const problem = (await response.json()) as Record<string, unknown>
      assert.equal(response.status, status, JSON.stringify(problem))
      assert.equal(problem.code, status === 415 ? 'unsupported-media-type' : 'malformed')
      assert.equal(problem.correlationId, 'abc-1')
      assert.match(String(problem.detail), detail)
    })
  }
  await undisturbed()
})
