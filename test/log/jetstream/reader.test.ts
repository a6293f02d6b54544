import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Config } from '../../../src/config/config.ts'
import { FETCH_BYTES_MAX, STALL_MS_MAX } from '../../../src/limits.ts'
import { JetStreamPublisher } from '../../../src/log/jetstream/publisher.ts'
import { JetStreamReader } from '../../../src/log/jetstream/reader.ts'
import { LogFull, LogUnavailable } from '../../../src/log/log.ts'
import { atEnd, temporaryFolder } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import { aside, configOf, numbered, ownServer, servers, Told, Writer } from './server.ts'

async function openPublisher(t: TestContext, config: Config): Promise<JetStreamPublisher> {
  const publisher = await JetStreamPublisher.open(config, new Told())
  atEnd(t, () => publisher.close())
  return publisher
}

async function openReader(t: TestContext, config: Config, partition = 0) {
  const told = new Told()
  const reader = await JetStreamReader.open(config, partition, told)
  atEnd(t, () => reader.close())
  return { reader, told, lane: await reader.lane() }
}

async function manager(t: TestContext, addresses: string[]) {
  return (await aside(t, addresses)).jetstreamManager()
}

/** Publishes and waits for the confirmations. */
async function send(
  publisher: JetStreamPublisher,
  writer: Writer,
  names: string[],
  bytes = 0,
  partition = 0,
) {
  await Promise.all(names.map((name) => publisher.publish(partition, writer.segment(name, bytes))))
}

test('what is published is read in order, byte for byte, with its numbers', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const publisher = await openPublisher(t, config)
  const { reader, lane } = await openReader(t, config)
  const { created } = await (await manager(t, addresses)).streams.info(config.log.jetstream.stream)
  assert.equal(lane, `jetstream:${config.log.jetstream.stream}:${Date.parse(created)}`)
  const reading = new Reading(reader)
  const writer = new Writer()
  const segments = [0, 1, 511, 4096, 65_536, 1_048_576, 3_000_000].map((bytes, i) =>
    writer.segment(`n${i}`, bytes),
  )
  for (const segment of segments) await publisher.publish(0, segment)
  await reading.count(segments.length)
  reading.entries.forEach((entry, i) => {
    assert.ok(entry.bytes.equals(segments[i].bytes), `segment ${i}`)
    assert.equal(entry.lane, lane)
    assert.equal(entry.next, i + 2) // the stream's own numbers begin with 1
  })
  assert.deepEqual(await reader.bounds(), { first: 1, next: segments.length + 1 })
  assert.deepEqual(reader.finished(), [])
  await reading.stop()
})

test('a reader reads its partition only, from its position on, and what comes later', async (t) => {
  const config = configOf(t, await servers(), { partitions: 2 })
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  const names = numbered(40)
  for (const [i, name] of names.entries()) await publisher.publish(i % 2, writer.segment(name))
  const odd = names.filter((_, i) => i % 2 === 1)
  const { reader } = await openReader(t, config, 1)
  const first = new Reading(reader)
  await first.count(20)
  await first.stop()
  assert.deepEqual(first.names, odd)
  const again = new Reading(reader)
  await again.count(20)
  await again.stop()
  assert.deepEqual(again.entries, first.entries)
  const { reader: other } = await openReader(t, config, 1)
  const rest = new Reading(other, first.position(8))
  await rest.count(12)
  await publisher.publish(1, writer.segment('later'))
  await rest.count(13)
  await rest.stop()
  assert.deepEqual(rest.names, [...odd.slice(8), 'later'])
})

test('reading goes on exactly where it was, however often the server is killed', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const publisher = await openPublisher(t, config)
  const { reader, told } = await openReader(t, config)
  const reading = new Reading(reader)
  const writer = new Writer()
  let sent = 0
  for (let round = 0; round < 4; round++) {
    const sending = send(publisher, writer, numbered(500, sent), 5000)
    sent += 500
    await reading.until(() => reading.entries.length > sent - 400)
    await nats.restart()
    await sending
    await until(() => publisher.away === undefined)
  }
  await reading.count(sent)
  await reading.stop()
  assert.deepEqual([...reading.names].sort(), numbered(sent).sort())
  const nexts = reading.entries.map(({ next }) => next)
  assert.deepEqual(
    nexts,
    nexts.map((_, i) => i + 2),
  )
  await until(() => told.all.length >= 8 && told.isBack)
  assert.deepEqual([told.lost, told.foreign, told.notices], [[], [], []])
})

