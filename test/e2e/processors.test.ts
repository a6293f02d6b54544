// Roles apart: daemons that share a broker and a data directory, with several processors that share the partitions.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { OWNER_SILENT_MS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { Client } from './client.ts'
import { assertCounted, untilAcked } from './counted.ts'
import { atEnd, childrenOf, Daemon, temporaryFolder } from './daemon.ts'
import { type Kind, logOf, startBrokers } from './kinds.ts'
import { random } from './random.ts'

const PARTITIONS = 4
const CLIENTS = 8

async function setUp(t: TestContext, kind: Kind) {
  const { seed } = random(t)
  const brokers = await startBrokers(t, kind)
  const dataDir = await temporaryFolder(t)
  const config = { log: logOf(kind, brokers, { partitions: PARTITIONS }), pool: { threads: 1 } }
  const start = (roles: string) => Daemon.start(t, { dataDir, config, roles })
  const processors = await Promise.all(Array.from({ length: PARTITIONS }, () => start('processor')))
  const [ingest, gateway] = await Promise.all([start('ingest'), start('gateway')])
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(ingest, `client-${i}`, seed + i))
  const sending = clients.map((client) => client.run())
  return {
    processors,
    ingest,
    gateway,
    clients,
    async finish() {
      for (const client of clients) client.stop()
      await Promise.all(sending)
    },
  }
}

for (const kind of ['jetstream', 'kafka'] as const) {
  test(`${kind}: two of four processors are killed under load and come back; queries are answered throughout`, async (t) => {
    const { processors, ingest, gateway, clients, finish } = await setUp(t, kind)
    await untilAcked(clients, 200)
    let asking = true
    let answers = 0
    const asked = (async () => {
      for (; asking; answers++) {
        const { rows } = await gateway.get('/v1/measures/by-subject/top?by=count&limit=20')
        assert.ok(rows.length <= CLIENTS)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    await Promise.all([processors[0].killAll(), processors[2].killAll()])
    await untilAcked(clients, 400)
    // The two that are left take over what the others had.
    const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
    await ingest.until(({ processed }) => processed.events >= acked, 60_000)
    await Promise.all([processors[0].launch(), processors[2].launch()])
    await untilAcked(clients, 400)
    await finish()
    asking = false
    await asked
    assert.ok(answers > 10)
    await assertCounted(ingest, clients)
    const response = await gateway.post(new Uint8Array())
    assert.equal(response.status, 404, 'a gateway takes no events')
  })

  test(`${kind}: a processor that stalls loses its partitions, and cannot commit when it goes on`, async (t) => {
    const { processors, ingest, clients, finish } = await setUp(t, kind)
    await untilAcked(clients, 200)
    const stalled = processors[1]
    const pids = [stalled.pid, ...(await childrenOf(stalled.pid))]
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    atEnd(t, () => {
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGCONT')
        } catch {} // it has ended
      }
    })
    const stalledAt = Date.now()
    await until(() => Date.now() - stalledAt > OWNER_SILENT_MS_MAX, 'its time to run out')
    const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
    await ingest.until(({ processed }) => processed.events >= acked, 60_000)
    for (const pid of pids) process.kill(pid, 'SIGCONT')
    await untilAcked(clients, 400)
    await finish()
    await assertCounted(ingest, clients)
  })
}
