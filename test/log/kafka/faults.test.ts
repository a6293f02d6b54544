// Faults that a broker cannot be made to have at will, put between the real client and the real broker.

import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { CONFIRM_MS_MAX, KAFKA_BATCH_BYTES_MAX } from '../../../src/limits.ts'
import { Cluster } from '../../../src/log/kafka/cluster.ts'
import { connectKafkajs } from '../../../src/log/kafka/kafkajs.ts'
import { loadPlatformatic } from '../../../src/log/kafka/platformatic.ts'
import { type KafkaLimits, Presence } from '../../../src/log/kafka/presence.ts'
import {
  CODE,
  type KafkaConnection,
  KafkaFailure,
  type OutgoingBatch,
  parseAddress,
} from '../../../src/log/kafka/protocol.ts'
import { KafkaPublisher } from '../../../src/log/kafka/publisher.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import {
  type ClientName,
  clients,
  configFor,
  Heard,
  names,
  outcome,
  readerFor,
  ready,
  stamped,
} from './fixture.ts'

const kafka = await startKafka()
after(() => kafka.stop())

const limits: KafkaLimits = {
  confirmMs: CONFIRM_MS_MAX,
  stallMs: 500,
  reconnectMsMin: 10,
  reconnectMsMax: 100,
  fetchBytes: 2 ** 20,
  fetchWaitMs: 1000,
  trimIntervalMs: 100,
  ownerSilentMs: 6000,
}

/**
 * What happens to a request with segments, in order of the requests; those after the last one are left alone. A number
 * is the broker's answer: to one that it did not take, or, as `written`, to one that is in its log all the same.
 */
type Fault = 'answer lost' | 'request lost' | number | { written: number }

interface Sent {
  producer: bigint
  batches: { sequence: number; records: number; bytes: number }[]
}