test('a stopped server is told of, and reading goes on when it does', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const publisher = await openPublisher(t, config)
  const { reader, told } = await openReader(t, config)
  const reading = new Reading(reader)
  const writer = new Writer()
  await send(publisher, writer, numbered(3))
  await reading.count(3)
  nats.pause()
  await until(() => told.all.length > 0)
  await assert.rejects(reader.bounds(), LogUnavailable)
  nats.resume()
  await until(() => publisher.away === undefined)
  await send(publisher, writer, numbered(3, 3))
  await reading.count(6)
  await reading.stop()
  assert.deepEqual(reading.names, numbered(6))
  await until(() => told.isBack)
})

test('reading goes on when somebody removes the consumer', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const { stream } = config.log.jetstream
  const publisher = await openPublisher(t, config)
  const { reader } = await openReader(t, config)
  const reading = new Reading(reader)
  const writer = new Writer()
  await send(publisher, writer, numbered(5))
  await reading.count(5)
  const { consumers } = await manager(t, addresses)
  for await (const { name } of consumers.list(stream)) await consumers.delete(stream, name)
  const began = performance.now()
  await send(publisher, writer, numbered(5, 5))
  await reading.count(10)
  assert.ok(performance.now() - began < STALL_MS_MAX, 'the server says so: no silence is waited for')
  await reading.stop()
  assert.deepEqual(reading.names, numbered(10))
  // What a reading leaves behind is nothing.
  await until(async () => (await consumers.list(stream).next()).length === 0)
})

test('a reader that is not asked fetches no more than its bound', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const publisher = await openPublisher(t, config)
  await send(publisher, new Writer(), numbered(400), 100_000)
  const { reader } = await openReader(t, config)
  const entries = reader.read(new Map(), new AbortController().signal)[Symbol.asyncIterator]()
  await entries.next()
  const received = async () => {
    const response = await fetch(`${nats.monitor}/connz`)
    const { connections } = (await response.json()) as { connections: { out_bytes: number }[] }
    return Math.max(...connections.map(({ out_bytes }) => out_bytes))
  }
  // Settled: much has come, and for many looks nothing more.
  let last = 0
  for (let same = 0; same < 20; ) {
    const now = await received()
    same = now === last && now > FETCH_BYTES_MAX / 2 ? same + 1 : 0
    last = now
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.ok(last <= FETCH_BYTES_MAX * 1.02 + 65_536, `${last} bytes`)
  for (let read = 1; read < 400; read++) await entries.next()
  await entries.return?.(undefined)
})

test('a segment that is larger than what is fetched ahead is read, among small ones', async (t) => {
  const config = configOf(t, await servers(), { maxBody: 12 * 2 ** 20 })
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  const sizes = [10, 11_000_000, 10, 10, 5_000_000, 12_000_000, 9_000_000, 100]
  for (const [i, bytes] of sizes.entries()) await publisher.publish(0, writer.segment(`n${i}`, bytes))
  const { reader } = await openReader(t, config)
  const reading = new Reading(reader)
  await reading.count(sizes.length)
  await reading.stop()
  assert.deepEqual(reading.names, numbered(sizes.length))
})

test('what is committed makes room in a full stream', async (t) => {
  const config = configOf(t, await servers(), { maxBytes: 32 * 2 ** 20 })
  const publisher = await openPublisher(t, config)
  const { reader, told } = await openReader(t, config)
  const reading = new Reading(reader)
  const writer = new Writer()
  let sent = 0
  const fill = async () => {
    for (;;) {
      await publisher.publish(0, writer.segment(`n${sent}`, 500_000))
      sent++
    }
  }
  await assert.rejects(fill, LogFull)
  await reading.count(sent)
  await assert.rejects(publisher.publish(0, writer.segment('refused', 500_000)), LogFull)
  reader.committed(reading.position(sent))
  await until(() =>
    publisher.publish(0, writer.segment('after', 500_000)).then(
      () => true,
      (error: unknown) => {
        assert.ok(error instanceof LogFull, `${error}`)
        return false
      },
    ),
  )
  await reading.count(sent + 1)
  await reading.stop()
  assert.deepEqual(reading.names, [...numbered(sent), 'after'])
  const { first } = await reader.bounds()
  assert.ok(first > sent * 0.4 && first < sent * 0.6, `${first} of ${sent}: half of the budget is kept`)
  assert.deepEqual(told.lost, [])
})

