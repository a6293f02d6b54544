// The WebSocket door from outside: what docs/stream.md says, and that nobody's fault is a neighbour's.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { clientFrame } from '../../bench/stream-client.ts'
import { STREAM_MESSAGE_BYTES_MAX, STREAM_PAYLOAD_BYTES_MAX, STREAMS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { Client } from './client.ts'
import { assertCounted, untilAcked } from './counted.ts'
import { atEnd, Daemon, frame } from './daemon.ts'
import { random } from './random.ts'
import { type Handshake, RawStream } from './raw-stream.ts'
import { StreamClient } from './stream-client.ts'

const MB_MAX = 400

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

const logs = {
  embedded: {},
  memory: { kind: 'memory' },
  'embedded, 4 partitions': { partitions: 4, retention: { maxBytes: '512MiB' } },
  'memory, 4 partitions': { kind: 'memory', partitions: 4 },
}

for (const [name, log] of Object.entries(logs)) {
  test(`${name}: what is sent again after lost connections is neither lost nor doubled`, async (t) => {
    const { between, pick, seed } = random(t)
    const daemon = await Daemon.start(t, { config: { log } })
    const clients = [0, 1, 2].map((i) => new StreamClient(daemon, `stream-${i}`, seed + i))
    const sending = clients.map((client) => client.run())
    for (let drop = 0; drop < 60; drop++) {
      await untilAcked(clients, between(1, 100))
      pick(clients).drop()
    }
    await untilAcked(clients, 100)
    for (const client of clients) client.stop()
    await Promise.all(sending)
    assert.ok(clients.some(({ resent }) => resent > 0))
    await assertCounted(daemon, clients)
  })
}

test('a stream without a producer counts all it sends, and says how durable it is', async (t) => {
  const daemon = await Daemon.start(t)
  const stream = await RawStream.open(t, daemon, { headers: { 'x-correlation-id': 'order-9' } })
  assert.equal(stream.status, 101)
  assert.match(stream.head, /sec-websocket-protocol: millrace\.v1/)
  assert.doesNotMatch(stream.head, /sec-websocket-extensions/)
  const { sequence, durability, maxMessage, correlationId } = stream.hello!
  assert.deepEqual(
    { sequence, durability, maxMessage, correlationId },
    { sequence: 0, durability: 'fsynced', maxMessage: STREAM_MESSAGE_BYTES_MAX, correlationId: 'order-9' },
  )
  stream.send(...Array.from({ length: 1000 }, () => frame({ subject: 'a' }, { subject: 'a' })))
  await until(() => stream.durable === 1000, 'the acks')
  assert.ok(stream.acks < 1000, 'one ack covers many messages')
  // In fragments, with a ping between them.
  const whole = clientFrame(frame({ subject: 'a' }))
  const mask = whole.subarray(2, 6)
  const payload = whole.subarray(6)
  const parts = [payload.subarray(0, 4), payload.subarray(4)]
  await stream.raw(Buffer.concat([Buffer.from([0x02, 0x80 | 4]), mask, parts[0]]))
  await stream.raw(Buffer.from([0x89, 0x80, 1, 2, 3, 4]))
  await stream.raw(Buffer.concat([Buffer.from([0x80, 0x80 | parts[1].length]), mask, parts[1]]))
  await until(() => stream.durable === 1001, 'the ack of a message in fragments')
  assert.equal((await daemon.processed(2001)).processed.events, 2001)
})

const sha256 = (key: string) => createHash('sha256').update(key).digest('hex')

test('a handshake that is not right is answered as any request over HTTP', async (t) => {
  const keys = [
    { name: 'app', sha256: sha256('secret'), scopes: ['publish', 'query'] },
    { name: 'reader', sha256: sha256('reader'), scopes: ['query'] },
  ]
  const daemon = await Daemon.start(t, { config: { auth: { keys } } })
  const authorization = 'Bearer secret'
  const cases: [name: string, handshake: Handshake, status: number, code: string][] = [
    ['no key', {}, 401, 'unauthenticated'],
    ['an unknown key', { headers: { authorization: 'Bearer wrong' } }, 401, 'unauthenticated'],
    ['a key without the scope', { headers: { authorization: 'Bearer reader' } }, 403, 'out-of-scope'],
    [
      'a page in a browser',
      { headers: { authorization, origin: 'https://example.org' } },
      403,
      'out-of-scope',
    ],
    [
      'no sub-protocol',
      { headers: { authorization, 'sec-websocket-protocol': undefined } },
      400,
      'malformed',
    ],
    [
      'a later sub-protocol',
      { headers: { authorization, 'sec-websocket-protocol': 'millrace.v2' } },
      400,
      'malformed',
    ],
    ['another WebSocket', { headers: { authorization, 'sec-websocket-version': '8' } }, 400, 'malformed'],
    [
      'a producer without a sequence',
      { headers: { authorization, 'millrace-producer': 'p' } },
      400,
      'malformed',
    ],
    [
      'a sequence without a producer',
      { headers: { authorization, 'millrace-sequence': '1' } },
      400,
      'malformed',
    ],
    [
      'a sequence past 2^53',
      { headers: { authorization, 'millrace-producer': 'p', 'millrace-sequence': '9007199254740992' } },
      400,
      'malformed',
    ],
    ['no WebSocket', { headers: { authorization, 'sec-websocket-key': undefined } }, 426, 'upgrade-required'],
    ['another method', { method: 'POST', headers: { authorization } }, 426, 'upgrade-required'],
  ]
  for (const [name, handshake, status, code] of cases) {
    await t.test(name, async () => {
      const headers = { 'x-correlation-id': 'abc-1', ...handshake.headers }
      const stream = await RawStream.open(t, daemon, { ...handshake, headers })
      assert.equal(stream.status, status)
      assert.match(stream.head, /content-type: application\/problem\+json/)
      assert.match(stream.head, /x-correlation-id: abc-1/)
      const problem = JSON.parse(stream.body)
      assert.equal(problem.code, code)
      assert.equal(problem.status, status)
      await stream.over()
    })
  }
  const offers = 'other, millrace.v1'
  const stream = await RawStream.open(t, daemon, {
    headers: { authorization, 'sec-websocket-protocol': offers },
  })
  assert.equal(stream.status, 101)
})

test('bad messages end their stream as documented, leave nothing behind, and disturb nobody', async (t) => {
  const daemon = await Daemon.start(t)
  const neighbours = [new StreamClient(daemon, 'neighbour', 1), new Client(daemon, 'http', 2)]
  const sending = neighbours.map((neighbour) => neighbour.run())
  const good = frame({ subject: 'good' })
  const refused: [name: string, bytes: Uint8Array, code: string, close: number, detail: RegExp][] = [
    ['a frame cut off', clientFrame(good.subarray(0, -2)), 'malformed', 4400, /event 1.*byte/],
    ['an event without type', clientFrame(frame({ type: '' })), 'malformed', 4400, /event 1: type/],
    ['random bytes', clientFrame(Buffer.from('garbage garbage')), 'malformed', 4400, /./],
    ['an empty message', clientFrame(Buffer.alloc(0)), 'malformed', 4400, /no events/],
    ['text', Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]), 'unsupported-media-type', 4415, /binary/],
    [
      'a message past maxMessage',
      clientFrame(frame({ data: new Uint8Array(STREAM_MESSAGE_BYTES_MAX) })),
      'too-large',
      4413,
      /524288 at most/,
    ],
  ]
  let taken = 0
  for (const [name, bytes, code, close, detail] of refused) {
    await t.test(name, async () => {
      const stream = await RawStream.open(t, daemon)
      const whole = clientFrame(good)
      await stream.raw(Buffer.concat([whole, whole, whole, bytes, whole, whole]))
      await stream.over()
      taken += 3
      assert.equal(stream.durable, 3, 'what came before it is durable')
      assert.equal(stream.error!.sequence, 3, 'and what comes behind it is not taken')
      assert.equal(stream.error!.error.code, code)
      assert.equal(4000 + stream.error!.error.status, close)
      assert.match(stream.error!.error.detail, detail)
      assert.equal(stream.error!.error.correlationId, stream.hello!.correlationId)
      assert.deepEqual([stream.code, stream.reason], [close, code])
    })
  }
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(STREAM_PAYLOAD_BYTES_MAX + 1))
  const cut: [name: string, bytes: Uint8Array][] = [
    [
      'a message that announces far too much',
      Buffer.concat([Buffer.from([0x82, 0xff]), size, Buffer.alloc(100)]),
    ],
    ['a reserved opcode', Buffer.from([0x83, 0x80, 0, 0, 0, 0])],
    ['a reserved bit', Buffer.from([0xc2, 0x80, 0, 0, 0, 0])],
    ['a fragmented ping', Buffer.from([0x09, 0x80, 0, 0, 0, 0])],
    ['the middle of no message', Buffer.from([0x80, 0x80, 0, 0, 0, 0])],
  ]
  for (const [name, bytes] of cut) {
    await t.test(`cut off: ${name}`, async () => {
      const stream = await RawStream.open(t, daemon)
      await stream.raw(bytes)
      await stream.over()
      assert.equal(stream.code, undefined)
    })
  }
  await daemon.line(({ code, detail }) => code === 'too-large' && /1048576/.test(String(detail)))

  await untilAcked(neighbours, 100)
  for (const neighbour of neighbours) neighbour.stop()
  await Promise.all(sending)
  const [stream, http] = neighbours as [StreamClient, Client]
  assert.equal(stream.reconnects, 0, 'the good stream was never refused or cut off')
  assert.equal(http.retries, 0)
  const events = taken + stream.ackedEvents + http.ackedEvents
  const status = await daemon.processed(events)
  assert.equal(status.processed.events, events, 'refused messages left nothing behind')
  assert.deepEqual(
    status.roles.map(({ restarts }) => restarts),
    [0, 0, 0, 0],
  )
})

