// The gRPC door, asked by a client in another language (grpcurl), by grpc-js, and by one that speaks only HTTP/2.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:http2'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { type Metadata, status } from '@grpc/grpc-js'
import { Pool } from 'undici'
import { grpc, millrace } from '#service'
import { fetchGrpcurl } from '../../scripts/grpcurl.ts'
import { atEnd, Daemon, type DaemonOptions, frame } from './daemon.ts'
import { type AckStream, endOf, GrpcClient, problemOf, StreamingClient } from './grpc-client.ts'

const config = { grpc: {} }
const event = { source: 'test', type: 'test', subject: 's', value: 2 }

async function setUp(t: TestContext, more: DaemonOptions['config'] = {}) {
  const daemon = await Daemon.start(t, { config: { ...config, ...more } })
  const client = new GrpcClient(daemon.grpc)
  atEnd(t, () => client.close())
  return { daemon, client }
}

/** Runs grpcurl with these words; resolves with what it wrote, rejects with what it complained of. */
async function grpcurl(...words: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(await fetchGrpcurl(), [
    '-plaintext',
    '-max-time',
    '20',
    ...words,
  ])
  return stdout
}

const refused = (code: status, problem: string) => (error: Error & { code: status; metadata: Metadata }) => {
  assert.equal(error.code, code, error.message)
  assert.equal(problemOf(error), problem, error.message)
  assert.match(String(error.metadata.get('millrace-correlation-id')[0]), /^[!-~]+$/)
  return true
}

/** Sends these frames, says that there are no more, and resolves with the last ack and how it ended. */
async function streamed(stream: AckStream, frames: Uint8Array[]) {
  let last: millrace.v1.PublishAck | undefined
  stream.on('data', (ack) => {
    last = ack
  })
  const end = endOf(stream)
  for (const one of frames) stream.write(Buffer.from(one))
  stream.end()
  const ended = await end
  return { ...ended, sequence: Number(last?.sequence), accepted: Number(last?.accepted) }
}

test('grpcurl needs no proto files: it lists, describes, publishes, streams and asks', async (t) => {
  const { daemon } = await setUp(t)
  const { grpc } = daemon
  assert.deepEqual((await grpcurl(grpc, 'list')).trim().split('\n'), [
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'millrace.v1.Ingest',
    'millrace.v1.Query',
  ])
  assert.match(await grpcurl(grpc, 'describe', 'millrace.v1.Event'), /map<string, string> attributes = 9;/)
  assert.match(await grpcurl(grpc, 'grpc.health.v1.Health/Check'), /"SERVING"/)

  const one = JSON.stringify({ events: [{ ...event, attributes: { region: 'eu' } }] })
  const published = JSON.parse(await grpcurl('-d', one, grpc, 'millrace.v1.Ingest/Publish'))
  assert.deepEqual(published, { accepted: '1', durability: 'fsynced' })
  const acks = await grpcurl('-d', `${one} ${one} ${one}`, grpc, 'millrace.v1.Ingest/PublishStream')
  assert.match(acks, /"sequence": "3",\s+"accepted": "3"\s+\}\s*$/)

  await daemon.processed(4)
  const asked = JSON.stringify({
    measure: 'by-subject',
    key: ['s'],
    merge: true,
    from: '2020-01-01T00:00:00Z',
  })
  const { rows } = JSON.parse(await grpcurl('-d', asked, grpc, 'millrace.v1.Query/Rows'))
  const http = await daemon.get('/v1/measures/by-subject?key=s&merge=true')
  assert.deepEqual(
    { ...rows[0], windowStart: Date.parse(rows[0].windowStart), windowEnd: Date.parse(rows[0].windowEnd) },
    {
      ...http.rows[0],
      count: String(http.rows[0].count),
      windowStart: Date.parse(http.rows[0].windowStart),
      windowEnd: Date.parse(http.rows[0].windowEnd),
    },
  )
  const top = '{"measure":"by-subject","by":"SUM"}'
  assert.equal(JSON.parse(await grpcurl('-d', top, grpc, 'millrace.v1.Query/Top')).rows[0].sum, 8)
  const measures = JSON.parse(await grpcurl(grpc, 'millrace.v1.Query/Measures')).measures
  assert.deepEqual([measures[0].name, measures[0].windowMs], ['by-subject', '60000'])
  const told = JSON.parse(await grpcurl(grpc, 'millrace.v1.Query/Status'))
  assert.deepEqual([told.accepted.events, told.processed.events], ['4', '4'])
  assert.ok(told.roles.some(({ role }: { role: string }) => role === 'gateway'))
  assert.equal((await daemon.status()).accepted.events, 4, 'HTTP counts what came here too')
})

