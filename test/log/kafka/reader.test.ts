import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import {
  administrator,
  CompressionTypes,
  clients,
  configFor,
  Heard,
  names,
  outcome,
  publisherFor,
  readerFor,
  ready,
  sockets,
  stamped,
  writeForeign,
} from './fixture.ts'

const kafka = await startKafka()
after(() => kafka.stop())

const limits = { reconnectMsMin: 20, reconnectMsMax: 200 }

for (const client of clients) {
  test(`${client}: a reading begins at its position, and goes on with what comes`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    await Promise.all(Array.from({ length: 20 }, (_, n) => publisher.publish(0, stamped(n))))
    const reader = await readerFor(t, config)
    const all = new Reading(reader)
    await all.count(20)
    await all.stop()
    assert.deepEqual(all.names, names(0, 20))
    assert.equal(all.entries[0].lane, await reader.lane())
    const rest = new Reading(await readerFor(t, config), all.position(8))
    await rest.count(12)
    await publisher.publish(0, stamped(20))
    await rest.count(13)
    await rest.stop()
    assert.deepEqual(rest.names, names(8, 21))
    assert.deepEqual(await reader.bounds(), { first: 0, next: 21 })
    assert.deepEqual(reader.finished(), [])
  })

  test(`${client}: a reading that waits ends at once when it is aborted`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const reading = new Reading(await readerFor(t, config, { options: { limits: { fetchWaitMs: 60_000 } } }))
    const publisher = await publisherFor(t, config)
    await publisher.publish(0, stamped(0))
    await reading.count(1)
    const started = performance.now()
    await reading.stop()
    assert.ok(performance.now() - started < 1000)
  })

  test(`${client}: a reading goes on after the broker was killed, and after it was silent`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const heard = new Heard()
    // Shorter than the silence below, together with what an answer may take.
    const options = { limits: { ...limits, fetchWaitMs: 500 } }
    const reading = new Reading(await readerFor(t, config, { hooks: heard, options }))
    const publisher = await publisherFor(t, config, new Heard(), { limits: { ...limits, confirmMs: 60_000 } })
    let n = 0
    const publish = async (count: number) => {
      for (const end = n + count; n < end; ) {
        if ((await outcome(publisher.publish(0, stamped(n)))) === 'kept') n++
        else await until(() => publisher.away === undefined)
      }
    }
    await publish(30)
    await reading.count(10)
    await kafka.kill()
    await heard.until(() => heard.isAway)
    await kafka.restart()
    await heard.until(() => !heard.isAway)
    await publish(30)
    await reading.count(60)
    kafka.pause()
    atEnd(t, () => kafka.resume())
    await heard.until(() => heard.isAway)
    assert.match(heard.away.at(-1)!, /no answer/)
    kafka.resume()
    await heard.until(() => !heard.isAway)
    await publish(30)
    await reading.count(90)
    await reading.stop()
    assert.deepEqual(reading.names, names(0, 90))
    assert.deepEqual(heard.lost, [])
  })

  test(`${client}: a reader that is not asked holds no more than it may`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    const count = 200
    const bytes = 200_000
    await Promise.all(Array.from({ length: count }, (_, n) => publisher.publish(0, stamped(n, bytes))))
    const fetchBytes = 4_000_000
    const reader = await readerFor(t, config, { options: { limits: { fetchBytes } } })
    const asked = new AbortController()
    const before = received()
    const entries = reader.read(new Map(), asked.signal)[Symbol.asyncIterator]()
    await entries.next()
    const settled = await stable(received)
    // One batch is whole, however little was asked for: up to 1 MiB each.
    const ahead = settled - before
    assert.ok(ahead > bytes && ahead < fetchBytes + 3 * 2 ** 20, `${ahead} bytes`)
    for (let n = 1; n < count; n++) {
      const { value } = await entries.next()
      assert.equal(value.next, n + 1)
    }
    asked.abort()
    await entries.return?.()
  })

  test(`${client}: what was committed is trimmed, as far as the budget wants`, async (t) => {
    const maxBytes = 2_000_000
    const config = configFor(kafka.brokers, client, { maxBytes })
    const publisher = await publisherFor(t, config)
    const reader = await readerFor(t, config, { options: { limits: { trimIntervalMs: 10 } } })
    await Promise.all(Array.from({ length: 40 }, (_, n) => publisher.publish(0, stamped(n, 100_000))))
    const reading = new Reading(reader)
    await reading.count(40)
    reader.committed(reading.position(10)) // 1 MB, all that is committed: 4 MB have been read, half of 2 MB is kept
    await until(async () => (await reader.bounds()).first > 0)
    const { first } = await reader.bounds()
    assert.ok(first <= 10, `trimmed to ${first}`)
    await until(async () => {
      reader.committed(reading.position(40))
      return (await reader.bounds()).first > 25
    })
    const kept = 40 - (await reader.bounds()).first
    assert.ok(kept >= 9 && kept <= 11, `${kept} are kept`)
    await reading.stop()
  })

  test(`${client}: segments that are gone are told, and reading goes on behind them`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const { topic } = config.log.kafka
    const publisher = await publisherFor(t, config)
    await Promise.all(Array.from({ length: 10 }, (_, n) => publisher.publish(0, stamped(n))))
    const admin = await administrator(t, kafka.brokers)
    await admin.fetchTopicOffsets(topic) // without it, it does not know where the topic is
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
    const heard = new Heard()
    const reader = await readerFor(t, config, { hooks: heard })
    const { first } = await reader.bounds()
    assert.equal(first, 6)
    const lane = await reader.lane()
    const reading = new Reading(reader, new Map([[lane, 2]]))
    await reading.count(4)
    await reading.stop()
    assert.deepEqual(reading.names, names(6, 10))
    assert.deepEqual(heard.lost, [{ lane, from: 2, to: 6 }])
  })

  test(`${client}: a position behind the end begins at the start`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    await publisher.publish(0, stamped(0))
    const heard = new Heard()
    const reader = await readerFor(t, config, { hooks: heard })
    await reader.bounds()
    const reading = new Reading(reader, new Map([[await reader.lane(), 77]]))
    await reading.count(1)
    await reading.stop()
    assert.deepEqual(heard.lost, [])
  })

  test(`${client}: what is no segment is skipped, and told`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    await publisher.publish(0, stamped(0))
    const damaged = { value: stamped(7).bytes, headers: { 'millrace-crc': '00000000' } }
    const foreign = [{ value: 'hello' }, { value: null }, damaged]
    await writeForeign(kafka.brokers, config.log.kafka.topic, foreign)
    await publisher.publish(0, stamped(1))
    const heard = new Heard()
    const reading = new Reading(await readerFor(t, config, { hooks: heard }))
    await reading.count(2)
    await reading.stop()
    assert.deepEqual(reading.names, ['n0', 'n1'])
    assert.deepEqual(
      reading.entries.map(({ next }) => next),
      [1, 5],
    )
    assert.deepEqual(heard.foreign, [
      { at: 1, reason: 'not a segment' },
      { at: 2, reason: 'it is empty' },
      { at: 3, reason: 'its checksum is wrong' },
    ])
  })

  test(`${client}: what cannot be read costs nothing of what lies before it and behind it`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    const { topic } = config.log.kafka
    for (let n = 0; n < 5; n++) await publisher.publish(0, stamped(n))
    await writeForeign(kafka.brokers, topic, [{ value: 'a' }, { value: 'b' }], CompressionTypes.Snappy)
    for (let n = 5; n < 8; n++) await publisher.publish(0, stamped(n))
    const heard = new Heard()
    const reading = new Reading(await readerFor(t, config, { hooks: heard }))
    await reading.until(() => reading.names.includes('n7'))
    await reading.stop()
    assert.deepEqual(reading.names, names(0, 8))
    assert.deepEqual(
      heard.foreign.map(({ at }) => at),
      [5, 6],
    )
  })

  test(`${client}: a topic that is made anew is another lane, read from its start`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const { topic } = config.log.kafka
    const publisher = await publisherFor(t, config)
    for (let n = 0; n < 5; n++) await publisher.publish(0, stamped(n))
    const reader = await readerFor(t, config, { options: { limits } })
    const reading = new Reading(reader)
    await reading.count(5)
    const lane = await reader.lane()
    const admin = await administrator(t, kafka.brokers)
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic))
    const again = await publisherFor(t, config)
    for (let n = 5; n < 12; n++) await again.publish(0, stamped(n))
    await reading.count(12)
    await reading.stop()
    assert.deepEqual(reading.names, names(0, 12))
    assert.deepEqual(
      reading.entries.map((entry) => entry.lane === lane),
      names(0, 12).map((_, n) => n < 5),
    )
    assert.deepEqual(
      reading.entries.map(({ next }) => next),
      [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7],
    )
  })

  test(`${client}: bounds are not to be had from a broker that is away`, async (t) => {
    const reader = await readerFor(t, configFor(kafka.brokers, client))
    await reader.bounds()
    await kafka.kill()
    await assert.rejects(reader.bounds())
    await kafka.restart()
    await ready(reader)
    assert.deepEqual(await reader.bounds(), { first: 0, next: 0 })
  })
}

test('both clients give a topic the same lane', async (t) => {
  const config = configFor(kafka.brokers, 'kafkajs')
  const lanes = await Promise.all(
    clients.map(async (client) => {
      const kafkaConfig = { ...config.log.kafka, client }
      const reader = await readerFor(t, { ...config, log: { ...config.log, kafka: kafkaConfig } })
      await reader.bounds()
      return reader.lane()
    }),
  )
  assert.equal(lanes[0], lanes[1])
  assert.match(lanes[0], /^kafka:test-[0-9a-f-]{36}:[A-Za-z0-9_-]{22}$/)
})

/** Bytes that this process has had from sockets that are open. */
function received(): number {
  return sockets().reduce((sum, { bytesRead }) => sum + bytesRead, 0)
}

/** The value when it has not changed for a while. */
async function stable(value: () => number): Promise<number> {
  let last = value()
  for (let same = 0; same < 20; same++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (value() !== last) same = 0
    last = value()
  }
  return last
}