test('a client that sends without credit is refused, and others notice nothing', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const neighbour = new StreamClient(daemon, 'neighbour', 1)
  const sending = neighbour.run()
  await untilAcked([neighbour], 10)
  const stream = await RawStream.open(t, daemon)
  const body = frame({ data: new Uint8Array(400_000) })
  const granted = stream.credit.bytes
  // Acks grant more meanwhile: it goes on until it has outrun them.
  const some = Buffer.concat(Array.from({ length: 5 }, () => clientFrame(body)))
  while (stream.error === undefined && !stream.closed) {
    await stream.raw(some)
    await setImmediate()
  }
  await stream.over()
  assert.equal(stream.error!.error.code, 'over-credit')
  assert.deepEqual([stream.code, stream.reason], [4400, 'over-credit'])
  assert.equal(stream.durable, stream.error!.sequence)
  assert.ok(stream.durable * body.length >= granted, 'all that was within the credit is durable')
  await untilAcked([neighbour], 100)
  neighbour.stop()
  await sending
  assert.equal(neighbour.reconnects, 0)
  const events = neighbour.ackedEvents + stream.durable
  assert.equal((await daemon.processed(events)).processed.events, events)
})

test('a client that never reads its acks is refused in the end, and holds no memory', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const { roles } = await daemon.status()
  const listener = roles.find(({ role }) => role === 'listener')!.pid
  const neighbour = new StreamClient(daemon, 'neighbour', 1)
  const sending = neighbour.run()
  const stream = await RawStream.open(t, daemon)
  stream.deafen()
  const some = Buffer.concat(Array.from({ length: 100 }, () => clientFrame(frame({}))))
  let flooding = true
  const flood = async () => {
    while (flooding && !stream.closed) {
      await stream.raw(some)
      await setImmediate() // what the system takes at once would let nothing else here have its turn
    }
  }
  const flooded = flood()
  await daemon.line(({ code }) => code === 'over-credit')
  assert.ok(residentMb(listener) < MB_MAX, `${residentMb(listener)} MB`)
  const before = neighbour.acked
  await until(() => neighbour.acked > before + 50, 'the neighbour to go on')
  flooding = false
  stream.destroy()
  await flooded
  neighbour.stop()
  await sending
  assert.equal(neighbour.reconnects, 0)
})