test('what is committed and too old goes; others and the newest stay, and nobody takes that for a loss', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 2, maxAge: 1000 })
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  await send(publisher, writer, ['a0', 'a1'], 0, 0)
  await send(publisher, writer, numbered(20), 0, 1)
  const quiet = await openReader(t, config, 0)
  const quietly = new Reading(quiet.reader)
  await quietly.count(2)
  await quietly.stop()
  const { reader } = await openReader(t, config, 1)
  const reading = new Reading(reader)
  await reading.count(20)
  // History takes what is read in one 64th of maxAge for one.
  const readAt = performance.now()
  await until(() => performance.now() > readAt + config.log.retention.maxAge / 32)
  await send(publisher, writer, ['newest'], 0, 1)
  await reading.count(21)
  reader.committed(reading.position(21))
  const { streams } = await manager(t, addresses)
  const { stream } = config.log.jetstream
  await until(async () => (await streams.info(stream)).state.messages === 3)
  const left = [1, 2, 23].map((seq) => streams.getMessage(stream, { seq }))
  assert.deepEqual(
    (await Promise.all(left)).map(({ subject }) => subject),
    [`${stream}.0`, `${stream}.0`, `${stream}.1`],
  )
  // The quiet partition is trimmed too; its position is far below the stream's next number.
  quiet.reader.committed(quietly.position(2))
  const again = new Reading(quiet.reader, quietly.position(2))
  await send(publisher, writer, ['a2'], 0, 0)
  await again.count(1)
  await again.stop()
  await reading.stop()
  assert.deepEqual(again.names, ['a2'])
  assert.deepEqual([quiet.told.lost, quiet.told.notices], [[], []])
})

test('what somebody else removed before it was read is told as lost', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  await send(publisher, writer, numbered(10))
  const { reader, told, lane } = await openReader(t, config)
  const { streams } = await manager(t, addresses)
  await streams.purge(config.log.jetstream.stream, { seq: 8 })
  const reading = new Reading(reader, new Map([[lane, 4]]))
  await reading.count(3)
  assert.deepEqual(reading.names, numbered(3, 7))
  assert.deepEqual(told.lost, [{ lane, from: 4, to: 8 }])
  await reading.stop()
  // Without a position nothing is asked for that is not there.
  const all = new Reading(reader)
  await all.count(3)
  await all.stop()
  assert.equal(told.lost.length, 1)
})

test('with several partitions a loss is told where it hit ours, and only there', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 2 })
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  const { stream } = config.log.jetstream
  await send(publisher, writer, ['old'], 0, 1)
  await send(publisher, writer, numbered(5), 0, 0) // 2 to 6
  await send(publisher, writer, numbered(5), 0, 1) // 7 to 11
  const ours = await openReader(t, config, 0)
  const others = await openReader(t, config, 1)
  const { streams } = await manager(t, addresses)
  await streams.purge(stream, { seq: 5, filter: `${stream}.0` })
  const hit = new Reading(ours.reader, new Map([[ours.lane, 3]]))
  const spared = new Reading(others.reader, new Map([[others.lane, 9]]))
  await Promise.all([hit.count(2), spared.count(3)])
  await Promise.all([hit.stop(), spared.stop()])
  assert.deepEqual(hit.names, numbered(2, 3))
  assert.deepEqual(ours.told.lost, [{ lane: ours.lane, from: 3, to: 5 }])
  assert.deepEqual(others.told.lost, [])
})

test('a message that is no segment is skipped and told', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const publisher = await openPublisher(t, config)
  const writer = new Writer()
  const { reader, told } = await openReader(t, config)
  const reading = new Reading(reader)
  const connection = await aside(t, addresses)
  await send(publisher, writer, ['n0'])
  await connection.jetstream().publish(`${config.log.jetstream.stream}.0`, 'hello')
  await connection.jetstream().publish(`${config.log.jetstream.stream}.0`)
  await send(publisher, writer, ['n1'])
  await reading.count(2)
  await reading.stop()
  assert.deepEqual(reading.names, numbered(2))
  assert.deepEqual(
    told.foreign.map(({ at }) => at),
    [2, 3],
  )
})

