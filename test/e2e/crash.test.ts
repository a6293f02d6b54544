// The promise under test: what was acknowledged is counted, once, whatever dies and whenever.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from './client.ts'
import { childrenOf, Daemon, killQuietly } from './daemon.ts'
import { random } from './random.ts'

const KILLS = 20
const CLIENTS = 4

test(`acked is kept and counted once through ${KILLS} kills of random processes`, async (t) => {
  const { pick, between, seed } = random(t)
  const daemon = await Daemon.start(t)
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
  const sending = clients.map((client) => client.run())

  for (let kill = 0; kill < KILLS; kill++) {
    // Somewhere in the flow: after a random number of further acks.
    const target = clients.reduce((sum, client) => sum + client.acked, 0) + between(1, 400)
    await until(() => clients.reduce((sum, client) => sum + client.acked, 0) >= target, 'further acks')
    const victim = pick(['listener', 'processor', 'primary', 'all'] as const)
    if (victim === 'all') {
      await daemon.killAll()
      await daemon.launch()
    } else if (victim === 'primary') {
      const pid = daemon.pid
      const exited = daemon.exited()
      killQuietly(pid)
      await exited
      await daemon.launch()
    } else {
      const status = await daemon.until((now) => now.roles.some(({ role }) => role === victim))
      const roles = status.roles.filter(({ role }) => role === victim)
      const { pid } = pick(roles)
      killQuietly(pid)
      await until(async () => !(await childrenOf(daemon.pid)).includes(pid), 'the killed process to go')
    }
  }

  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(daemon, clients)
})

/** Every client's events are counted exactly as often as they were acknowledged: once each. */
export async function assertCounted(daemon: Daemon, clients: Client[]): Promise<void> {
  const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
  const status = await daemon.processed(acked)
  assert.equal(status.processed.events, acked, 'events counted and events acked')
  assert.equal(status.processed.damaged.events, 0)
  for (const client of clients) {
    const { rows } = await daemon.get(`/v1/measures/by-subject?merge=true&key=${client.name}`)
    assert.equal(rows.length, 1)
    assert.equal(rows[0].count, client.ackedEvents, `${client.name}: events`)
    assert.equal(rows[0].sum, client.ackedSum, `${client.name}: the sum of their numbers`)
  }
  t_log(`acked ${acked} events in ${clients.reduce((sum, client) => sum + client.acked, 0)} bodies`)
}

function t_log(text: string): void {
  console.log(`# ${text}`)
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited 30 s for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
