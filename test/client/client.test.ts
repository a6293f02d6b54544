// The client against a daemon that answers by a script: what is gathered, what waits, what is told.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Page, Row } from '../../src/client/answers.ts'
import { Client, type Event, MillraceError } from '../../src/client/index.ts'
import type { Timings } from '../../src/client/trace.ts'
import { CLIENT_CALLS_WAITING_MAX, EVENTS_PER_BODY_MAX } from '../../src/limits.ts'
import type { AnswerRow, RowsAnswer } from '../../src/results/query.ts'
import { decode, FakeDaemon, problem } from '../cli/fake.ts'
import { until } from '../until.ts'

const event = (subject: string): Event => ({ source: 's', type: 't', subject })
const code =
  (wanted: string, message = /./) =>
  (error: unknown) =>
    error instanceof MillraceError && error.code === wanted && message.test(error.message)

/** Answers that are held back until they are let go, each by its number. */
function held() {
  const waiting: (() => void)[] = []
  let open = false
  return {
    script: () => (open ? undefined : new Promise<void>((resolve) => waiting.push(resolve))),
    get count() {
      return waiting.length
    },
    release(number: number) {
      waiting[number]()
    },
    open() {
      open = true
      for (const answer of waiting) answer()
    },
  }
}

const subjects = (daemon: FakeDaemon) =>
  daemon.received.map(({ body }) =>
    decode(body)
      .map(({ subject }) => subject)
      .join(''),
  )

test('what is published in one turn goes together; while it is in flight, more gathers behind it', async (t) => {
  const hold = held()
  const daemon = await FakeDaemon.start(t, hold.script)
  const client = new Client({ url: daemon.url, batch: { delay: 60_000 } })
  for (const subject of 'abc') client.publish(event(subject))
  await until(() => hold.count === 1)
  for (const subject of 'de') client.publish(event(subject))
  await nextTurn()
  client.publish(event('f'))
  assert.equal(daemon.received.length, 1)
  hold.open()
  await client.flush()
  assert.deepEqual(subjects(daemon), ['abc', 'def'])
  await client.close()
})

test('a frame is closed at its number of events, and at its bytes', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const few = new Client({ url: daemon.url, batch: { events: 3 }, concurrency: 1 })
  await few.publish([...'abcdefgh'].map(event))
  assert.deepEqual(subjects(daemon), ['abc', 'def', 'gh'])
  await few.close()
  daemon.received.length = 0
  const small = new Client({ url: daemon.url, batch: { bytes: 1000 }, concurrency: 1 })
  await small.publish([...'abcdef'].map((subject) => ({ ...event(subject), data: new Uint8Array(400) })))
  assert.deepEqual(subjects(daemon), ['abc', 'def'])
  await small.close()
})

test('ready() resolves while a frame is open, or fewer are in flight than may be', async (t) => {
  const hold = held()
  const daemon = await FakeDaemon.start(t, hold.script)
  const client = new Client({ url: daemon.url, batch: { events: 2, delay: 60_000 }, concurrency: 2 })
  let ready = false
  const look = async () => {
    ready = false
    client.ready().then(() => {
      ready = true
    })
    await nextTurn()
    return ready
  }
  client.publish([event('a'), event('b')])
  assert.equal(await look(), true)
  client.publish(event('c'))
  assert.equal(await look(), true, 'a frame is open')
  client.publish(event('d'))
  assert.equal(await look(), false, 'two are in flight')
  const inLine = client.publish([event('e'), event('f'), event('g')])
  await until(() => hold.count === 2)
  hold.release(1)
  await until(() => hold.count === 3)
  assert.equal(ready, false, 'the line came first, and still waits')
  hold.open()
  await inLine
  assert.equal(await look(), true)
  assert.deepEqual(subjects(daemon), ['ab', 'cd', 'ef', 'g'])
  await client.close()
})

test('the line has an end', async (t) => {
  const hold = held()
  const daemon = await FakeDaemon.start(t, hold.script)
  const client = new Client({ url: daemon.url, batch: { events: EVENTS_PER_BODY_MAX }, concurrency: 1 })
  client.publish(event('in flight'))
  await until(() => hold.count === 1)
  for (let i = 0; i < CLIENT_CALLS_WAITING_MAX; i++) client.publish(event('x'))
  await assert.rejects(client.publish(event('y')), code('not-ready', /wait for ready\(\)/))
  hold.open()
  await assert.rejects(client.close(), code('not-ready'))
  assert.equal(client.stats.acked, 1 + CLIENT_CALLS_WAITING_MAX, 'who stood in line was served')
})

