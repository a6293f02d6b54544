// The dual log on a real NATS server and a real Kafka broker.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { startNats } from '../../../scripts/brokers/nats.ts'
import type { Config } from '../../../src/config/config.ts'
import { loadConfig } from '../../../src/config/load.ts'
import type { BrokerHooks } from '../../../src/log/broker.ts'
import { DualPublisher } from '../../../src/log/dual/publisher.ts'
import { DualReader } from '../../../src/log/dual/reader.ts'
import { openBrokerReader, openPublisher } from '../../../src/log/open.ts'
import { lackedByOther, type ReconcileParts, reconcile } from '../../../src/log/reconcile.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import { identityOf, stamped } from './fake-broker.ts'

const kinds = ['jetstream', 'kafka'] as const
const PARTITIONS = 2

const hooks: BrokerHooks = {
  onAway() {},
  onBack() {},
  onLost: (lane, from, to) => assert.fail(`${lane} has lost ${from} to ${to}`),
  onForeign: (lane, at, reason) => assert.fail(`${lane} ${at}: ${reason}`),
  onNotice() {},
}

async function servers(t: TestContext, partitions: number) {
  const [nats, kafka] = await Promise.all([startNats(), startKafka()])
  atEnd(t, () => nats.stop())
  atEnd(t, () => kafka.stop())
  const flow = (list: string[]) => `[${list.map((item) => `"${item}"`).join(', ')}]`
  const { config } = loadConfig({
    file: undefined,
    env: {},
    sets: [
      'log.kind=dual',
      `log.partitions=${partitions}`,
      `log.jetstream.servers=${flow(nats.servers)}`,
      `log.kafka.brokers=${flow(kafka.brokers)}`,
    ],
  })
  return { nats, kafka, config }
}

/** Both ends of both logs, closed with the test. */
type Brokers = Pick<ReconcileParts, 'openReader' | 'openPublisher'>

function brokersOf(config: Config): Brokers {
  return {
    openReader: (kind, partition) => openBrokerReader(kind, config, partition, hooks),
    openPublisher: (kind) => openPublisher(kind, config, hooks),
  }
}

function opened(t: TestContext, config: Config): Brokers {
  const brokers = brokersOf(config)
  const closing = <T extends { close(): Promise<void> }>(part: T): T => {
    atEnd(t, () => part.close())
    return part
  }
  return {
    openPublisher: async (kind) => closing(await brokers.openPublisher(kind)),
    openReader: async (kind, partition) => closing(await brokers.openReader(kind, partition)),
  }
}

const compare = (config: Config, apply: boolean) =>
  reconcile({
    ...brokersOf(config),
    partitions: config.log.partitions,
    openLedger: async () => () => false,
    apply,
    signal: new AbortController().signal,
  })

test('each log misses what came while it was gone, both together miss nothing, and reconcile makes them the same', {
  timeout: 300_000,
}, async (t) => {
  const { nats, kafka, config } = await servers(t, PARTITIONS)
  const brokers = opened(t, config)
  const [jetstream, kafkas] = [await brokers.openPublisher('jetstream'), await brokers.openPublisher('kafka')]
  const told: string[] = []
  const publisher = new DualPublisher({
    jetstream,
    kafka: kafkas,
    ackWhen: 'any',
    hooks: {
      onBehind: (kind) => told.push(`${kind} behind`),
      onKeepingUp: (kind) => told.push(`${kind} keeps up`),
    },
  })
  let sequence = 0
  const written: Set<string>[] = [new Set(), new Set()]
  const publish = async (count: number) => {
    const batch = Array.from({ length: count }, async () => {
      const segment = stamped(1, sequence++, { text: `n${sequence}`, bytes: 2000, receivedAt: sequence })
      const partition = sequence % PARTITIONS
      await publisher.publish(partition, segment)
      written[partition].add(identityOf(segment))
    })
    await Promise.all(batch)
  }

  await publish(200)
  await kafka.kill()
  await publish(100)
  await until(() => kafkas.away !== undefined)
  await publish(100)
  await kafka.restart()
  await until(() => kafkas.away === undefined)
  await nats.kill()
  await publish(100)
  await until(() => jetstream.away !== undefined)
  await publish(100)
  await nats.restart()
  await until(() => jetstream.away === undefined)
  await publish(100)
  await publisher.close()
  const { missing } = publisher
  assert.ok(missing.kafka.segments >= 100 && missing.jetstream.segments >= 100, JSON.stringify(missing))
  assert.deepEqual(told.filter((line) => line.endsWith('behind')).sort(), [
    'jetstream behind',
    'kafka behind',
  ])

  for (const partition of written.keys()) {
    const reader = new DualReader({
      jetstream: await brokers.openReader('jetstream', partition),
      kafka: await brokers.openReader('kafka', partition),
      consume: 'union',
      maxBytes: config.log.retention.maxBytes,
      counted: () => false,
      hooks: { onWalked() {}, onOverdue() {}, onError: assert.fail },
    })
    const reading = new Reading(reader)
    atEnd(t, () => reading.stop())
    const read = () => new Set(reading.entries.map((entry) => `1/${entry.sequence}`))
    await reading.until(() => read().size >= written[partition].size)
    assert.deepEqual([...read()].sort(), [...written[partition]].sort())
    await reading.stop()
  }

  const before = await compare(config, false)
  for (const kind of kinds) {
    const other = kind === 'kafka' ? 'jetstream' : 'kafka'
    assert.ok(before.total[kind].missing.segments >= 100)
    // What was not confirmed can be there nevertheless.
    assert.ok(before.total[kind].missing.segments <= missing[other].segments)
    assert.equal(before.total[kind].different.segments, 0)
  }
  assert.deepEqual(before.unread, [])
  const applied = await compare(config, true)
  for (const kind of kinds) {
    assert.equal(applied.total[kind].copied.segments, before.total[kind].missing.segments)
    assert.deepEqual(lackedByOther(applied.total[kind]), { segments: 0, events: 0 })
  }
  const after = await compare(config, true)
  for (const kind of kinds) {
    assert.equal(after.total[kind].equal.segments, sequence)
    assert.equal(after.total[kind].copied.segments, 0)
  }
})