for (const client of clients) {
  test(`${client}: an answer that is lost: sent again, the broker knows it`, async (t) => {
    const { publisher, sent, read } = await between(t, client, ['answer lost', 'answer lost'])
    await Promise.all(Array.from({ length: 5 }, (_, n) => publisher.publish(0, stamped(n))))
    await publisher.publish(0, stamped(5))
    assert.deepEqual(await read(6), names(0, 6))
    assert.deepEqual(
      sent.map(({ batches }) => batches[0].sequence),
      [0, 0, 0, 5],
    )
    assert.equal(new Set(sent.map(({ producer }) => producer)).size, 1)
  })

  test(`${client}: a producer that the broker does not accept is replaced, and nothing is lost`, async (t) => {
    const { publisher, sent, read } = await between(t, client, [
      0,
      CODE.outOfOrderSequence,
      CODE.unknownProducer,
    ])
    for (let n = 0; n < 4; n++) await publisher.publish(0, stamped(n))
    assert.deepEqual(await read(4), names(0, 4))
    assert.deepEqual(
      sent.map(({ batches }) => batches[0].sequence),
      [0, 1, 0, 0, 1, 2],
    )
    assert.equal(new Set(sent.map(({ producer }) => producer)).size, 3)
  })

  test(`${client}: what the broker refuses for good is not in the log; what follows is`, async (t) => {
    const { publisher, sent, read } = await between(t, client, [0, CODE.messageTooLarge])
    await publisher.publish(0, stamped(0))
    assert.equal(await outcome(publisher.publish(0, stamped(1))), 'LogUnavailable')
    await publisher.publish(0, stamped(2))
    assert.deepEqual(await read(2), ['n0', 'n2'])
    assert.equal(sent.length, 3) // the broker had no gap in the sequences to complain of
    assert.equal(publisher.away, undefined)
  })

  test(`${client}: refused for good after a lost answer: nobody can say`, async (t) => {
    const { publisher } = await between(t, client, ['answer lost', CODE.messageTooLarge])
    assert.equal(await outcome(publisher.publish(0, stamped(0))), 'LogUnconfirmed')
  })

  test(`${client}: too few replicas for too long: surely not in the log, and away until it works`, async (t) => {
    const faults: Fault[] = Array(1000).fill(CODE.notEnoughReplicas)
    const bounds = { ...limits, confirmMs: 1000 }
    const { publisher, heard, read } = await between(t, client, faults, bounds)
    assert.equal(await outcome(publisher.publish(0, stamped(0))), 'LogUnavailable')
    assert.equal(heard.away[0], 'nothing was confirmed for 500 ms')
    faults.length = 0
    bounds.confirmMs = CONFIRM_MS_MAX
    await heard.until(() => heard.backs > 0)
    await publisher.publish(0, stamped(1))
    assert.deepEqual(await read(1), ['n1'])
  })

  test(`${client}: what is given up is not sent afterwards`, async (t) => {
    const faults: Fault[] = Array(1000).fill(CODE.notEnoughReplicas)
    const bounds = { ...limits, stallMs: 60_000, confirmMs: 3000 }
    const { publisher, sent, read } = await between(t, client, faults, bounds)
    const old = outcome(publisher.publish(0, stamped(0)))
    const younger = new Promise<string>((resolve) => {
      setTimeout(() => resolve(outcome(publisher.publish(0, stamped(1)))), bounds.confirmMs / 2)
    })
    assert.equal(await old, 'LogUnavailable')
    faults.length = 0
    bounds.confirmMs = CONFIRM_MS_MAX
    assert.equal(await younger, 'kept')
    assert.deepEqual(await read(1), ['n1'])
    assert.equal(sent.at(-1)!.batches[0].sequence, 0)
  })

  test(`${client}: written by a leader that was one no more when it answered: nobody can say, and what follows is not taken for it`, async (t) => {
    for (const code of [CODE.notLeader, CODE.unknownTopic, CODE.leaderNotAvailable, CODE.fencedLeaderEpoch]) {
      const faults: Fault[] = [{ written: code }, ...Array(1000).fill(CODE.notLeader)]
      const bounds = { ...limits }
      const { publisher, sent, heard, read } = await between(t, client, faults, bounds)
      const written = outcome(publisher.publish(0, stamped(0)))
      await until(() => sent.length > 1)
      bounds.confirmMs = 1000
      assert.equal(await written, 'LogUnconfirmed')
      faults.length = 0
      bounds.confirmMs = CONFIRM_MS_MAX
      await heard.until(() => heard.backs > 0)
      for (const n of [1, 2]) await publisher.publish(0, stamped(n))
      assert.deepEqual(await read(3), names(0, 3))
    }
  })

  test(`${client}: requests that are lost until the time is up: unconfirmed, and a new producer after it`, async (t) => {
    const faults: Fault[] = Array(1000).fill('request lost')
    const bounds = { ...limits }
    const { publisher, sent, heard, read } = await between(t, client, faults, bounds)
    const lost = outcome(publisher.publish(0, stamped(0)))
    await until(() => sent.length > 0)
    bounds.confirmMs = 1000
    assert.equal(await lost, 'LogUnconfirmed')
    // Not before: what is given up may be sent once more, where a request with it was being made.
    await heard.until(() => heard.backs > 0)
    faults.length = 0
    bounds.confirmMs = CONFIRM_MS_MAX
    await publisher.publish(0, stamped(1))
    assert.deepEqual(
      (await read(1)).filter((name) => name !== 'n0'), // which nobody spoke of
      ['n1'],
    )
    assert.notEqual(sent.at(-1)!.producer, sent[0].producer)
    assert.equal(sent.at(-1)!.batches[0].sequence, 0)
  })

  test(`${client}: a partition without a leader keeps no other one from being written`, async (t) => {
    const leaderless = new Set([1])
    const bounds = { ...limits, stallMs: 10_000 }
    const { publisher, heard, read } = await between(t, client, [], bounds, leaderless)
    const waits = publisher.publish(1, stamped(100))
    for (let n = 0; n < 3; n++) await publisher.publish(0, stamped(n))
    assert.deepEqual(await read(3), names(0, 3))
    leaderless.clear()
    await waits
    await publisher.publish(0, stamped(3))
    assert.deepEqual(heard.away, [])
  })

  test(`${client}: without any leader it is away, until there is one`, async (t) => {
    const leaderless = new Set([0, 1])
    const { publisher, heard } = await between(t, client, [], limits, leaderless)
    const waits = publisher.publish(0, stamped(0))
    await heard.until(() => heard.away.length > 0)
    leaderless.clear()
    await waits
    assert.equal(publisher.away, undefined)
  })

  test(`${client}: one request at a time, of bounded size, with all that waits`, async (t) => {
    const { publisher, sent, read } = await between(t, client, [])
    const bytes = 50_000
    await Promise.all(Array.from({ length: 60 }, (_, n) => publisher.publish(n % 2, stamped(n, bytes))))
    await read(30)
    for (const { batches } of sent) {
      const total = batches.reduce((sum, batch) => sum + batch.bytes, 0)
      assert.ok(total <= KAFKA_BATCH_BYTES_MAX, `${total} bytes`)
    }
    const requests = Math.ceil((60 * bytes) / KAFKA_BATCH_BYTES_MAX)
    assert.ok(sent.length <= requests + 3, `${sent.length} requests`)
  })
}

