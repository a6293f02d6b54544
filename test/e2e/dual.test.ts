// Two brokers at once: which one is read can be changed under way, and either can be away for a while.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import { stringify } from 'yaml'
import type { ReconcileReport } from '../../src/log/reconcile.ts'
import { until } from '../until.ts'
import { Client } from './client.ts'
import { assertCounted, untilAcked } from './counted.ts'
import { Daemon, entry, frame } from './daemon.ts'
import { logOf, startBrokers } from './kinds.ts'
import { random } from './random.ts'

const CLIENTS = 4
/** How long one broker is away. */
const OUTAGE_MS = 60_000

type Dual = { ackWhen: 'both' | 'any'; consume: 'jetstream' | 'kafka' | 'union' }

async function setUp(t: TestContext, dual: Dual) {
  const { seed, pick } = random(t)
  const brokers = await startBrokers(t, 'dual')
  // Room for all that comes while the log that is read is away: it waits to be reconciled.
  const log = logOf('dual', brokers, { retention: { maxBytes: '8GiB' } })
  const daemon = await Daemon.start(t, { config: { log: { ...log, dual } } })
  await daemon.until(({ log: { away } }) => away === undefined) // it may start before a broker answers
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
  const sending = clients.map((client) => client.run())
  return {
    pick,
    nats: brokers.nats!,
    kafka: brokers.kafka!,
    daemon,
    clients,
    settings: (over: Dual) => ({ log: { ...log, dual: over } }),
    async relaunch(over: Dual) {
      daemon.configure({ log: { ...log, dual: over } })
      await daemon.launch()
    },
    async finish() {
      for (const client of clients) client.stop()
      await Promise.all(sending)
    },
  }
}

/** `millrace reconcile --json`, as a person runs it. */
async function reconcile(config: Record<string, unknown>, dataDir: string, ...more: string[]) {
  const sets = Object.entries({ dataDir, ...config }).flatMap(([key, value]) => [
    '--set',
    `${key}=${stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trim()}`,
  ])
  const child = spawn(process.execPath, [entry, 'reconcile', '--json', ...sets, ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  child.stderr.setEncoding('utf8').on('data', (part) => {
    errors += part
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  assert.ok(text !== '', `reconcile ended with ${code}: ${errors}`)
  return { code, report: JSON.parse(text) as ReconcileReport }
}

test('the log that is read is changed back and forth under load, by stops and by kills', async (t) => {
  const { daemon, clients, relaunch, finish, pick } = await setUp(t, {
    ackWhen: 'both',
    consume: 'jetstream',
  })
  for (const consume of ['kafka', 'jetstream', 'union', 'kafka', 'jetstream'] as const) {
    await untilAcked(clients, 300)
    if (pick([true, false])) await daemon.stop()
    else await daemon.killAll()
    await relaunch({ ackWhen: 'both', consume })
  }
  await untilAcked(clients, 300)
  await finish()
  await assertCounted(daemon, clients)
})

test('any: one broker is away for a minute, is reconciled, and is read again: exact counts', async (t) => {
  const any = { ackWhen: 'any', consume: 'jetstream' } as const
  const { daemon, clients, nats, settings, relaunch, finish } = await setUp(t, any)
  await untilAcked(clients, 200)
  const before = daemon.lines.length
  await nats.kill()
  const away = await daemon.until(({ log }) => log.away?.jetstream !== undefined)
  assert.deepEqual(Object.keys(away.log.away!), ['jetstream'])
  const outageEnds = Date.now() + OUTAGE_MS
  await untilAcked(clients, 500)
  await until(() => Date.now() > outageEnds, 'the end of the outage')
  const { log } = await daemon.status()
  assert.ok(log.missing!.jetstream.segments > 0, 'what JetStream lacks is told')
  assert.equal(log.missing!.kafka, undefined)
  const lines = daemon.lines
    .slice(before)
    .filter(({ msg }) => String(msg).startsWith('waiting for jetstream'))
  assert.ok(lines.length >= 1 && lines.length <= 6, `${lines.length} lines for one outage`)

  await nats.restart()
  await daemon.until((status) => status.log.away === undefined)
  await untilAcked(clients, 200)
  await finish()
  const config = settings(any)
  const found = await reconcile(config, daemon.dataDir)
  assert.equal(found.code, 1)
  const { total } = found.report
  for (const side of ['jetstream', 'kafka'] as const) {
    const { held, copied: _, ...parts } = total[side]
    const sum = Object.values(parts).reduce((segments, part) => segments + part.segments, 0)
    assert.equal(held.segments, sum, `${side}: the numbers add up`)
  }
  assert.equal(total.kafka.different.segments, 0)
  assert.ok(total.kafka.missing.segments > 0)
  const applied = await reconcile(config, daemon.dataDir, '--apply')
  assert.equal(applied.code, 0, inspect(applied.report, { depth: null }))
  const { copied, missing, counted } = applied.report.total.kafka
  assert.equal(copied.segments, missing.segments + counted.segments)
  assert.ok(copied.segments >= total.kafka.missing.segments)
  await assertCounted(daemon, clients)
  assert.equal((await reconcile(config, daemon.dataDir, '--apply')).code, 0, 'twice does no harm')
  assert.equal((await reconcile(config, daemon.dataDir)).code, 0)

  await daemon.stop()
  await relaunch({ ackWhen: 'any', consume: 'kafka' })
  await daemon.until(({ processed }) => processed.redelivered.events > 0)
  await assertCounted(daemon, clients)
})

test('any: a start while one broker is away goes on with the other one', async (t) => {
  const brokers = await startBrokers(t, 'dual')
  await brokers.nats!.kill()
  const log = { ...logOf('dual', brokers), dual: { ackWhen: 'any', consume: 'kafka' } }
  const daemon = await Daemon.start(t, { config: { log } })
  assert.equal((await daemon.post(frame({ subject: 'a' }))).status, 202)
  const status = await daemon.processed(1)
  assert.ok(status.log.away!.jetstream.length > 0)
  assert.deepEqual(status.log.missing, { jetstream: { segments: 1, events: 1 } })
  await brokers.nats!.restart()
  await daemon.until(({ log: { away } }) => away === undefined)
})

test('both: while one broker is away everything is refused, and nothing is left of it', async (t) => {
  const { daemon, clients, kafka, finish } = await setUp(t, { ackWhen: 'both', consume: 'jetstream' })
  await untilAcked(clients, 100)
  await kafka.kill()
  await daemon.until(({ log }) => log.away?.kafka !== undefined)
  await until(() => clients.every(({ refusals }) => refusals.has(503)), 'every client to hear 503')
  await kafka.restart()
  await untilAcked(clients, 200)
  await finish()
  await assertCounted(daemon, clients)
})