test('what is refused has its code and leaves nothing behind, and others go on', async (t) => {
  const keys = [
    { name: 'all', sha256: sha256('all'), scopes: ['publish', 'query'] },
    { name: 'asks', sha256: sha256('asks'), scopes: ['query'] },
  ]
  const { daemon, client } = await setUp(t, { auth: { keys }, http: { maxBody: '64KiB' } })
  const all = { authorization: 'Bearer all' }
  const good = client.stream(all)
  let acked = 0
  good.on('data', ({ sequence }) => {
    acked = Number(sequence)
  })

  await assert.rejects(client.publish(frame({})), refused(status.UNAUTHENTICATED, 'unauthenticated'))
  const asks = { authorization: 'Bearer asks' }
  await assert.rejects(client.publish(frame({}), asks), refused(status.PERMISSION_DENIED, 'out-of-scope'))
  const garbage = Buffer.from([255, 255, 255, 255, 255, 255, 255])
  await assert.rejects(client.publish(garbage, all), refused(status.INVALID_ARGUMENT, 'malformed'))
  await assert.rejects(client.publish(Buffer.alloc(0), all), refused(status.INVALID_ARGUMENT, 'malformed'))
  const named = { ...all, 'millrace-producer': 'p', 'millrace-sequence': '-1' }
  await assert.rejects(client.publish(frame({}), named), refused(status.INVALID_ARGUMENT, 'malformed'))
  const large = frame({ data: Buffer.alloc(65_000) }, { data: Buffer.alloc(1000) })
  await assert.rejects(client.publish(large, all), { code: status.RESOURCE_EXHAUSTED })
  const ask = (request: millrace.v1.RowsRequest.$Properties) =>
    client.call('/millrace.v1.Query/Rows', millrace.v1.RowsRequest.encode(request).finish(), all)
  await assert.rejects(ask({ measure: 'by-subjct' }), refused(status.NOT_FOUND, 'unknown-route'))
  await assert.rejects(
    ask({ measure: 'by-subject', limit: 1e6 }),
    refused(status.INVALID_ARGUMENT, 'malformed'),
  )
  await assert.rejects(
    client.call('/millrace.v1.Query/Rows', garbage, all),
    refused(status.INVALID_ARGUMENT, 'malformed'),
  )
  await assert.rejects(grpcurl(daemon.grpc, 'millrace.v1.Ingest/Unpublish'), /does not include a method/)
  await assert.rejects(client.call('/millrace.v1.Ingest/No' as never, garbage, all), {
    code: status.UNIMPLEMENTED,
  })

  // A stream: what came before is acknowledged, what comes behind is not looked at.
  const broken = await streamed(client.stream(all), [frame(event), frame(event), garbage, frame(event)])
  assert.equal(broken.code, status.INVALID_ARGUMENT)
  assert.deepEqual([problemOf(broken), broken.sequence, broken.accepted], ['malformed', 2, 2])
  assert.equal(broken.metadata.get('millrace-sequence')[0], '2')
  const huge = await streamed(client.stream(all), [frame({ data: Buffer.alloc(70_000) })])
  assert.equal(huge.code, status.RESOURCE_EXHAUSTED)

  good.write(frame(event, event))
  while (acked < 1) await new Promise((resolve) => good.once('data', resolve))
  const ended = endOf(good)
  good.end()
  assert.equal((await ended).code, status.OK)
  const counted = async () => {
    const response = await fetch(`${daemon.http}/v1/status`, { headers: all })
    return (await response.json()) as Awaited<ReturnType<Daemon['status']>>
  }
  let now = await counted()
  while (now.processed.events < 4 || now.lag.events > 0) now = await counted()
  assert.deepEqual([now.accepted.events, now.processed.events], [4, 4], 'nothing of what was refused')
  assert.ok(now.roles.every(({ restarts }) => restarts === 0))
})

