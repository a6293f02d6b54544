// Brokers that are not what the configuration says: told at the start, in words that name the setting.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'nats'
import { startKafka } from '../../scripts/brokers/kafka.ts'
import { startNats } from '../../scripts/brokers/nats.ts'
import { atEnd, Daemon, frame, temporaryFolder } from './daemon.ts'
import { logOf, startBrokers } from './kinds.ts'

const said = (daemon: Daemon) => daemon.tail()

test('jetstream: a stream that would drop what is old ends the start with exit code 2', async (t) => {
  const brokers = await startBrokers(t, 'jetstream')
  const log = logOf('jetstream', brokers)
  const client = await connect({ servers: brokers.nats!.servers })
  const { stream } = log.jetstream as { stream: string }
  const manager = await client.jetstreamManager()
  await manager.streams.add({
    name: stream,
    subjects: [`${stream}.*`],
    discard: 'old' as never,
    max_bytes: 2 ** 30,
  })
  await client.close()
  const { code, daemon } = await Daemon.run(t, { config: { log } })
  assert.equal(code, 2)
  assert.match(said(daemon), new RegExp(`stream ${stream}.*discard`))
})

test('jetstream: a wrong password ends the start with exit code 2, and is not told', async (t) => {
  const nats = await startNats({
    folder: await temporaryFolder(t),
    user: { name: 'a', password: 'right' },
  })
  atEnd(t, () => nats.stop())
  const jetstream = { servers: nats.servers, user: 'a', password: 'wrong-secret' }
  const { code, daemon } = await Daemon.run(t, { config: { log: { kind: 'jetstream', jetstream } } })
  assert.equal(code, 2)
  assert.match(said(daemon), /user|password|authoriz/i)
  assert.doesNotMatch(said(daemon), /wrong-secret/)
})

test('kafka: a topic with too few partitions ends the start with exit code 2', async (t) => {
  const brokers = await startBrokers(t, 'kafka')
  const log = logOf('kafka', brokers)
  const first = await Daemon.start(t, { config: { log } })
  await first.stop()
  const { code, daemon } = await Daemon.run(t, { config: { log: { ...log, partitions: 4 } } })
  assert.equal(code, 2)
  assert.match(said(daemon), /topic \S+ has 1 partition.*4/)
})

test('kafka: a wrong password ends the start with exit code 2, and is not told', async (t) => {
  const kafka = await startKafka({
    folder: await temporaryFolder(t),
    sasl: { username: 'a', password: 'right' },
  })
  atEnd(t, () => kafka.stop())
  const sasl = { mechanism: 'plain', username: 'a', password: 'wrong-secret' }
  const log = { kind: 'kafka', kafka: { brokers: kafka.saslBrokers, sasl } }
  const { code, daemon } = await Daemon.run(t, { config: { log } })
  assert.equal(code, 2)
  assert.match(said(daemon), /username|password|authentic/i)
  assert.doesNotMatch(said(daemon), /wrong-secret/)
})

for (const kind of ['jetstream', 'kafka'] as const) {
  test(`${kind}: a server that is not there is waited for, and says so once`, async (t) => {
    const brokers = await startBrokers(t, kind)
    const server = brokers.nats ?? brokers.kafka!
    const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
    await daemon.stop()
    await server.kill()
    const from = daemon.lines.length
    const launching = daemon.launch()
    const isWaiting = ({ msg }: { msg?: unknown }) => String(msg).startsWith(`waiting for ${kind}`)
    await daemon.line(isWaiting, from)
    await daemon.until(({ log }) => log.away !== undefined) // attempts went on meanwhile
    await server.restart()
    await launching
    await daemon.until(({ log }) => log.away === undefined)
    const lines = daemon.lines.slice(from).filter(isWaiting)
    assert.ok(lines.length <= 3, `${lines.length} lines of three processes`)
    assert.equal((await daemon.post(frame({ subject: 'a' }))).status, 202)
    await daemon.processed(1)
  })
}

for (const kind of ['jetstream', 'kafka', 'dual'] as const) {
  test(`${kind}: started while its broker is away, it answers queries, and 503 to events`, async (t) => {
    const brokers = await startBrokers(t, kind)
    const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
    assert.equal((await daemon.post(frame({ subject: 'a' }))).status, 202)
    await daemon.processed(1)
    await daemon.stop()
    const server = brokers.kafka ?? brokers.nats!
    await server.kill()
    const launching = daemon.launch()
    const status = await daemon.until(({ processed }) => processed.events === 1)
    assert.equal(status.log.kind, kind)
    const refused = await daemon.post(frame({ subject: 'b' }))
    assert.equal(refused.status, 503)
    assert.ok(Number(refused.headers.get('retry-after')) > 0)
    await daemon.until(({ log }) => log.away !== undefined)
    await server.restart()
    await launching
    await daemon.until(({ log }) => log.away === undefined)
    assert.equal((await daemon.post(frame({ subject: 'b' }))).status, 202)
    await daemon.processed(2)
  })
}
