// Whatever comes in gets its documented answer, and a good client beside it notices nothing.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { Client } from './client.ts'
import { Daemon, frame } from './daemon.ts'
import { goodNeighbour } from './neighbour.ts'

const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))])
/** A frame around the bytes of one event. */
const event = (...bytes: number[]) => Uint8Array.from([0x0a, ...varint(bytes.length), ...bytes])
const good = [...frame({}).subarray(2)]
const text = (field: number, value: string) => {
  const bytes = [...Buffer.from(value)]
  return [(field << 3) | 2, ...varint(bytes.length), ...bytes]
}
const times = (count: number, piece: string) => piece.repeat(count)

interface Case {
  name: string
  body: Uint8Array | string
  headers?: Record<string, string>
  status: number
  code?: string
  detail?: RegExp
}

const json = { 'content-type': 'application/json' }
const ndjson = { 'content-type': 'application/x-ndjson' }
const line = '{"source":"s","type":"t"}'

const cases: Case[] = [
  {
    name: 'a truncated frame',
    body: frame({ subject: 'abc' }).subarray(0, -2),
    status: 400,
    detail: /byte \d+/,
  },
  {
    name: 'a length past the end',
    body: Uint8Array.of(0x0a, 100, 1, 2),
    status: 400,
    detail: /event 1.*byte/,
  },
  { name: 'a group that does not end', body: event(...good, 0x0b, 0x08, 1), status: 400 },
  { name: 'the end of no group', body: event(...good, 0x0c), status: 400 },
  { name: 'field 0', body: event(...good, 0x02, 0x00), status: 400, detail: /event 1/ },
  { name: 'an 11-byte varint', body: event(...good, 0x50, ...Array(10).fill(0x80), 0x01), status: 400 },
  { name: 'a length of 2^31', body: Uint8Array.of(0x0a, 0x80, 0x80, 0x80, 0x80, 0x08), status: 400 },
  {
    name: 'a type of the wrong wire type',
    body: event(...text(2, 's'), 0x18, 0x01),
    status: 400,
    detail: /type/,
  },
  { name: 'an empty body', body: '', status: 400, detail: /no events/ },
  {
    name: 'an event without type',
    body: event(...text(2, 's')),
    status: 400,
    detail: /event 1: type is missing/,
  },
  { name: 'an event without source', body: event(...text(3, 't')), status: 400, detail: /event 1: source/ },
  {
    name: 'the second of two events without type',
    body: Buffer.concat([frame({}), event(...text(2, 's'))]),
    status: 400,
    detail: /event 2: type/,
  },
  {
    name: 'a subject of 1 MB',
    body: frame({ subject: times(1_000_000, 'x') }),
    status: 400,
    detail: /event 1: subject.*1000000.*1024/,
  },
  { name: 'a value of NaN', body: frame({ value: Number.NaN }), status: 400, detail: /event 1: value/ },
  {
    name: 'a value of Infinity',
    body: frame({ value: Number.NEGATIVE_INFINITY }),
    status: 400,
    detail: /event 1: value/,
  },
  {
    name: 'NaN in JSON',
    body: '{"source":"s","type":"t","value":"NaN"}',
    headers: json,
    status: 400,
    detail: /value/,
  },
  { name: 'no JSON', body: '{"source":', headers: json, status: 400, detail: /line 1/ },
  { name: 'JSON of another shape', body: '"text"', headers: json, status: 400 },
  {
    name: 'JSON with an unknown name',
    body: '{"source":"s","type":"t","sbuject":"x"}',
    headers: json,
    status: 400,
    detail: /did you mean subject/,
  },
  { name: 'no event in JSON', body: '[]', headers: json, status: 400, detail: /no events/ },
  {
    name: 'JSON nested 100,000 deep',
    body: `${times(100_000, '[')}${times(100_000, ']')}`,
    headers: json,
    status: 400,
  },
  {
    name: 'objects nested 100,000 deep',
    body: `${times(100_000, '{"data":')}1${times(100_000, '}')}`,
    headers: json,
    status: 400,
  },
  {
    name: 'a bad line of NDJSON',
    body: `${line}\n${line}\n{"source":1}\n`,
    headers: ndjson,
    status: 400,
    detail: /line 3/,
  },
  {
    name: 'a broken line of NDJSON',
    body: `${line}\n${line.slice(0, 9)}\n${line}`,
    headers: ndjson,
    status: 400,
    detail: /line 2/,
  },
  {
    name: 'the year 1',
    body: '{"source":"s","type":"t","time":"0001-01-01T00:00:00Z"}',
    headers: json,
    status: 400,
    detail: /time/,
  },
  {
    name: 'the year 9999',
    body: '{"source":"s","type":"t","time":"9999-12-31T23:59:59Z"}',
    headers: json,
    status: 400,
    detail: /time/,
  },
  {
    name: 'an unknown content type',
    body: 'a=1',
    headers: { 'content-type': 'text/plain' },
    status: 415,
    code: 'unsupported-media-type',
  },
  {
    name: 'a compressed body',
    body: 'x',
    headers: { 'content-encoding': 'gzip' },
    status: 415,
    code: 'unsupported-media-type',
  },
  {
    name: 'a producer without a sequence',
    body: frame({}),
    headers: { 'millrace-producer': 'p' },
    status: 400,
    detail: /millrace-sequence/,
  },
  {
    name: 'a sequence without a producer',
    body: frame({}),
    headers: { 'millrace-sequence': '1' },
    status: 400,
    detail: /millrace-producer/,
  },
  {
    name: 'a sequence that is no number',
    body: frame({}),
    headers: { 'millrace-producer': 'p', 'millrace-sequence': '-1' },
    status: 400,
    detail: /millrace-sequence/,
  },
  {
    name: 'a sequence past 2^53',
    body: frame({}),
    headers: { 'millrace-producer': 'p', 'millrace-sequence': '9007199254740992' },
    status: 400,
    detail: /2\^53/,
  },
  {
    name: 'a producer of 129 characters',
    body: frame({}),
    headers: { 'millrace-producer': times(129, 'p'), 'millrace-sequence': '1' },
    status: 400,
    detail: /128/,
  },
]

