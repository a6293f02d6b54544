import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import type { NatsConnection, StoredMsg } from 'nats'
import type { Config } from '../../../src/config/config.ts'
import { CONFIRM_MS_MAX } from '../../../src/limits.ts'
import { JetStreamPublisher, type PublisherLimits } from '../../../src/log/jetstream/publisher.ts'
import { LogFull, LogUnavailable, LogUnconfirmed } from '../../../src/log/log.ts'
import { Segment } from '../../../src/log/segment.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { nameOf } from '../segments.ts'
import { aside, configOf, numbered, ownServer, servers, Told, Writer } from './server.ts'

/** A publisher that ends with the test, also where that has failed. */
async function open(t: TestContext, config: Config, limits?: PublisherLimits) {
  const told = new Told()
  const publisher = await JetStreamPublisher.open(config, told, undefined, limits)
  atEnd(t, () => publisher.close())
  return { publisher, told }
}

/** All that the stream holds, in its order. */
async function held(connection: NatsConnection, config: Config): Promise<StoredMsg[]> {
  const { streams } = await connection.jetstreamManager()
  const { stream } = config.log.jetstream
  const { state } = await streams.info(stream)
  const messages: StoredMsg[] = []
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    messages.push(await streams.getMessage(stream, { seq }))
  }
  return messages
}

const namesOf = (messages: StoredMsg[]) => messages.map(({ data }) => nameOf(new Segment(Buffer.from(data))))

test('segments reach their partitions in the order of the calls, with identity and checksum', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 3 })
  const { publisher } = await open(t, config)
  const writer = new Writer()
  const names = numbered(600)
  const segments = names.map((name) => writer.segment(name))
  await Promise.all(segments.map((segment, i) => publisher.publish(i % 3, segment)))
  const messages = await held(await aside(t, addresses), config)
  for (const partition of [0, 1, 2]) {
    const mine = messages.filter(({ subject }) => subject === `${config.log.jetstream.stream}.${partition}`)
    assert.deepEqual(
      namesOf(mine),
      names.filter((_, i) => i % 3 === partition),
    )
  }
  assert.equal(messages.length, 600)
  const [first] = messages
  assert.equal(first.header.get('Nats-Msg-Id'), '00000000000000a1.0')
  assert.equal(parseInt(first.header.get('Millrace-Crc'), 16), crc32(segments[0].bytes))
  assert.ok(segments[0].bytes.equals(first.data))
})

test('a segment that is published twice is in the stream once', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  const { publisher } = await open(t, config)
  const segment = new Writer().segment('same')
  await Promise.all([publisher.publish(0, segment), publisher.publish(0, segment)])
  await publisher.publish(0, segment)
  assert.deepEqual(namesOf(await held(await aside(t, addresses), config)), ['same'])
})

test('more than fits on the way waits, and large ones go too', async (t) => {
  const config = configOf(t, await servers())
  const { publisher } = await open(t, config)
  const writer = new Writer()
  const sizes = [3_000_000, 1, 2_000_000, 65_536]
  const segments = Array.from({ length: 40 }, (_, i) => writer.segment(`n${i}`, sizes[i % 4]))
  await Promise.all(segments.map((segment) => publisher.publish(0, segment)))
  const many = Array.from({ length: 5000 }, (_, i) => writer.segment(`m${i}`))
  await Promise.all(many.map((segment) => publisher.publish(0, segment)))
})

test('a full stream refuses with LogFull, keeps what it has, and takes more when there is room', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { maxBytes: 4 * 2 ** 20 })
  const { publisher, told } = await open(t, config)
  const writer = new Writer()
  let taken = 0
  await assert.rejects(
    async () => {
      for (;;) {
        await publisher.publish(0, writer.segment(`n${taken}`, 262_144))
        taken++
      }
    },
    (error) => error instanceof LogFull && /is full: maximum bytes exceeded/.test(error.message),
  )
  assert.ok(taken >= 12 && taken < 17, `${taken}`)
  const connection = await aside(t, addresses)
  assert.deepEqual(namesOf(await held(connection, config)), numbered(taken))
  await (await connection.jetstreamManager()).streams.purge(config.log.jetstream.stream)
  await publisher.publish(0, writer.segment('after', 262_144))
  assert.deepEqual(told.all, [])
})

test('no kill of the server loses or doubles a confirmed segment, and clients hear of none', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const { publisher, told } = await open(t, config)
  const writer = new Writer()
  const names: string[] = []
  const results: Promise<void>[] = []
  const ROUNDS = 4
  let confirmed = 0
  for (let round = 0; round < ROUNDS; round++) {
    const before = confirmed
    let killed: Promise<void> | undefined
    while (publisher.away === undefined) {
      for (const name of numbered(names.length - confirmed < 1000 ? 100 : 0, names.length)) {
        names.push(name)
        const result = publisher.publish(0, writer.segment(name, 2000))
        result.then(
          () => confirmed++,
          () => {},
        )
        results.push(result)
      }
      if (confirmed > before + 500) killed ??= nats.kill()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await killed
    assert.ok(confirmed < names.length, 'some were on their way')
    await assert.rejects(publisher.publish(0, writer.segment('refused')), LogUnavailable)
    await nats.restart()
    await until(() => publisher.away === undefined)
  }
  await Promise.all(results)
  const inStream = namesOf(await held(await aside(t, nats.servers), config))
  assert.equal(new Set(inStream).size, inStream.length)
  assert.deepEqual([...inStream].sort(), [...names].sort())
  await until(() => told.isBack)
  assert.ok(told.all.length >= 2 * ROUNDS, told.all.join('\n'))
})