test('no call can make the gateway hold more than was foreseen for it', async (t) => {
  const { daemon, client } = await setUp(t)
  const gzip = new GrpcClient(daemon.grpc, { 'grpc.default_compression_algorithm': 2 })
  atEnd(t, () => gzip.close())
  // 3 MiB that are 3 KiB on their way: a piece of what comes in may hold many of them.
  const inflating = frame({ data: Buffer.alloc(3 * 2 ** 20) })
  await assert.rejects(gzip.publish(inflating), refused(status.UNIMPLEMENTED, 'unsupported-media-type'))
  const { code, metadata, sequence } = await streamed(gzip.stream(), [inflating, inflating])
  assert.equal(code, status.UNIMPLEMENTED)
  assert.equal(problemOf({ metadata }), 'unsupported-media-type')
  assert.ok(Number.isNaN(sequence), 'not even the first ack')
  await client.publish(inflating) // as it is

  const service = (bytes: number) =>
    grpc.health.v1.HealthCheckRequest.encode({ service: 'x'.repeat(bytes) }).finish()
  const check = (bytes: number) => client.call('/grpc.health.v1.Health/Check', service(bytes))
  await assert.rejects(check(60_000), { code: status.NOT_FOUND })
  await assert.rejects(check(70_000), { code: status.RESOURCE_EXHAUSTED })
  const rows = millrace.v1.RowsRequest.encode({ measure: 'x'.repeat(70_000) }).finish()
  await assert.rejects(client.call('/millrace.v1.Query/Rows', rows), { code: status.RESOURCE_EXHAUSTED })
  assert.equal((await daemon.processed(1)).processed.events, 1)
})

test('what a stream sends is shown by the tap with the id that its client was told', async (t) => {
  const { client } = await setUp(t)
  const tap = client.tap(millrace.v1.TapRequest.encode({ rate: 1000 }).finish())
  const seen: string[] = []
  tap.on('data', ({ events }: millrace.v1.TapResponse) => {
    for (const text of events) seen.push(JSON.parse(text).millracecorrelation)
  })
  await new Promise((resolve) => tap.once('metadata', resolve))
  const given = await streamed(client.stream({ 'x-correlation-id': 'given' }), [frame(event)])
  const made = await streamed(client.stream(), [frame(event), frame(event)])
  while (seen.length < 3) await new Promise((resolve) => tap.once('data', resolve))
  const told = [given, made, made].map(({ metadata }) => String(metadata.get('millrace-correlation-id')[0]))
  assert.equal(told[0], 'given')
  assert.deepEqual(seen, told)
  const refusal = await streamed(client.stream({ 'x-correlation-id': 'refused' }), [Buffer.from([255])])
  assert.equal(refusal.metadata.get('millrace-correlation-id')[0], 'refused')
  assert.match(String(refusal.metadata.get('grpc-status-details-bin')[0]), /correlationId.*refused/s)
  tap.on('error', () => {})
  tap.cancel()
})