test('an array with a wrong event is refused as a whole, and does not touch others', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const client = new Client({ url: daemon.url })
  const good = client.publish(event('a'))
  const bad = client.publish([event('b'), { ...event('c'), value: Number.NaN }])
  await assert.rejects(bad, code('malformed', /^malformed: event 2: value is not a finite number$/))
  await assert.rejects(client.publish([]), code('malformed', /no events/))
  await assert.rejects(
    client.publish({ ...event('d'), data: new Uint8Array(5e6) }),
    code('too-large', /event 1/),
  )
  await good
  await assert.rejects(client.close(), code('malformed', /event 2/), 'the first failure is told')
  assert.deepEqual(subjects(daemon), ['a'])
})

test('a call that is taken back while it waits in line is not sent', async (t) => {
  const hold = held()
  const daemon = await FakeDaemon.start(t, hold.script)
  const client = new Client({ url: daemon.url, batch: { events: 1 }, concurrency: 1 })
  client.publish(event('a'))
  const controller = new AbortController()
  const waiting = client.publish(event('b'), { signal: controller.signal })
  client.publish(event('c'))
  controller.abort()
  await assert.rejects(waiting, code('aborted'))
  hold.open()
  await client.close()
  assert.deepEqual(subjects(daemon), ['a', 'c'])
})

test('after retries in vain, the error has the code of the last answer', async (t) => {
  const daemon = await FakeDaemon.start(t, () => problem(429, 'backlog-full', 'the log is full'))
  const client = new Client({ url: daemon.url, retryFor: 150 })
  const told = /^gave up after 150ms of trying again: backlog-full: the log is full$/
  await assert.rejects(client.publish(event('a')), code('backlog-full', told))
  assert.ok(client.stats.retries > 0)
  assert.equal(client.stats.unanswered, 1)
  await assert.rejects(client.close())
})

test('options that cannot be are refused where the client is made', () => {
  for (const [options, message] of [
    [{ url: 'nowhere' }, /url nowhere: an address such as/],
    [{ key: 'a b' }, /key: visible ASCII/],
    [{ producer: '' }, /producer: 1 to 128 visible ASCII/],
    [{ concurrency: 0 }, /concurrency 0: a whole number from 1/],
    [{ batch: { bytes: 2 ** 30 } }, /batch\.bytes .*: a whole number from 1 to 4194304/],
    [{ transport: 'stream', batch: { bytes: 2 ** 20 } }, /batch\.bytes .* to 524288/],
    [{ transport: 'grpc' }, /transport grpc: http or stream/],
  ] as const) {
    assert.throws(() => new Client(options as object), { name: 'RangeError', message })
  }
})

test('a trace tells the phases of each request, and a connection only where one was opened', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const traces: Timings[] = []
  const url = daemon.url.replace('127.0.0.1', 'localhost')
  const client = new Client({ url, concurrency: 1, trace: (timings) => traces.push(timings) })
  for (const subject of 'ab') await client.publish(event(subject))
  await client.close()
  assert.deepEqual(
    traces.map(({ connected, status }) => [connected, status]),
    [
      [true, 202],
      [false, 202],
    ],
  )
  for (const { queue, dns, tcp, tls, send, firstByte, rest, total, connected } of traces) {
    const sum = queue + dns + tcp + tls + send + firstByte + rest
    assert.ok(Math.abs(sum - total) < 0.001, `${sum} of ${total}`)
    for (const phase of [queue, dns, tcp, tls, send, rest]) assert.ok(phase >= 0)
    assert.ok(firstByte > 0)
    assert.equal(tls, 0)
    assert.equal(tcp > 0, connected)
  }
})

// Held when this is compiled: the answers that the client knows are those that the daemon makes.
const answers: [(page: RowsAnswer) => Page, (row: AnswerRow) => Row, (row: Row) => AnswerRow] = [
  (page) => page,
  (row) => row,
  (row) => row,
]
void answers