test("a copy that a broker's death interrupts is finished by another run", {
  timeout: 300_000,
}, async (t) => {
  const { nats, kafka, config } = await servers(t, 1)
  const jetstream = await opened(t, config).openPublisher('jetstream')
  const count = 2000
  await Promise.all(
    Array.from({ length: count }, (_, n) =>
      jetstream.publish(0, stamped(1, n, { bytes: 4000, receivedAt: n })),
    ),
  )
  const brokers = brokersOf(config)
  let sent = 0
  const interrupted = reconcile({
    ...brokers,
    openPublisher: async (kind) => {
      const publisher = await brokers.openPublisher(kind)
      return {
        kind,
        away: undefined,
        close: () => publisher.close(),
        publish: (partition, segment) => {
          if (++sent === count / 2) void kafka.kill()
          return publisher.publish(partition, segment)
        },
      }
    },
    partitions: 1,
    openLedger: async () => () => false,
    apply: true,
    signal: new AbortController().signal,
  })
  await assert.rejects(interrupted, {
    name: 'ReconcileStopped',
    message: /copying into kafka stopped after /,
  })
  await kafka.restart()
  const { total } = await compare(config, true)
  const { equal, copied } = total.jetstream
  assert.equal(equal.segments + copied.segments, count)
  assert.ok(copied.segments > 0)
  const { total: again } = await compare(config, false)
  assert.equal(again.kafka.equal.segments, count)
  await nats.stop()
})

test('the log that nobody consumes is trimmed with the one that is consumed', {
  timeout: 300_000,
}, async (t) => {
  for (const consume of kinds) {
    const { nats, kafka, config } = await servers(t, 1)
    const maxBytes = 16 * 2 ** 20
    config.log.retention = { ...config.log.retention, maxBytes }
    const brokers = opened(t, config)
    const publisher = new DualPublisher({
      jetstream: await brokers.openPublisher('jetstream'),
      kafka: await brokers.openPublisher('kafka'),
      ackWhen: 'both',
      hooks: { onBehind() {}, onKeepingUp() {} },
    })
    const readers = {
      jetstream: await brokers.openReader('jetstream', 0),
      kafka: await brokers.openReader('kafka', 0),
    }
    const counted = new Set<number>()
    const held = { jetstream: { first: 0, most: 0 }, kafka: { first: 0, most: 0 } }
    const reader = new DualReader({
      ...readers,
      consume,
      maxBytes,
      counted: (_, sequence) => counted.has(sequence),
      hooks: {
        // As the processor does when that is on disk.
        onWalked: (lane, next) => reader.committed(new Map([[lane, next]])),
        onOverdue: (kind, _, sequence) => assert.fail(`${kind} ${sequence}`),
        onError: assert.fail,
      },
    })
    const stop = new AbortController()
    const reading = (async () => {
      for await (const { segment, lane, next } of reader.read(new Map(), stop.signal)) {
        counted.add(segment.sequence)
        reader.committed(new Map([[lane, next]]))
      }
    })()
    atEnd(t, () => stop.abort())
    const bytes = 256 * 1024
    for (let n = 0; n * bytes < 3 * maxBytes; n++) {
      const segment = stamped(1, n, { bytes, receivedAt: n })
      // JetStream is full until what was committed a moment ago is trimmed, which is not at once.
      for (let done = false; !done; ) {
        done = await publisher.publish(0, segment).then(
          () => true,
          async () => {
            await new Promise((resolve) => setTimeout(resolve, 100))
            return false
          },
        )
      }
      await until(() => counted.has(n))
      for (const kind of kinds) {
        const { first, next } = await readers[kind].bounds()
        held[kind] = { first, most: Math.max(held[kind].most, (next - first) * bytes) }
      }
    }
    for (const kind of kinds) {
      const { first, most } = held[kind]
      assert.ok(
        first > 1 && most < 2 * maxBytes,
        `${consume} is consumed; ${kind}: ${JSON.stringify(held[kind])}`,
      )
    }
    stop.abort()
    await reading
    await nats.stop()
    await kafka.stop()
  }
})