test('as many streams as there may be, each with a message that does not end: memory is bounded', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const neighbour = new StreamClient(daemon, 'neighbour', 1)
  const sending = neighbour.run()
  await untilAcked([neighbour], 10)
  const { roles } = await daemon.status()
  const listener = roles.find(({ role }) => role === 'listener')!.pid
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  head.writeBigUInt64BE(BigInt(STREAM_PAYLOAD_BYTES_MAX), 2)
  const most = Buffer.concat([head, Buffer.alloc(STREAM_PAYLOAD_BYTES_MAX - 100)])
  const streams: RawStream[] = []
  // A stream that is silent for STREAM_IDLE_SECONDS_MAX is cut off, and all of them are to be there at once.
  const more = setInterval(() => {
    for (const stream of streams) void stream.raw(Buffer.alloc(1))
  }, 10_000)
  atEnd(t, () => clearInterval(more))
  for (let i = 0; i < STREAMS_MAX - 1; i++) {
    const stream = await RawStream.open(t, daemon)
    assert.equal(stream.status, 101)
    streams.push(stream)
    await stream.raw(most)
  }
  const beyond = await RawStream.open(t, daemon)
  assert.equal(beyond.status, 429)
  assert.match(beyond.head, /retry-after: 1/)
  assert.equal(JSON.parse(beyond.body).code, 'overloaded')
  const mb = residentMb(listener)
  assert.ok(mb < MB_MAX, `${mb} MB`)
  clearInterval(more)
  for (const stream of streams) stream.destroy()
  await untilAcked([neighbour], 100)
  neighbour.stop()
  await sending
  assert.equal(neighbour.reconnects, 0)
  assert.equal((await daemon.post(frame({}))).status, 202)
})

