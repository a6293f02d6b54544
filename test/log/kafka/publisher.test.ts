import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { crc32 } from 'node:zlib'
import kafkajs from 'kafkajs'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import {
  clients,
  configFor,
  Heard,
  names,
  outcome,
  publisherFor,
  readerFor,
  sockets,
  stamped,
  WRITER,
} from './fixture.ts'

const kafka = await startKafka()
after(() => kafka.stop())

/** As in limits.ts, but shorter. */
const limits = { confirmMs: 3000, stallMs: 500, reconnectMsMin: 20, reconnectMsMax: 200 }

for (const client of clients) {
  test(`${client}: many in flight to several partitions keep their order`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: 3 })
    const publisher = await publisherFor(t, config)
    const sizes = [1, 300, 70_000]
    const published: Promise<void>[] = []
    for (let n = 0; n < 300; n++) published.push(publisher.publish(n % 3, stamped(n, sizes[n % 7] ?? 20)))
    await Promise.all(published)
    for (const partition of [0, 1, 2]) {
      const reading = new Reading(await readerFor(t, config, { partition }))
      await reading.count(100)
      assert.deepEqual(
        reading.names,
        names(0, 300).filter((_, n) => n % 3 === partition),
      )
      await reading.stop()
    }
  })

  test(`${client}: a record carries its identity and its checksum`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    const segment = stamped(41)
    await publisher.publish(0, segment)
    const { value, headers } = await firstRecord(t, config.log.kafka.topic)
    assert.ok(value.equals(segment.bytes))
    assert.deepEqual(headers, {
      'millrace-id': `${WRITER}.41`,
      'millrace-crc': crc32(segment.bytes).toString(16).padStart(8, '0'),
    })
  })

  test(`${client}: a broker that is killed and started again loses and doubles nothing`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: 2 })
    const heard = new Heard()
    const publisher = await publisherFor(t, config, heard, { limits: { ...limits, confirmMs: 60_000 } })
    const kept: number[][] = [[], []]
    let ended = false
    const publishing = [0, 1].map(async (partition) => {
      for (let n = 0; !ended; n++) {
        const one = await outcome(publisher.publish(partition, stamped(n, 500)))
        if (one === 'kept') kept[partition].push(n)
        else await until(() => publisher.away === undefined)
      }
    })
    await until(() => kept.every(({ length }) => length > 20))
    await kafka.kill()
    await heard.until(() => heard.isAway)
    await kafka.restart()
    await heard.until(() => !heard.isAway)
    const before = kept.map(({ length }) => length)
    await until(() => kept.every(({ length }, i) => length > before[i] + 20))
    ended = true
    await Promise.all(publishing)
    for (const partition of [0, 1]) {
      const reading = new Reading(await readerFor(t, config, { partition }))
      await reading.count(kept[partition].length)
      await reading.stop()
      assert.deepEqual(
        reading.names,
        kept[partition].map((n) => `n${n}`),
      )
    }
  })

  test(`${client}: a silent broker is away, and those that were sent are unconfirmed`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const heard = new Heard()
    const publisher = await publisherFor(t, config, heard, { limits })
    await publisher.publish(0, stamped(0))
    const { backs, away } = heard
    const aways = away.length // a slow machine may have had its own
    kafka.pause()
    atEnd(t, () => kafka.resume())
    const started = performance.now()
    const sent = outcome(publisher.publish(0, stamped(1)))
    await until(() => publisher.away !== undefined)
    const awayAfter = performance.now() - started
    assert.ok(awayAfter >= limits.stallMs && awayAfter < limits.confirmMs, `away after ${awayAfter} ms`)
    assert.equal(await outcome(publisher.publish(0, stamped(2))), 'LogUnavailable')
    assert.equal(await sent, 'LogUnconfirmed')
    assert.ok(performance.now() - started < 2 * limits.confirmMs)
    assert.equal(away.length, aways + 1)
    kafka.resume()
    await heard.until(() => heard.backs > backs)
    await publisher.publish(0, stamped(3))
    const reading = new Reading(await readerFor(t, config))
    await reading.until(() => reading.names.includes('n3'))
    await reading.stop()
    assert.deepEqual(
      reading.names.filter((name) => name !== 'n1'),
      ['n0', 'n3'],
    )
  })

  test(`${client}: what never left is surely not in the log`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const heard = new Heard()
    const bounds = { ...limits, stallMs: 60_000, confirmMs: 5000 }
    const publisher = await publisherFor(t, config, heard, { limits: bounds })
    await publisher.publish(0, stamped(0))
    kafka.pause()
    atEnd(t, () => kafka.resume())
    const before = sent()
    const left = outcome(publisher.publish(0, stamped(1)))
    await until(() => sent() > before)
    const waiting = [2, 3].map((n) => outcome(publisher.publish(0, stamped(n)))) // behind the one that is on its way
    await kafka.kill()
    assert.equal(await left, 'LogUnconfirmed')
    assert.deepEqual(await Promise.all(waiting), ['LogUnavailable', 'LogUnavailable'])
    await heard.until(() => heard.isAway)
    await kafka.restart()
    await heard.until(() => !heard.isAway)
    await publisher.publish(0, stamped(9))
    const reading = new Reading(await readerFor(t, config))
    await reading.until(() => reading.names.includes('n9'))
    await reading.stop()
    assert.deepEqual(
      reading.names.filter((name) => name !== 'n1'), // which nobody spoke of
      ['n0', 'n9'],
    )
  })

  test(`${client}: a broker that goes while nothing is published is noticed, and so is its return`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const heard = new Heard()
    const publisher = await publisherFor(t, config, heard, { limits: { ...limits, confirmMs: 60_000 } })
    await publisher.publish(0, stamped(0))
    await kafka.kill()
    await heard.until(() => heard.isAway)
    const aways = heard.away.length
    assert.equal(await outcome(publisher.publish(0, stamped(1))), 'LogUnavailable')
    await kafka.restart()
    assert.equal(heard.away.length, aways, 'it is told once')
    await heard.until(() => !heard.isAway)
    await publisher.publish(0, stamped(1))
  })

  test(`${client}: closing waits for what is on its way`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    const sent = Array.from({ length: 50 }, (_, n) => outcome(publisher.publish(0, stamped(n, 10_000))))
    await publisher.close()
    assert.deepEqual(new Set(await Promise.all(sent)), new Set(['kept']))
    assert.equal(await outcome(publisher.publish(0, stamped(50))), 'LogUnavailable')
  })

  test(`${client}: a topic that is gone is away: what was sent to it is unconfirmed, and nothing more is sent`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config, new Heard(), { limits: { ...limits, confirmMs: 5000 } })
    await publisher.publish(0, stamped(0))
    const admin = new kafkajs.Kafka({ brokers: kafka.brokers, logLevel: 0 }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [config.log.kafka.topic] })
    await admin.disconnect()
    // That it knows no topic a broker says of a batch that it wrote, too, where the topic went meanwhile.
    assert.equal(await outcome(publisher.publish(0, stamped(1))), 'LogUnconfirmed')
    assert.match(publisher.away ?? '', /there is no topic/)
    assert.equal(await outcome(publisher.publish(0, stamped(2))), 'LogUnavailable')
  })
}

/** Bytes that this process has put into sockets that are open. */
function sent(): number {
  return sockets().reduce((sum, { bytesWritten }) => sum + bytesWritten, 0)
}

/** With the public consumer of kafkajs: another reader than ours. */
async function firstRecord(t: Parameters<typeof atEnd>[0], topic: string) {
  const consumer = new kafkajs.Kafka({ brokers: kafka.brokers, logLevel: 0 }).consumer({ groupId: topic })
  await consumer.connect()
  atEnd(t, () => consumer.disconnect())
  await consumer.subscribe({ topic, fromBeginning: true })
  return new Promise<{ value: Buffer; headers: Record<string, string> }>((resolve) => {
    void consumer.run({
      eachMessage: async ({ message: { value, headers } }) => {
        const texts = Object.entries(headers ?? {}).map(([name, text]) => [name, String(text)])
        resolve({ value: value!, headers: Object.fromEntries(texts) })
      },
    })
  })
}