test('what a key may send is shared by the listeners, and holds at the gateway once more', async (t) => {
  const perSecond = 2000
  const keys = ['one', 'many'].map((name) => {
    return { name, sha256: sha256(name), scopes: ['publish'], eventsPerSecond: perSecond }
  })
  const { daemon, client } = await setUp(t, { auth: { keys } })
  const body = frame(...Array.from({ length: 100 }, () => event))
  /** Events that are taken of twice as many as a second allows, and what may have been earned meanwhile. */
  const taken = async (send: () => Promise<boolean>) => {
    const started = performance.now()
    let events = 0
    for (let n = 0; n < (2 * perSecond) / 100; n++) if (await send()) events += 100
    return { events, earned: ((performance.now() - started) / 1000) * perSecond + 100 }
  }
  const kept = new Pool(daemon.http, { connections: 1 })
  atEnd(t, () => kept.destroy())
  const post = async (authorization: string, reset: boolean) => {
    const headers = { authorization, 'content-type': 'application/x-protobuf' }
    const answer = await kept.request({ path: '/v1/events', method: 'POST', headers, body, reset })
    await answer.body.dump()
    return answer.statusCode === 202
  }
  const one = await taken(() => post('Bearer one', false))
  assert.ok(one.events >= perSecond / 2 && one.events <= perSecond / 2 + one.earned, JSON.stringify(one))
  const many = await taken(() => post('Bearer many', true)) // a connection each
  assert.ok(many.events > perSecond / 2 && many.events <= perSecond + many.earned, JSON.stringify(many))
  const more = await taken(() =>
    client.publish(body, { authorization: 'Bearer many' }).then(
      () => true,
      () => false,
    ),
  )
  assert.ok(more.events >= perSecond && more.events <= perSecond + more.earned, JSON.stringify(more))
})

