// The client of applications, against the real daemon, through both doors.

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { Client, type ClientOptions, type Event, MillraceError } from '../../src/client/index.ts'
import { until } from '../until.ts'
import { atEnd, Daemon } from './daemon.ts'
import { random } from './random.ts'

const doors = ['http', 'stream'] as const
const KILLS = 4

function clientOf(t: TestContext, options: ClientOptions): Client {
  const client = new Client(options)
  const ended = () => client.close().catch(() => {})
  atEnd(t, ended)
  return client
}

/** With this code. */
const failure =
  (code: string, message = /./) =>
  (error: unknown) =>
    error instanceof MillraceError && error.code === code && message.test(error.message)

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

const event = (more: Partial<Event> = {}): Event => ({ source: 'test', type: 'test', subject: 's', ...more })

for (const transport of doors) {
  test(`${transport}: every field arrives, and single events share frames`, async (t) => {
    const daemon = await Daemon.start(t)
    const client = clientOf(t, { url: daemon.http, transport })
    const acks = await Promise.all([
      client.publish(event({ subject: 'a', value: 1, time: new Date('2026-05-01T12:00:10Z') })),
      client.publish(event({ subject: 'a', value: 2, time: '2026-05-01T14:00:20.5+02:00' })),
      client.publish([
        event({ subject: 'b', value: -3.5, time: 1_777_636_830_000_000_001n, data: { deep: [1] } }),
        event({ subject: 'ü', id: '7', data: 'text', attributes: { region: 'eu' } }),
        event({ data: new Uint8Array(1000), datacontenttype: 'application/octet-stream' }),
      ]),
    ])
    assert.deepEqual(
      acks.map(({ durability, accepted, sequence }) => [durability, accepted, sequence]),
      [
        ['fsynced', 5, 0],
        ['fsynced', 5, 0],
        ['fsynced', 5, 0],
      ],
    )
    assert.equal(acks[0].producer, client.producer)
    await daemon.processed(5)
    const rows = await all(client.rows('by-subject', { merge: true }))
    assert.deepEqual(
      rows.map(({ key, count, sum, windowStart }) => [key[0], count, sum, windowStart]).sort(),
      [
        ['a', 2, 3, '2026-05-01T12:00:00.000Z'],
        ['b', 1, -3.5, '2026-05-01T12:00:00.000Z'],
      ],
    )
    const { sent, acked, requests, retries } = client.stats
    assert.deepEqual({ sent, acked, requests, retries }, { sent: 5, acked: 5, requests: 1, retries: 0 })
  })

  test(`${transport}: all is counted once through ${KILLS} kills of the whole daemon`, async (t) => {
    const { between } = random(t)
    const daemon = await Daemon.start(t)
    const client = clientOf(t, { url: daemon.http, transport, batch: { events: 20 }, retryFor: 60_000 })
    let published = 0
    let stopped = false
    const publishing = (async () => {
      for (; !stopped; published++) {
        await client.ready()
        void client.publish(event({ subject: 'k', value: published }))
      }
    })()
    for (let kill = 0; kill < KILLS; kill++) {
      const target = client.stats.acked + between(1000, 20_000)
      await until(() => client.stats.acked >= target, 'acks')
      await daemon.killAll()
      await daemon.launch()
    }
    const target = client.stats.acked + 1000
    await until(() => client.stats.acked >= target, 'acks after the last start')
    stopped = true
    await publishing
    await client.close()
    assert.equal(client.stats.acked, published)
    const status = await daemon.processed(published)
    assert.equal(status.processed.events, published)
    const { rows } = await daemon.get('/v1/measures/by-subject?merge=true&key=k')
    assert.equal(rows[0].count, published)
    assert.equal(rows[0].sum, (published * (published - 1)) / 2)
    assert.ok(client.stats.retries > 0)
    t.diagnostic(`${published} events, ${client.stats.requests} bodies, ${client.stats.retries} sent again`)
  })

  test(`${transport}: a stopped processor makes ready() wait, and nothing is lost when it goes on`, async (t) => {
    const log = { retention: { maxBytes: '128MiB' } }
    const daemon = await Daemon.start(t, { config: { log } })
    const client = clientOf(t, { url: daemon.http, transport, concurrency: 4 })
    const { roles } = await daemon.status()
    const processor = roles.find(({ role }) => role === 'processor')!.pid
    process.kill(processor, 'SIGSTOP')
    atEnd(t, () => process.kill(processor, 'SIGCONT'))
    const data = new Uint8Array(1000)
    let published = 0
    let going = true
    const publishing = (async () => {
      for (; going; published++) {
        await client.ready()
        void client.publish(event({ value: 1, data }))
      }
    })()
    // Each try waits for the second that the daemon asks for.
    await until(() => client.stats.retries >= 8, 'frames that are sent again in vain')
    const held = published - client.stats.acked
    assert.ok(held * 1000 <= 5 * 256 * 1024, `${held} events are held`)
    assert.ok(process.memoryUsage().rss < 400 * 2 ** 20)
    going = false
    process.kill(processor, 'SIGCONT')
    await publishing
    await client.flush()
    assert.equal(client.stats.acked, published)
    assert.equal((await daemon.processed(published)).processed.events, published)
  })

  test(`${transport}: close sends what waits, and takes nothing more`, async (t) => {
    const daemon = await Daemon.start(t)
    const client = new Client({
      url: daemon.http,
      transport,
      concurrency: 2,
      batch: { events: 10, delay: 60_000 },
    })
    const acks = Array.from({ length: 105 }, () => client.publish(event()))
    const closing = client.close()
    await assert.rejects(client.publish(event()), failure('closed'))
    await closing
    await Promise.all(acks)
    assert.equal((await daemon.processed(105)).processed.duplicates.events, 0)
    await client.close()
  })

  test(`${transport}: without the right key, every call hears so`, async (t) => {
    const sha256 = '2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b' // of "secret"
    const auth = { keys: [{ name: 'app', sha256, scopes: ['publish'] }] }
    const daemon = await Daemon.start(t, { config: { auth } })
    const wrong = clientOf(t, { url: daemon.http, transport, key: 'wrong' })
    const both = [wrong.publish(event()), wrong.publish([event(), event()])]
    for (const refused of both)
      await assert.rejects(refused, failure('unauthenticated', /this key is not known/))
    assert.equal(wrong.stats.refused, 3)
    await assert.rejects(wrong.flush(), failure('unauthenticated'))
    await wrong.flush()
    const right = clientOf(t, { url: daemon.http, transport, key: 'secret' })
    assert.equal((await right.publish(event())).durability, 'fsynced')
    await assert.rejects(right.status(), failure('out-of-scope'))
  })

  test(`${transport}: a body that is refused fails alone, and those behind it go on`, async (t) => {
    const daemon = await Daemon.start(t)
    const client = clientOf(t, { url: daemon.http, transport })
    const bad = {
      bytes: Buffer.from([0x0a, 0x03, 0x12, 0x01, 0x78]),
      events: 1,
      type: 'application/x-protobuf',
    } as const
    const outcomes = await Promise.allSettled([
      client.publish(event()),
      client.publishBody(bad),
      client.publish(event()),
      client.publishBody(bad),
      client.publish(event()),
    ])
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
    )
    const sequences = outcomes.map((one) => (one.status === 'fulfilled' ? one.value.sequence : undefined))
    assert.deepEqual(sequences, [0, undefined, 2, undefined, 4], 'each has its own, also the refused')
    const { reason } = outcomes[1] as PromiseRejectedResult
    assert.ok(failure('malformed', /^malformed: event 1: type is missing/)(reason), String(reason))
    assert.equal(reason.status, 400)
    assert.equal(typeof reason.correlationId, 'string')
    assert.equal((await daemon.processed(3)).accepted.events, 3)
  })

  test(`${transport}: an abort gives up what is in flight, at once`, async (t) => {
    const server = createServer(() => {}) // takes connections and says nothing
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const { port } = server.address() as { port: number }
    const controller = new AbortController()
    const options = { concurrency: 1, batch: { events: 1 }, signal: controller.signal }
    const client = new Client({ url: `http://127.0.0.1:${port}`, transport, ...options })
    const inFlight = client.publish(event())
    const inLine = client.publish(event())
    const own = new AbortController()
    const takenBack = client.publish(event(), { signal: own.signal })
    own.abort(new Error('changed my mind'))
    await assert.rejects(takenBack, failure('aborted'))
    controller.abort()
    await assert.rejects(inFlight, failure('aborted'))
    await assert.rejects(inLine, failure('aborted'))
    await client.ready()
    await assert.rejects(client.publish(event()), failure('aborted'))
    await assert.rejects(client.close(), failure('aborted'))
    assert.equal(client.stats.sent, 1)
  })

  test(`${transport}: a daemon that is not there is told at once`, async (t) => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    const client = clientOf(t, { url: `http://127.0.0.1:${port}`, transport })
    await assert.rejects(
      client.publish(event()),
      failure('unreachable', /connection refused.*is the daemon running/),
    )
    await assert.rejects(client.status(), failure('unreachable'))
  })
}

