import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import kafkajs from 'kafkajs'
import { startKafka } from '../../../scripts/brokers/kafka.ts'
import { segmentBytesMax } from '../../../src/config/log-size.ts'
import { openKafkaPublisher } from '../../../src/log/kafka/open.ts'
import { LogMisconfigured } from '../../../src/log/log.ts'
import {
  administrator,
  clients,
  configFor,
  Heard,
  MAX_BODY,
  publisherFor,
  readerFor,
  stamped,
} from './fixture.ts'

const kafka = await startKafka()
after(() => kafka.stop())

for (const client of clients) {
  test(`${client}: several that start at once make one topic, with all it needs`, async (t) => {
    const config = configFor(kafka.brokers, client, { partitions: 3 })
    await Promise.all(Array.from({ length: 4 }, () => publisherFor(t, config)))
    const admin = await administrator(t, kafka.brokers)
    const { topic } = config.log.kafka
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    assert.equal(topics[0].partitions.length, 3)
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }],
    })
    const settings = new Map(
      resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue]),
    )
    assert.equal(settings.get('cleanup.policy'), 'delete')
    assert.equal(settings.get('retention.ms'), '-1')
    assert.equal(settings.get('retention.bytes'), '-1')
    assert.ok(Number(settings.get('max.message.bytes')) > segmentBytesMax(MAX_BODY))
  })

  test(`${client}: the largest segment fits`, async (t) => {
    const config = configFor(kafka.brokers, client)
    const publisher = await publisherFor(t, config)
    await publisher.publish(0, stamped(0, segmentBytesMax(MAX_BODY) - 128))
    const reader = await readerFor(t, config)
    assert.deepEqual(await reader.bounds(), { first: 0, next: 1 })
  })

  const wrong: [string, Record<string, string>, RegExp][] = [
    ['is compacted', { 'cleanup.policy': 'compact' }, /cleanup\.policy=compact: it must be delete/],
    ['is compacted too', { 'cleanup.policy': 'compact,delete' }, /cleanup\.policy=compact,delete/],
    [
      'takes too little',
      { 'max.message.bytes': '1048588' },
      /max\.message\.bytes=1048588: it must be [0-9]+ or/,
    ],
    ['forgets what is old', { 'retention.ms': '604800000' }, /retention\.ms=604800000: it must be -1/],
    ['is bounded', { 'retention.bytes': '10000000000' }, /retention\.bytes=10000000000: it must be -1/],
    ['is packed', { 'compression.type': 'zstd' }, /compression\.type=zstd: it must be producer/],
  ]
  for (const [what, settings, message] of wrong) {
    test(`${client}: a topic that ${what} is refused, with what it must be`, async (t) => {
      const config = configFor(kafka.brokers, client)
      await make(await administrator(t, kafka.brokers), config.log.kafka.topic, settings)
      await assert.rejects(openKafkaPublisher(config, new Heard()), (error: Error) => {
        assert.ok(error instanceof LogMisconfigured, `${error}`)
        assert.match(error.message, message)
        assert.ok(error.message.includes(config.log.kafka.topic))
        return true
      })
    })
  }

  test(`${client}: a topic of an administrator's that keeps all is taken`, async (t) => {
    const config = configFor(kafka.brokers, client)
    await make(await administrator(t, kafka.brokers), config.log.kafka.topic, {
      'max.message.bytes': '20000000',
    })
    const publisher = await publisherFor(t, config)
    await publisher.publish(0, stamped(0))
  })

  for (const partitions of [1, 3]) {
    test(`${client}: a topic with ${partitions} partitions where 2 are configured is refused`, async (t) => {
      const config = configFor(kafka.brokers, client, { partitions: 2 })
      await make(await administrator(t, kafka.brokers), config.log.kafka.topic, {}, partitions)
      await assert.rejects(openKafkaPublisher(config, new Heard()), {
        name: 'LogMisconfigured',
        message: `the topic ${config.log.kafka.topic} has ${partitions} partitions, log.partitions is 2: they must be equal`,
      })
    })
  }

  test(`${client}: more replicas than there are brokers are refused, naming the setting`, async () => {
    const config = configFor(kafka.brokers, client, { kafka: { replicas: 3 } })
    await assert.rejects(openKafkaPublisher(config, new Heard()), {
      name: 'LogMisconfigured',
      message: /log\.kafka\.replicas: 3/,
    })
  })
}

async function make(
  admin: Awaited<ReturnType<typeof administrator>>,
  topic: string,
  settings: Record<string, string>,
  numPartitions = 1,
): Promise<void> {
  const configEntries = Object.entries({
    'max.message.bytes': '16777216',
    'retention.ms': '-1',
    ...settings,
  }).map(([name, value]) => ({ name, value }))
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }],
  })
}