test('a deadline that passes is told, and the frame sent again counts once', async (t) => {
  const { daemon, client } = await setUp(t)
  await client.publish(frame(event))
  const { roles } = await daemon.status()
  const { pid } = roles.find(({ role }) => role === 'gateway')!
  const named = { 'millrace-producer': 'p', 'millrace-sequence': '0' }
  process.kill(pid, 'SIGSTOP')
  try {
    await assert.rejects(client.publish(frame(event), named, Date.now() + 200), {
      code: status.DEADLINE_EXCEEDED,
    })
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await client.publish(frame(event), named)
  await client.publish(frame(event), named)
  const { processed } = await daemon.until(
    (now) => now.processed.duplicates.events >= 1 && now.lag.events === 0,
  )
  assert.equal(processed.events, 2)
})

test('a client that never reads its acks costs no memory, and all of it is counted', async (t) => {
  const { daemon } = await setUp(t)
  const FRAMES = 3000
  const message = grpcMessage(frame({ ...event, data: Buffer.alloc(60_000) }))
  const { pid } = (await daemon.status()).roles.find(({ role }) => role === 'gateway')!
  // A window of 64 bytes takes a handful of acks; the connection's own could hold all of them.
  const session = connect(`http://${daemon.grpc}`, { settings: { initialWindowSize: 64 } })
  atEnd(t, () => session.destroy())
  const stream = session.request({
    ':method': 'POST',
    ':path': '/millrace.v1.Ingest/PublishStream',
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  stream.on('error', () => {})
  let mostMb = 0
  const beforeMb = await residentMb(pid)
  for (let n = 0; n < FRAMES; n++) {
    if (!stream.write(message)) await new Promise((resolve) => stream.once('drain', resolve))
    if (n % 100 === 0) mostMb = Math.max(mostMb, await residentMb(pid))
  }
  await daemon.processed(FRAMES)
  mostMb = Math.max(mostMb, await residentMb(pid))
  console.log(
    `# ${FRAMES} frames of 60 kB: ${beforeMb.toFixed(0)} MB before, ${mostMb.toFixed(0)} MB at most`,
  )
  assert.ok(mostMb < beforeMb + 100, `${mostMb} MB`)
  // It reads at last: the newest ack is there.
  const acks: Buffer[] = []
  stream.on('data', (data: Buffer) => acks.push(data))
  const ended = new Promise<Record<string, unknown>>((resolve) => stream.on('trailers', resolve))
  stream.end()
  assert.equal((await ended)['grpc-status'], '0')
  const bytes = Buffer.concat(acks)
  let last: Buffer = Buffer.alloc(0)
  let count = 0
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1), count++) {
    last = bytes.subarray(at + 5, at + 5 + bytes.readUInt32BE(at + 1))
  }
  assert.equal(Number(millrace.v1.PublishAck.decode(last).sequence), FRAMES)
  assert.ok(count < FRAMES / 2, `${count} acks were kept for it`)
})

test('a drain is told to who watches, answers what was sent, and ends streams with the reason', async (t) => {
  const { daemon, client } = await setUp(t)
  const streaming = new StreamingClient(daemon, 'streaming', 1)
  const sending = streaming.run()
  await daemon.until(() => streaming.ackedEvents > 0)
  const statuses: number[] = []
  const watched = (async () => {
    for await (const { status } of client.watch()) {
      statuses.push(status)
      if (statuses.length === 1) daemon.signal('SIGTERM')
    }
  })()
  await watched
  assert.deepEqual(statuses, [1, 2], 'serving, not serving')
  assert.deepEqual(await daemon.exited(), { code: 0, signal: null })
  await daemon.launch()
  streaming.stop()
  await sending
  assert.deepEqual([...streaming.errors], ['draining'])
  assert.equal((await daemon.processed(streaming.ackedEvents)).processed.events, streaming.ackedEvents)
})

test('a tap shows what comes at any door, and a pattern that cannot be is refused', async (t) => {
  const { daemon, client } = await setUp(t)
  await client.publish(frame(event)) // before: not seen
  const wanted = millrace.v1.TapRequest.encode({ type: 'wanted.*', rate: 1000 }).finish()
  const tap = client.tap(wanted)
  const seen: string[] = []
  tap.on('data', ({ events }: millrace.v1.TapResponse) => {
    for (const text of events) seen.push(JSON.parse(text).id)
  })
  await new Promise((resolve) => tap.once('metadata', resolve))
  await client.publish(frame({ ...event, type: 'wanted.a', id: 'grpc' }, { ...event, id: 'other' }))
  await daemon.post(frame({ ...event, type: 'wanted.b', id: 'http' }))
  while (seen.length < 2) await new Promise((resolve) => tap.once('data', resolve))
  assert.deepEqual(seen.sort(), ['grpc', 'http'])
  const impossible = client.tap(millrace.v1.TapRequest.encode({ type: 'a*b' }).finish())
  const end = await new Promise<{ code: status; metadata: Metadata }>((resolve) => {
    impossible.on('error', () => {})
    impossible.on('status', resolve)
  })
  assert.deepEqual([end.code, problemOf(end)], [status.INVALID_ARGUMENT, 'malformed'])
  tap.on('error', () => {})
  tap.cancel()
})

test('a gateway by itself takes events over gRPC and answers queries at both ports', async (t) => {
  const { daemon } = await setUp(t)
  const alone = await Daemon.start(t, { config, dataDir: daemon.dataDir, roles: 'gateway' })
  const client = new GrpcClient(alone.grpc)
  atEnd(t, () => client.close())
  await client.publish(frame(event, event))
  await alone.processed(2)
  assert.equal((await alone.get('/v1/measures/by-subject')).rows[0].count, 2)
  assert.equal((await alone.post(frame(event))).status, 404, 'over HTTP it takes none')
  const without = await Daemon.start(t, { config: { grpc: 'none' } })
  assert.ok((await without.status()).roles.every(({ role }) => role !== 'gateway'))
})

function grpcMessage(payload: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(payload.length, 1)
  return Buffer.concat([head, payload])
}

function sha256(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

async function residentMb(pid: number): Promise<number> {
  const pages = (await readFile(`/proc/${pid}/statm`, 'utf8')).split(' ')[1]
  return (Number(pages) * 4096) / 2 ** 20
}
