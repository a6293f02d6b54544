// The promise under test: what was acknowledged is counted, once, whatever dies and whenever.

import { test } from 'node:test'
import { Client } from './client.ts'
import { assertCounted, killRole, untilAcked } from './counted.ts'
import { Daemon } from './daemon.ts'
import { random } from './random.ts'

const KILLS = 20
const CLIENTS = 4

test(`acked is kept and counted once through ${KILLS} kills of random processes`, async (t) => {
  const { pick, between, seed } = random(t)
  const daemon = await Daemon.start(t)
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
  const sending = clients.map((client) => client.run())

  for (let kill = 0; kill < KILLS; kill++) {
    await untilAcked(clients, between(1, 400))
    await killRole(daemon, pick(['listener', 'processor', 'primary', 'all'] as const), pick)
  }

  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(daemon, clients)
})