/** A server whose store can be set back, as a power cut does that it had not synced before. */
async function forgetful(t: TestContext) {
  const folder = await temporaryFolder(t)
  const nats = await ownServer(t, { folder })
  const store = join(folder, 'store')
  return {
    nats,
    remember: async () => {
      await nats.kill('SIGTERM')
      await cp(store, join(folder, 'kept'), { recursive: true })
      await nats.restart()
    },
    /** `meanwhile`: done with the store where nobody else sees it. */
    forget: async (meanwhile?: (addresses: string[]) => Promise<void>) => {
      await nats.kill()
      await rm(store, { recursive: true })
      await cp(join(folder, 'kept'), store, { recursive: true })
      if (meanwhile !== undefined) {
        const elsewhere = await ownServer(t, { folder })
        await meanwhile(elsewhere.servers)
        await elsewhere.kill('SIGTERM')
      }
      await nats.restart()
    },
  }
}

test('a server that has lost its newest segments is read on, whatever numbers it gives', async (t) => {
  const { nats, remember, forget } = await forgetful(t)
  const config = configOf(t, nats.servers)
  const publisher = await openPublisher(t, config)
  const { reader, told, lane } = await openReader(t, config)
  const writer = new Writer()
  await send(publisher, writer, numbered(5))
  await remember()
  await until(() => publisher.away === undefined)
  const reading = new Reading(reader)
  await send(publisher, writer, numbered(5, 5))
  await reading.count(10)
  await forget()
  await until(() => told.notices.length === 1)
  assert.match(told.notices[0], /ends at 5 and we have read up to 10/)
  await until(() => publisher.away === undefined)
  await send(publisher, writer, ['new0', 'new1'])
  await reading.count(17)
  assert.deepEqual(reading.names.slice(10), [...numbered(5), 'new0', 'new1'])
  assert.equal(reading.entries.at(-1)!.next, 8)
  await reading.stop()
  // The same for one that comes with a position from before.
  const late = new Reading(reader, new Map([[lane, 11]]))
  await send(publisher, writer, ['new2'])
  await late.count(8)
  await late.stop()
  assert.deepEqual(late.names, [...numbered(5), 'new0', 'new1', 'new2'])
})

test('numbers that a server gave away again are noticed, and all is read anew', async (t) => {
  const { nats, remember, forget } = await forgetful(t)
  const config = configOf(t, nats.servers)
  const publisher = await openPublisher(t, config)
  const { reader, told } = await openReader(t, config)
  const writer = new Writer()
  await send(publisher, writer, numbered(5))
  await remember()
  await until(() => publisher.away === undefined)
  const reading = new Reading(reader)
  await send(publisher, writer, numbered(3, 5))
  await reading.count(8)
  // The reader comes back late: others have filled the numbers by then.
  await forget(async (addresses) => {
    const jetstream = { ...config.log.jetstream, servers: addresses }
    const other = await JetStreamPublisher.open({ ...config, log: { ...config.log, jetstream } }, new Told())
    await send(other, new Writer('00000000000000b2'), numbered(6, 100))
    await other.close()
  })
  await reading.until(() => reading.names.includes('n105'))
  await reading.stop()
  assert.deepEqual(reading.names, [...numbered(8), ...numbered(5), ...numbered(6, 100)])
  assert.equal(told.notices.length, 1)
  assert.match(told.notices[0], /has another message at 8 than we have read there/)
})

test('a stream that was removed is waited for; another one in its place ends the reading', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const publisher = await openPublisher(t, config)
  const { reader, told } = await openReader(t, config)
  const reading = new Reading(reader)
  const writer = new Writer()
  await send(publisher, writer, numbered(2))
  await reading.count(2)
  await (await manager(t, addresses)).streams.delete(config.log.jetstream.stream)
  await until(() => told.all.length > 0)
  assert.match(told.all[0], /does not exist any more/)
  await assert.rejects(reader.bounds(), LogUnavailable)
  const another = await openPublisher(t, config)
  await another.publish(0, writer.segment('in another'))
  await assert.rejects(reading.ended, /was removed and made anew/)
  const { reader: fresh } = await openReader(t, config)
  const anew = new Reading(fresh)
  await anew.count(1)
  await anew.stop()
  assert.deepEqual(anew.names, ['in another'])
})

test('a reading ends at once when it is told to, also while the server is away', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const { reader } = await openReader(t, config)
  const idle = new Reading(reader)
  await idle.stop()
  const stopped = new Reading(reader)
  nats.pause()
  await stopped.stop()
  const away = new Reading(reader)
  await nats.kill()
  await away.stop()
  await reader.close()
})