test('SIGTERM answers what streams have in flight, says goodbye with 1001, and they go on after a restart', async (t) => {
  const daemon = await Daemon.start(t)
  const clients = [1, 2, 3].map((n) => new StreamClient(daemon, `stream-${n}`, n))
  const sending = clients.map((client) => client.run())
  const idle = await RawStream.open(t, daemon)
  idle.send(frame({ subject: 'idle' }))
  await until(() => idle.durable === 1, 'its ack')
  await untilAcked(clients, 300)
  daemon.signal('SIGTERM')
  assert.deepEqual(await daemon.exited(), { code: 0, signal: null })
  await idle.over()
  assert.equal(idle.error!.error.code, 'draining')
  assert.equal(idle.error!.sequence, 1)
  assert.equal(idle.code, 1001)
  await daemon.launch()
  await untilAcked(clients, 100)
  for (const client of clients) client.stop()
  await Promise.all(sending)
  const events = clients.reduce((sum, client) => sum + client.ackedEvents, 1)
  assert.equal((await daemon.processed(events)).processed.events, events)
})

for (const kind of ['embedded', 'memory']) {
  test(`${kind}: a full log refuses with 4429, names the message to go on with, and recovers`, async (t) => {
    const config = { log: { kind, retention: { maxBytes: '128MiB' } }, cluster: { listeners: 1 } }
    const daemon = await Daemon.start(t, { config })
    const { roles } = await daemon.status()
    const processor = roles.find(({ role }) => role === 'processor')!.pid
    process.kill(processor, 'SIGSTOP')
    atEnd(t, () => process.kill(processor, 'SIGCONT'))
    const body = frame(...Array.from({ length: 100 }, () => ({ subject: 's', data: new Uint8Array(1000) })))
    const headers = (sequence: number) => ({
      'millrace-producer': 'p',
      'millrace-sequence': String(sequence),
    })
    const stream = await RawStream.open(t, daemon, { headers: headers(0) })
    let [sent, bytes] = [0, 0]
    while (!stream.closed) {
      for (; sent < stream.credit.messages && bytes < stream.credit.bytes; sent++) {
        stream.send(body)
        bytes += body.length
      }
      const { acks } = stream
      await until(() => stream.acks > acks || stream.closed, 'an ack')
    }
    const { error, sequence, retryAfter } = stream.error!
    assert.equal(error.code, 'backlog-full')
    assert.equal(retryAfter, 1)
    assert.equal(stream.code, 4429)
    assert.equal(sequence, stream.durable)
    assert.ok(sequence * body.length > 16 * 2 ** 20, `${sequence} messages fitted`)
    for (const { pid } of roles) assert.ok(residentMb(pid) < MB_MAX, `${pid} has ${residentMb(pid)} MB`)

    process.kill(processor, 'SIGCONT')
    await daemon.processed(sequence * 100)
    const resumed = await RawStream.open(t, daemon, { headers: headers(sequence) })
    assert.equal(resumed.hello!.sequence, sequence)
    resumed.send(body, body)
    await until(() => resumed.durable === sequence + 2, 'the acks')
    const events = (sequence + 2) * 100
    assert.equal((await daemon.processed(events)).processed.events, events)
  })
}

test('a key that may send so many events a second is refused with 4429 beyond', async (t) => {
  const keys = [
    { name: 'app', sha256: sha256('secret'), scopes: ['publish', 'query'], eventsPerSecond: 10 },
    { name: 'reader', sha256: sha256('reader'), scopes: ['query'] },
  ]
  const daemon = await Daemon.start(t, { config: { auth: { keys }, cluster: { listeners: 1 } } })
  const stream = await RawStream.open(t, daemon, { headers: { authorization: 'Bearer secret' } })
  const sentAt = performance.now()
  stream.send(...Array.from({ length: 100 }, () => frame({})))
  await stream.over()
  const seconds = (performance.now() - sentAt) / 1000
  assert.equal(stream.error!.error.code, 'rate-limited')
  assert.equal(stream.code, 4429)
  const { durable } = stream
  assert.ok(durable >= 10 && durable <= 10 + Math.floor(seconds * 10), `${durable} in ${seconds} s`)
})
