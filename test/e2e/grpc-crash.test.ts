// The promise under test, through the gRPC door: what was acknowledged is counted, once, whatever dies and whenever.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertCounted, killRole, untilAcked } from './counted.ts'
import { Daemon } from './daemon.ts'
import { StreamingClient } from './grpc-client.ts'
import { random } from './random.ts'

const KILLS = 8
const CLIENTS = 3

test(`gRPC: acked is kept and counted once through ${KILLS} kills of random processes`, async (t) => {
  const { pick, between, seed } = random(t)
  const daemon = await Daemon.start(t, { config: { grpc: {} } })
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new StreamingClient(daemon, `grpc-${i}`, seed + i),
  )
  const sending = clients.map((client) => client.run())

  for (let kill = 0; kill < KILLS; kill++) {
    await untilAcked(clients, between(1, 2000))
    await killRole(daemon, pick(['gateway', 'gateway', 'processor', 'primary', 'all'] as const), pick)
  }
  await untilAcked(clients, 100)

  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(daemon, clients)
  for (const { errors } of clients) {
    assert.deepEqual(
      [...errors].filter((code) => code !== 'draining'),
      [],
      'no frame was at fault',
    )
  }
  const sum = (of: (client: StreamingClient) => number) => clients.reduce((all, one) => all + of(one), 0)
  console.log(
    `# ${sum(({ reconnects }) => reconnects)} reconnects, ${sum(({ resent }) => resent)} frames sent again`,
  )
})