test('a stopped server counts as away, and what was sent is confirmed when it goes on', async (t) => {
  const nats = await ownServer(t)
  const { publisher, told } = await open(t, configOf(t, nats.servers))
  const writer = new Writer()
  await publisher.publish(0, writer.segment('before'))
  nats.pause()
  const began = performance.now()
  const sent = publisher.publish(0, writer.segment('meanwhile'))
  await until(() => publisher.away !== undefined)
  assert.ok(performance.now() - began < CONFIRM_MS_MAX, `${performance.now() - began} ms`)
  await assert.rejects(publisher.publish(0, writer.segment('refused')), LogUnavailable)
  nats.resume()
  await sent
  await until(() => publisher.away === undefined)
  await publisher.publish(0, writer.segment('after'))
  assert.ok(told.isBack, told.all.join('\n'))
})

test('a stopped server is given up also while much waits to be written to it', async (t) => {
  const nats = await ownServer(t)
  const { publisher } = await open(t, configOf(t, nats.servers))
  const writer = new Writer()
  nats.pause()
  const sent = Array.from({ length: 12 }, (_, i) => publisher.publish(0, writer.segment(`n${i}`, 1_000_000)))
  await until(() => publisher.away !== undefined)
  await until(() => /lost|does not answer/.test(publisher.away ?? ''))
  nats.resume()
  await Promise.all(sent)
})

test('what was sent and not confirmed in time is LogUnconfirmed, what never went out LogUnavailable', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const { publisher } = await open(t, config, { confirmMsMax: 3000 })
  const writer = new Writer()
  nats.pause()
  // The first ones fill what may be on its way, the others wait for that.
  const outcomes = await Promise.allSettled(
    Array.from({ length: 24 }, (_, i) => publisher.publish(0, writer.segment(`n${i}`, 1_000_000))),
  )
  const kinds = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? outcome.reason.constructor : 'confirmed',
  )
  assert.deepEqual(new Set(kinds.slice(0, 16)), new Set([LogUnconfirmed]))
  assert.deepEqual(new Set(kinds.slice(17)), new Set([LogUnavailable]))
  nats.resume()
  await until(() => publisher.away === undefined)
  await publisher.publish(0, writer.segment('after'))
})

test('a killed server that does not come back in time leaves what was sent unconfirmed', async (t) => {
  const nats = await ownServer(t)
  const { publisher } = await open(t, configOf(t, nats.servers), { confirmMsMax: 500 })
  const writer = new Writer()
  nats.pause() // so that it cannot answer before it dies
  const sent = publisher.publish(0, writer.segment('lost'))
  const failed = assert.rejects(sent, LogUnconfirmed)
  await nats.kill()
  await failed
  assert.match(publisher.away ?? '', /refuses the connection|the connection was lost/)
})

test('a stream that was removed is said to be gone, and used again once it is there', async (t) => {
  const nats = await ownServer(t)
  const config = configOf(t, nats.servers)
  const { publisher, told } = await open(t, config)
  const writer = new Writer()
  await publisher.publish(0, writer.segment('before'))
  const { streams } = await (await aside(t, nats.servers)).jetstreamManager()
  await streams.delete(config.log.jetstream.stream)
  const gone = (error: unknown) =>
    error instanceof LogUnavailable && /does not exist any more/.test(error.message)
  await assert.rejects(publisher.publish(0, writer.segment('one')), gone)
  await assert.rejects(publisher.publish(0, writer.segment('two')), gone)
  await (await open(t, config)).publisher.publish(0, writer.segment('three')) // makes it anew
  await until(() => publisher.away === undefined)
  await publisher.publish(0, writer.segment('four'))
  assert.ok(told.isBack, told.all.join('\n'))
})

test('closing waits for what is on its way; nothing is taken after that', async (t) => {
  const config = configOf(t, await servers())
  const publisher = await JetStreamPublisher.open(config, new Told())
  const writer = new Writer()
  let confirmed = 0
  const sent = numbered(500).map((name) => publisher.publish(0, writer.segment(name)).then(() => confirmed++))
  await publisher.close()
  assert.equal(confirmed, 500)
  await Promise.all(sent)
  await assert.rejects(publisher.publish(0, writer.segment('late')), LogUnavailable)
})

test('closing does not wait for ever for a server that is gone', async (t) => {
  const nats = await ownServer(t)
  const publisher = await JetStreamPublisher.open(configOf(t, nats.servers), new Told(), undefined, {
    confirmMsMax: 400,
  })
  nats.pause()
  const sent = assert.rejects(publisher.publish(0, new Writer().segment('one')), LogUnconfirmed)
  await publisher.close()
  await sent
})
