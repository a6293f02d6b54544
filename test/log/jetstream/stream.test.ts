import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { DiscardPolicy, nanos, RetentionPolicy, StorageType, type StreamConfig } from 'nats'
import { segmentBytesMax } from '../../../src/config/log-size.ts'
import { openJetStreamPublisher } from '../../../src/log/jetstream/open.ts'
import { JetStreamPublisher } from '../../../src/log/jetstream/publisher.ts'
import { LogMisconfigured } from '../../../src/log/log.ts'
import { aside, configOf, ownServer, servers, Told } from './server.ts'

const misconfigured =
  (...words: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof LogMisconfigured, `${error}`)
    for (const word of words) assert.ok(error.message.includes(word), `${word} in: ${error.message}`)
    return true
  }

test('the stream is made with the settings that the promises need', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions: 3 })
  const publisher = await openJetStreamPublisher(config, new Told())
  await publisher.close()
  const manager = await (await aside(t, addresses)).jetstreamManager()
  const { config: made } = await manager.streams.info(config.log.jetstream.stream)
  assert.deepEqual(made.subjects, [`${config.log.jetstream.stream}.*`])
  assert.equal(made.retention, 'limits')
  assert.equal(made.storage, 'file')
  assert.equal(made.discard, 'new')
  assert.equal(made.max_bytes, config.log.retention.maxBytes)
  assert.equal(made.max_age, 0)
  assert.equal(made.max_msgs, -1)
  assert.equal(made.max_msgs_per_subject, -1)
  assert.ok(made.duplicate_window >= nanos(120_000))
})

test('many may make it at the same time, and find it later', async (t) => {
  const config = configOf(t, await servers())
  const told = new Told()
  const publishers = await Promise.all(Array.from({ length: 8 }, () => openJetStreamPublisher(config, told)))
  publishers.push(await openJetStreamPublisher(config, told))
  await Promise.all(publishers.map((publisher) => publisher.close()))
  assert.deepEqual(told.notices, [])
  assert.deepEqual(told.all, [])
})

/** Opens a publisher on a stream that is there already. */
async function openOn(t: TestContext, settings: Partial<StreamConfig>, partitions = 2) {
  const addresses = await servers()
  const config = configOf(t, addresses, { partitions })
  const { stream } = config.log.jetstream
  const manager = await (await aside(t, addresses)).jetstreamManager()
  const right: Partial<StreamConfig> = {
    name: stream,
    subjects: [`${stream}.*`],
    discard: DiscardPolicy.New,
    max_bytes: config.log.retention.maxBytes,
  }
  await manager.streams.add({ ...right, ...settings } as StreamConfig)
  const told = new Told()
  const opened = JetStreamPublisher.open(config, told)
  return { told, stream, config, opened }
}

const wrong: [string, Partial<StreamConfig> & Record<string, unknown>, string[]][] = [
  ['old ones are discarded', { discard: DiscardPolicy.Old }, ['discard is "old" and must be new']],
  ['messages age', { max_age: nanos(3_600_000) }, ['max_age is 3600000000000 and must be 0']],
  ['their number is limited', { max_msgs: 1000 }, ['max_msgs is 1000 and must be -1']],
  ['or that of a subject', { max_msgs_per_subject: 10 }, ['max_msgs_per_subject is 10 and must be -1']],
  ['it is in memory', { storage: StorageType.Memory }, ['storage is "memory" and must be file']],
  ['it keeps what interests somebody', { retention: RetentionPolicy.Interest }, ['retention is "interest"']],
  ['it is a work queue', { retention: RetentionPolicy.Workqueue }, ['retention is "workqueue"']],
  ['messages are too small', { max_msg_size: 1000 }, ['max_msg_size is 1000 and must be -1 or']],
  ['readers are too few', { max_consumers: 1 }, ['max_consumers is 1 and must be -1 or 4 at least']],
  ['it cannot be purged', { deny_purge: true }, ['deny_purge is true and must be false']],
  ['it does not confirm', { no_ack: true }, ['no_ack is true and must be false']],
  ['it has other sources', { sources: [{ name: 'elsewhere' }] as never }, ['sources is', 'must be left out']],
  ['it mirrors another', { mirror: { name: 'elsewhere' } as never, subjects: [] }, ['mirror is "elsewhere"']],
  ['it writes behind', { persist_mode: 'async' }, ['persist_mode is "async" and must be default']],
  ['several at once', { discard: DiscardPolicy.Old, max_msgs: 5 }, ['discard is "old"', 'max_msgs is 5']],
]