/** A publisher whose requests meet these faults. */
async function between(
  t: TestContext,
  client: ClientName,
  faults: Fault[],
  bounds = limits,
  leaderless: ReadonlySet<number> = new Set(),
) {
  const config = configFor(kafka.brokers, client, { partitions: 2 })
  const reader = await readerFor(t, config) // makes the topic
  // A leader that is not ready refuses requests: that would be a fault more.
  for (const partition of [0, 1]) await ready(await readerFor(t, config, { partition }))
  const sent: Sent[] = []
  const real = client === 'kafkajs' ? connectKafkajs : await loadPlatformatic()
  const cluster = new Cluster({
    connect: async (address, access) => faulty(await real(address, access), { faults, sent, leaderless }),
    access: { tls: undefined, sasl: undefined },
    brokers: kafka.brokers.map(parseAddress),
    topic: config.log.kafka.topic,
  })
  const heard = new Heard()
  const publisher = new KafkaPublisher({ cluster, presence: new Presence(heard, bounds), limits: bounds })
  atEnd(t, () => publisher.close())
  const read = async (count: number) => {
    const reading = new Reading(reader)
    await reading.count(count)
    await reading.stop()
    return reading.names
  }
  return { publisher, sent, heard, read }
}

interface Faults {
  faults: Fault[]
  sent: Sent[]
  /** Partitions that no broker leads at present. */
  leaderless: ReadonlySet<number>
}

function faulty(connection: KafkaConnection, { faults, sent, leaderless }: Faults): KafkaConnection {
  const metadata: KafkaConnection['metadata'] = async (name) => {
    const { topic, ...rest } = await connection.metadata(name)
    const leaders = topic!.leaders.map((node, partition) => (leaderless.has(partition) ? undefined : node))
    return { ...rest, topic: { ...topic!, leaders } }
  }
  const produce: KafkaConnection['produce'] = async (topic, producer, batches) => {
    sent.push({ producer: producer.id, batches: batches.map(sizeOf) })
    const fault = faults.shift()
    if (typeof fault === 'number' && fault !== CODE.none) {
      return new Map(batches.map(({ partition }) => [partition, fault]))
    }
    const answer = fault === 'request lost' ? undefined : await connection.produce(topic, producer, batches)
    if (typeof fault === 'object') return new Map(batches.map(({ partition }) => [partition, fault.written]))
    if (typeof fault === 'string') {
      connection.close()
      throw new KafkaFailure('away', fault)
    }
    return answer!
  }
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'produce') return produce
      if (name === 'metadata') return metadata
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function sizeOf({ sequence, records }: OutgoingBatch) {
  const bytes = records.reduce((sum, { value }) => sum + value.length, 0)
  return { sequence, records: records.length, bytes }
}