test('bad bodies get their answer, leave nothing behind, and disturb nobody', async (t) => {
  const daemon = await Daemon.start(t)
  const undisturbed = goodNeighbour(daemon)
  for (const { name, body, headers, status, code = 'malformed', detail } of cases) {
    await t.test(name, async () => {
      const response = await daemon.post(body, { ...headers, 'x-correlation-id': 'abc-1' })
      const problem = (await response.json()) as Record<string, unknown>
      assert.equal(response.status, status, JSON.stringify(problem))
      assert.equal(response.headers.get('content-type'), 'application/problem+json')
      assert.equal(response.headers.get('x-correlation-id'), 'abc-1')
      assert.equal(problem.code, code)
      assert.equal(problem.status, status)
      assert.equal(problem.correlationId, 'abc-1')
      if (detail !== undefined) assert.match(String(problem.detail), detail)
    })
  }
  await t.test('a body of 100 MB', async () => {
    const answer = await raw(daemon, async (write) => {
      await write(head(100 * 1024 * 1024))
      const piece = Buffer.alloc(1024 * 1024)
      for (let i = 0; i < 100; i++) await write(piece)
    })
    assert.match(answer, /^HTTP\/1.1 413 /)
    assert.match(answer, /"code":"too-large".*4194304/)
  })
  await t.test('a body of 5 MB that does not say its length', async () => {
    const answer = await raw(daemon, async (write) => {
      await write(head('chunked'))
      for (let i = 0; i < 5; i++) {
        await write(
          Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(1024 * 1024), Buffer.from('\r\n')]),
        )
      }
      await write('0\r\n\r\n')
    })
    assert.match(answer, /^HTTP\/1.1 (413|400) /)
  })
  await t.test('a wrong method and unknown routes', async () => {
    for (const [method, path, status, code] of [
      ['GET', '/v1/events', 405, 'wrong-method'],
      ['DELETE', '/v1/events', 405, 'wrong-method'],
      ['POST', '/v1/measures', 405, 'wrong-method'],
      ['GET', '/v1/event', 404, 'unknown-route'],
      ['GET', '/', 404, 'unknown-route'],
      ['GET', '/v1/measures/nothing', 404, 'unknown-route'],
      ['GET', '/v1/measures/by-subject?limit=0', 400, 'malformed'],
      ['GET', '/v1/measures/by-subject?from=yesterday', 400, 'malformed'],
      ['GET', '/v1/measures/by-subject?form=2026-01-01', 400, 'malformed'],
      ['GET', '/v1/measures/by-subject?cursor=%00', 400, 'malformed'],
      ['GET', '/v1/measures/by-subject/top?by=p99', 400, 'malformed'],
    ] as const) {
      const response = await fetch(daemon.http + path, { method })
      assert.equal(response.status, status, `${method} ${path}`)
      assert.equal(((await response.json()) as { code: string }).code, code, `${method} ${path}`)
    }
    const wrong = await fetch(`${daemon.http}/v1/events`)
    assert.equal(wrong.headers.get('allow'), 'POST')
  })

  await undisturbed()
})

