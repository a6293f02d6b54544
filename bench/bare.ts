// What the bare clients do with records of the size that the daemon sends: the ceiling that each sets.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Producer as PlatformaticProducer } from '@platformatic/kafka'
import { Kafka as KafkaJs, logLevel } from 'kafkajs'
import { connect, headers } from 'nats'
import { startKafka } from '../scripts/brokers/kafka.ts'
import { startNats } from '../scripts/brokers/nats.ts'

const SIZES = [200, 16 * 1024, 64 * 1024, 256 * 1024]
/** Sent and not confirmed, bytes and sends. */
const IN_FLIGHT_BYTES = 4 * 1024 * 1024
const IN_FLIGHT_MAX = 512
/** Records that go to Kafka with one send: 1 MiB, and no more than kafkajs bears. */
const BATCH_BYTES = 1024 * 1024
const BATCH_MAX = 2000
const TOPIC = 'bare'

interface Client {
  /** Records of one send. */
  batch(bytes: number): number
  send(record: Buffer, count: number): Promise<unknown>
  close(): Promise<void>
}

async function nats(syncAlways: boolean): Promise<Client> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bare-'))
  const server = await startNats({ folder, syncAlways })
  const connection = await connect({ servers: server.servers, noAsyncTraces: true })
  const manager = await connection.jetstreamManager()
  await manager.streams.add({ name: TOPIC, subjects: [`${TOPIC}.0`] })
  const stream = connection.jetstream()
  let sent = 0
  return {
    batch: () => 1,
    send(record) {
      const identity = headers()
      identity.set('Nats-Msg-Id', String(sent++))
      return stream.publish(`${TOPIC}.0`, record, { headers: identity })
    },
    async close() {
      await connection.close()
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function kafka(client: 'kafkajs' | 'platformatic', flush: boolean): Promise<Client> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bare-'))
  const server = await startKafka({
    folder,
    fast: true,
    properties: flush ? { 'log.flush.interval.messages': '1' } : {},
  })
  const js = new KafkaJs({ brokers: server.brokers, logLevel: logLevel.NOTHING })
  const admin = js.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 1 }], waitForLeaders: true })
  await admin.disconnect()
  const batch = (bytes: number) => Math.min(BATCH_MAX, Math.max(1, Math.floor(BATCH_BYTES / bytes)))
  const messages = (value: Buffer, count: number) =>
    Array.from({ length: count }, () => ({ topic: TOPIC, partition: 0, value }))
  const close = async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
  if (client === 'kafkajs') {
    const producer = js.producer({ idempotent: true, maxInFlightRequests: 5 })
    await producer.connect()
    return {
      batch,
      send: (value, count) => producer.send({ topic: TOPIC, acks: -1, messages: messages(value, count) }),
      close: () => producer.disconnect().then(close),
    }
  }
  const producer = new PlatformaticProducer({
    clientId: 'bare',
    bootstrapBrokers: server.brokers,
    // Not idempotent: with several sends in flight the sequences that it makes come to the broker out of order (1.35.0).
  })
  return {
    batch,
    send: (value, count) => producer.send({ messages: messages(value, count), acks: -1 }),
    close: () => producer.close().then(close),
  }
}

/** Records confirmed a second, many in flight. */
async function rate(client: Client, bytes: number, seconds: number): Promise<number> {
  const record = Buffer.alloc(bytes, 120)
  const batch = client.batch(bytes)
  const inFlight = Math.min(IN_FLIGHT_MAX, Math.max(1, Math.floor(IN_FLIGHT_BYTES / (bytes * batch))))
  const deadline = performance.now() + seconds * 1000
  let confirmed = 0
  const started = performance.now()
  const stream = async () => {
    while (performance.now() < deadline) {
      await client.send(record, batch)
      confirmed += batch
    }
  }
  await Promise.all(Array.from({ length: inFlight }, stream))
  return (confirmed / (performance.now() - started)) * 1000
}

/** Prints records/s and MB/s of each client alone, its broker on the same cores. */
export async function bareTable(seconds: number): Promise<void> {
  const clients: [string, () => Promise<Client>][] = [
    ['nats, one message a publish', () => nats(false)],
    ['nats, sync_interval always', () => nats(true)],
    ['kafkajs', () => kafka('kafkajs', false)],
    ['platformatic', () => kafka('platformatic', false)],
    ['kafkajs, flush each', () => kafka('kafkajs', true)],
    ['platformatic, flush each', () => kafka('platformatic', true)],
  ]
  console.log(
    '\nbare clients, several sends in flight, to Kafka with up to 1 MiB of records: records/s (MB/s)\n',
  )
  console.log(`| client | ${SIZES.map((bytes) => `${bytes} B`).join(' | ')} |`)
  console.log(`|${'---|'.repeat(SIZES.length + 1)}`)
  for (const [name, open] of clients) {
    const client = await open()
    try {
      const cells: string[] = []
      for (const bytes of SIZES) {
        await rate(client, bytes, 1)
        const records = await rate(client, bytes, seconds)
        cells.push(`${Math.round(records)} (${((records * bytes) / 1e6).toFixed(0)})`)
      }
      console.log(`| ${name} | ${cells.join(' | ')} |`)
    } finally {
      await client.close()
    }
  }
}
