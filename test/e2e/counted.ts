// What tests of the promise share: killing, waiting for acks, and counting what was acknowledged.

import assert from 'node:assert/strict'
import { until } from '../until.ts'
import { childrenOf, type Daemon, killQuietly } from './daemon.ts'
import type { Random } from './random.ts'

/** What a client was promised: bodies, the events in them, and the sum of the numbers that they carry. */
export interface Acknowledged {
  readonly name: string
  readonly acked: number
  readonly ackedEvents: number
  readonly ackedSum: number
}

/** Kills a process of this role, or all, and waits until it is gone; a primary is started again. */
export async function killRole(
  daemon: Daemon,
  victim: 'listener' | 'gateway' | 'processor' | 'primary' | 'all',
  pick: Random['pick'],
): Promise<void> {
  if (victim === 'all') {
    await daemon.killAll()
    await daemon.launch()
    return
  }
  if (victim === 'primary') {
    await daemon.killPrimary()
    return
  }
  const status = await daemon.until((now) => now.roles.some(({ role }) => role === victim))
  const { pid } = pick(status.roles.filter(({ role }) => role === victim))
  killQuietly(pid)
  await until(async () => !(await childrenOf(daemon.pid)).includes(pid), 'the killed process to go')
}

/** Waits until so many further bodies are acknowledged. */
export async function untilAcked(clients: readonly Acknowledged[], further: number): Promise<void> {
  const acked = () => clients.reduce((sum, client) => sum + client.acked, 0)
  const target = acked() + further
  await until(() => acked() >= target, `${further} further acks`)
}

/** Every client's events are counted exactly as often as they were acknowledged: once each. */
export async function assertCounted(daemon: Daemon, clients: readonly Acknowledged[]): Promise<void> {
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
  const bodies = clients.reduce((sum, client) => sum + client.acked, 0)
  console.log(`# acked ${acked} events in ${bodies} bodies`)
}
