// A broker that loses its newest records, as in a power cut, and gives their offsets away again before the reader is back:
// the connections of the reader lead from one topic to another one, all at once.

import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { Cluster } from '../../../src/log/kafka/cluster.ts'
import { connectKafkajs } from '../../../src/log/kafka/kafkajs.ts'
import { loadPlatformatic } from '../../../src/log/kafka/platformatic.ts'
import { type KafkaLimits, Presence } from '../../../src/log/kafka/presence.ts'
import { type FetchRequest, type KafkaConnection, parseAddress } from '../../../src/log/kafka/protocol.ts'
import { KafkaReader } from '../../../src/log/kafka/reader.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { nameOf, Reading } from '../segments.ts'
import {
  administrator,
  type ClientName,
  clients,
  configFor,
  Heard,
  names,
  publisherFor,
  readerFor,
  ready,
  stamped,
} from './fixture.ts'

const kafka = await startKafka()
after(() => kafka.stop())

const limits: KafkaLimits = {
  confirmMs: 30_000,
  stallMs: 10_000,
  reconnectMsMin: 10,
  reconnectMsMax: 100,
  fetchBytes: 2 ** 20,
  fetchWaitMs: 60_000,
  trimIntervalMs: 100,
  ownerSilentMs: 6000,
}

for (const client of clients) {
  test(`${client}: a log that lost its end and grew again is read anew`, async (t) => {
    const { reader, heard, lose } = await losing(t, client, names(0, 8), [...names(0, 3), ...names(20, 26)])
    const reading = new Reading(reader)
    await reading.count(8)
    lose()
    await reading.until(() => reading.names.includes('n25'))
    await reading.stop()
    assert.deepEqual(reading.names, [...names(0, 8), ...names(0, 3), ...names(20, 26)])
    assert.deepEqual(heard.lost, [])
    assert.match(heard.notices.join(), /has lost what it had confirmed/)
  })

  test(`${client}: also when it was lost while nobody asked`, async (t) => {
    const bounds = { ...limits, fetchBytes: 2 } // one at a time
    const { reader, fetched, lose } = await losing(t, client, names(0, 8), names(20, 26), bounds)
    const stop = new AbortController()
    const entries = reader.read(new Map(), stop.signal)
    const read: string[] = []
    for await (const { segment } of entries) {
      read.push(nameOf(segment))
      if (read.length === 1) {
        await fetched(2)
        lose()
      }
      if (read.at(-1) === 'n25') break
    }
    assert.deepEqual(read.slice(-6), names(20, 26))
    assert.deepEqual(read.slice(0, -6), names(0, read.length - 6))
  })

  test(`${client}: one whose end is as it was is read on, also where it was trimmed`, async (t) => {
    const { reader, heard, lose, trim } = await losing(t, client, names(0, 8), names(0, 12))
    const reading = new Reading(reader)
    await reading.count(8)
    await trim(8)
    lose()
    await reading.count(12)
    await reading.stop()
    assert.deepEqual(reading.names, names(0, 12))
    assert.deepEqual(heard.lost, [])
    assert.deepEqual(heard.notices, [])
  })

  test(`${client}: a log that lost its end is read anew, however much it was cut`, async (t) => {
    for (const left of [0, 7]) {
      const { reader, lose, later } = await losing(t, client, names(0, 8), names(0, left))
      const reading = new Reading(reader)
      await reading.count(8)
      lose()
      await reading.count(8 + left)
      await later(names(30, 31))
      await reading.count(8 + left + 1)
      await reading.stop()
      assert.deepEqual(reading.names, [...names(0, 8), ...names(0, left), 'n30'])
    }
  })
}

/** A reader of a topic with the first segments, until it is another one with the second ones. */
async function losing(
  t: TestContext,
  client: ClientName,
  before: string[],
  since: string[],
  bounds = limits,
) {
  const config = configFor(kafka.brokers, client)
  const other = configFor(kafka.brokers, client)
  const write = async (to: typeof config, all: string[]) => {
    await ready(await readerFor(t, to)) // makes the topic
    const publisher = await publisherFor(t, to)
    for (const name of all) await publisher.publish(0, stamped(Number(name.slice(1))))
  }
  await write(config, before)
  await write(other, since)
  const { topic } = config.log.kafka
  const open = new Set<KafkaConnection>()
  let now = topic
  let answers = 0
  let moved = () => {}
  const real = client === 'kafkajs' ? connectKafkajs : await loadPlatformatic()
  const newCluster = () =>
    new Cluster({
      connect: async (address, access) => {
        const connection = await real(address, access)
        open.add(connection)
        return leading(connection, {
          topic: () => now,
          answered: () => {
            answers++
            moved()
          },
        })
      },
      access: { tls: undefined, sasl: undefined },
      brokers: kafka.brokers.map(parseAddress),
      topic,
    })
  const heard = new Heard()
  const reader = new KafkaReader({
    cluster: newCluster(),
    newCluster,
    presence: new Presence(heard, bounds),
    limits: bounds,
    hooks: heard,
    partition: 0,
    retention: config.log.retention,
  })
  atEnd(t, () => reader.close())
  return {
    reader,
    heard,
    lose() {
      now = other.log.kafka.topic
      for (const connection of open) connection.close()
    },
    async fetched(count: number) {
      while (answers < count) {
        await new Promise<void>((resolve) => {
          moved = resolve
        })
      }
    },
    async trim(before: number) {
      const admin = await administrator(t, kafka.brokers)
      await admin.fetchTopicOffsets(other.log.kafka.topic) // without it, it does not know where the topic is
      const partitions = [{ partition: 0, offset: String(before) }]
      await admin.deleteTopicRecords({ topic: other.log.kafka.topic, partitions })
    },
    later: (all: string[]) => write(other, all),
  }
}

/** The same connection, for which the topic is the one that it is now. */
function leading(
  connection: KafkaConnection,
  { topic, answered }: { topic: () => string; answered: () => void },
): KafkaConnection {
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'fetch') {
        return async (request: FetchRequest) => {
          const fetched = await target.fetch({ ...request, topic: topic() })
          answered()
          return fetched
        }
      }
      if (name === 'offset') {
        return (_: string, partition: number, which: 'first' | 'next') =>
          target.offset(topic(), partition, which)
      }
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