test('a stream keeps the order of what is published, through lost connections', async (t) => {
  const daemon = await Daemon.start(t)
  const client = clientOf(t, { url: daemon.http, transport: 'stream', batch: { events: 1 }, concurrency: 64 })
  const sequences: number[] = []
  for (let i = 0; i < 2000; i++) {
    await client.ready()
    client.publish(event({ value: i })).then(({ sequence }) => sequences.push(sequence))
    if (i === 1000)
      for (const { role, pid } of (await daemon.status()).roles)
        if (role === 'listener') process.kill(pid, 'SIGKILL')
  }
  await client.flush()
  assert.deepEqual(
    sequences,
    Array.from({ length: 2000 }, (_, i) => i),
  )
  assert.equal((await daemon.processed(2000)).processed.events, 2000)
})

test('questions: measures, all pages of rows, the first keys, the status', async (t) => {
  const measures = [{ name: 'm', by: ['subject', 'attributes.n'], window: '1m' }]
  const daemon = await Daemon.start(t, { config: { measures } })
  const client = clientOf(t, { url: daemon.http })
  const start = Date.parse('2026-05-01T00:00:00Z')
  const events = Array.from({ length: 2500 }, (_, i) =>
    event({
      subject: `s${i % 10}`,
      value: i,
      attributes: { n: String(i) },
      time: new Date(start + i * 60_000),
    }),
  )
  await client.publish(events)
  await daemon.processed(2500)
  const rows = await all(client.rows('m'))
  assert.equal(rows.length, 2500)
  assert.equal(new Set(rows.map(({ key }) => key[1])).size, 2500)
  const some = await client.page('m', {
    key: 's3',
    from: new Date(start),
    to: '2026-05-01T01:00:00Z',
    limit: 2,
  })
  assert.deepEqual(
    some.rows.map(({ key }) => key),
    [
      ['s3', '13'],
      ['s3', '23'],
    ],
  )
  assert.equal(typeof some.cursor, 'string')
  assert.deepEqual(
    (await client.page('m', { key: ['s3', '13'] })).rows[0].windowStart,
    '2026-05-01T00:13:00.000Z',
  )
  const [first] = await client.top('m', { by: 'max', limit: 1 })
  assert.deepEqual([first.key, first.max], [['s9', '2499'], 2499])
  assert.deepEqual(
    (await client.measures()).map(({ name, window }) => [name, window]),
    [['m', 60_000]],
  )
  assert.equal((await client.status()).processed.events, 2500)
  await assert.rejects(client.page('n'), failure('unknown-route'))
  await assert.rejects(client.status({ signal: AbortSignal.abort() }), failure('aborted'))
})