for (const [name, settings, words] of wrong) {
  test(`a stream is refused where ${name}`, async (t) => {
    const { opened, stream } = await openOn(t, settings)
    await assert.rejects(opened, misconfigured(stream, ...words))
  })
}

test('a stream is refused that does not take the subjects of all partitions', async (t) => {
  const { opened, stream } = await openOn(t, { subjects: ['other.>'] })
  await assert.rejects(opened, misconfigured(stream, 'subjects is', `${stream}.0`, `${stream}.*`))
})

test('a sealed stream is refused', async (t) => {
  const addresses = await servers()
  const config = configOf(t, addresses)
  await (await JetStreamPublisher.open(config, new Told())).close()
  const manager = await (await aside(t, addresses)).jetstreamManager()
  await manager.streams.update(config.log.jetstream.stream, { sealed: true } as never)
  await assert.rejects(
    JetStreamPublisher.open(config, new Told()),
    misconfigured('sealed is true and must be false'),
  )
})

test('a stream of more than the budget is used, and that is said', async (t) => {
  const { opened, told, stream } = await openOn(t, { max_bytes: 2 ** 30 })
  await (await opened).close()
  assert.equal(told.notices.length, 1)
  assert.match(
    told.notices[0],
    new RegExp(`${stream} has max_bytes 1073741824, and log.retention.maxBytes is 268435456`),
  )
})

test('a stream of less than the budget grows to it, also where several processes find it so', async (t) => {
  const { opened, told, stream, config } = await openOn(t, { max_bytes: 2 ** 26 })
  const others = Array.from({ length: 3 }, () => JetStreamPublisher.open(config, told))
  for (const publisher of await Promise.all([opened, ...others])) await publisher.close()
  const manager = await (await aside(t, await servers())).jetstreamManager()
  const { config: now } = await manager.streams.info(stream)
  assert.equal(now.max_bytes, config.log.retention.maxBytes)
  assert.deepEqual(now.subjects, [`${stream}.*`])
  assert.equal(now.discard, 'new')
  assert.deepEqual(told.notices, [])
})

test('a stream that cannot grow to the budget is refused, with both figures', async (t) => {
  const addresses = await servers()
  const small = configOf(t, addresses)
  await (await JetStreamPublisher.open(small, new Told())).close()
  const large = { ...small, log: { ...small.log, retention: { ...small.log.retention, maxBytes: 2 ** 50 } } }
  const { maxBytes } = small.log.retention
  await assert.rejects(
    JetStreamPublisher.open(large, new Told()),
    misconfigured(`max_bytes ${maxBytes}`, `${2 ** 50} (log.retention.maxBytes)`),
  )
})

test('subjects may be taken by wider patterns', async (t) => {
  for (const pattern of ['.>', '.0']) {
    const addresses = await servers()
    const config = configOf(t, addresses, { partitions: 1 })
    const { stream } = config.log.jetstream
    const manager = await (await aside(t, addresses)).jetstreamManager()
    const { maxBytes } = config.log.retention
    const subjects = [`elsewhere.${stream}`, `${stream}${pattern}`]
    await manager.streams.add({ name: stream, subjects, discard: DiscardPolicy.New, max_bytes: maxBytes })
    await (await JetStreamPublisher.open(config, new Told())).close()
  }
})

test('what the server cannot make is named with the keys of the configuration', async (t) => {
  const addresses = await servers()
  const large = configOf(t, addresses, { maxBytes: 2 ** 50 })
  await assert.rejects(JetStreamPublisher.open(large, new Told()), misconfigured('log.retention.maxBytes'))
  const many = configOf(t, addresses, { replicas: 3 })
  await assert.rejects(
    JetStreamPublisher.open(many, new Told()),
    misconfigured('log.jetstream.replicas', 'num_replicas 3'),
  )
})

test('a server whose messages are too small for our segments is refused, with the value it needs', async (t) => {
  const nats = await ownServer(t, { maxPayload: 2 ** 20 })
  const config = configOf(t, nats.servers)
  const needed = segmentBytesMax(config.http.maxBody) + 256
  const opened = JetStreamPublisher.open(config, new Told())
  await assert.rejects(opened, misconfigured('max_payload', '1048576', `${needed}`, 'http.maxBody'))
})

test('a server without JetStream is refused', async (t) => {
  const nats = await ownServer(t, { noJetStream: true })
  await assert.rejects(
    JetStreamPublisher.open(configOf(t, nats.servers), new Told()),
    misconfigured('JetStream is not enabled'),
  )
})