test('odd and legal bodies are taken as they are', async (t) => {
  const daemon = await Daemon.start(t, {
    config: { measures: [{ name: 'by-subject', by: ['subject'], value: 'none', window: 'all' }] },
  })
  const subjects = ['a\u0000b', '\u{1f33e} mill', '', 'x'.repeat(1024)]
  for (const subject of subjects) {
    assert.equal((await daemon.post(frame({ subject }))).status, 202)
  }
  const withExtras = Buffer.concat([frame({ subject: 'extra' }), Uint8Array.of(0x78, 0x01)])
  assert.equal((await daemon.post(withExtras)).status, 202, 'unknown fields pass')
  const first = '{"source":"s","type":"t","subject":"first","time":"1970-01-01T00:00:00.000000001Z"}'
  const last = '{"source":"s","type":"t","subject":"last","time":"2554-07-21T23:34:33Z"}'
  assert.equal((await daemon.post(`[${first},${last}]`, json)).status, 202, 'the ends of time')
  await daemon.processed(7)
  const { rows } = await daemon.get('/v1/measures/by-subject')
  assert.deepEqual(
    rows.map((row: { key: string[] }) => row.key[0]).sort(),
    [...subjects, 'extra', 'first', 'last'].sort(),
  )
})

test('a body that comes in pieces, long after its headers, is taken', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const body = frame(
    ...Array.from({ length: 300 }, (_, i) => ({ subject: `s${i}`, data: new Uint8Array(100) })),
  )
  const answer = await raw(daemon, async (write) => {
    await write(head(body.length))
    for (let at = 0; at < body.length; at += 9000) {
      await daemon.status() // the one listener has had its turn: what was written so far has arrived
      await write(body.subarray(at, at + 9000))
    }
  })
  assert.match(answer, /^HTTP\/1.1 202 .*"accepted":300/s)
  assert.equal((await daemon.processed(300)).processed.events, 300)
})

test('a slow body that stops half way is cut off, and a client that goes away is forgotten', async (t) => {
  const daemon = await Daemon.start(t)
  const neighbour = new Client(daemon, 'neighbour', 1, { answerMs: 60_000 })
  const sending = neighbour.run()

  const { hostname, port } = new URL(daemon.http)
  const body = frame({ subject: 'gone' })
  for (let i = 0; i < 200; i++) {
    // Half of them leave in the middle of the body, half of them between the body and the answer.
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    const part = i % 2 === 0 ? body.subarray(0, body.length - 3) : body
    await new Promise((resolve) =>
      socket.write(Buffer.concat([Buffer.from(head(body.length)), part]), resolve),
    )
    socket.resetAndDestroy()
  }
  const started = Date.now()
  const answer = await raw(daemon, async (write) => {
    await write(head(body.length))
    await write(body.subarray(0, 10))
  })
  assert.equal(answer, '', 'the connection is closed without an answer')
  assert.ok(Date.now() - started < 60_000)

  neighbour.stop()
  await sending
  assert.equal(neighbour.retries, 0)
  const status = await daemon.until((now) => now.lag.events === 0)
  const gone = status.processed.events - neighbour.ackedEvents
  assert.ok(
    gone >= 0 && gone <= 100,
    `of 100 whole bodies without a listener to the answer, ${gone} were counted`,
  )
})

function head(length: number | 'chunked'): string {
  const framing = length === 'chunked' ? 'transfer-encoding: chunked' : `content-length: ${length}`
  return `POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n${framing}\r\n\r\n`
}

/** Sends over a bare connection; resolves with all that came back once an answer is whole or the connection ends. */
function raw(
  daemon: Daemon,
  send: (write: (data: Buffer | string | Uint8Array) => Promise<void>) => Promise<void>,
): Promise<string> {
  const { hostname, port } = new URL(daemon.http)
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) })
    let answer = ''
    let over = false
    const done = () => {
      over = true
      socket.destroy()
      resolve(answer)
    }
    socket.setEncoding('utf8').on('data', (data) => {
      answer += data
      if (answer.includes('}')) done()
    })
    socket.on('error', () => {})
    socket.on('close', done)
    const write = (data: Buffer | string | Uint8Array) =>
      new Promise<void>((resolve) => {
        if (over) resolve()
        else socket.write(data, () => resolve())
      })
    void send(write)
  })
}
