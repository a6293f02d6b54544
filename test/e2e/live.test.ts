// /live of the real daemon: its numbers are those of the status and of the metrics.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { Sample } from '../../src/api/live.ts'
import { until } from '../until.ts'
import { Daemon, frame, killQuietly } from './daemon.ts'

async function newest(daemon: Daemon): Promise<Sample> {
  const { samples } = (await (await fetch(`${daemon.admin}/live`)).json()) as { samples: Sample[] }
  return samples[0]
}

test('a sample says what the status says, and the rates between two add up to it', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 2 } } })
  await until(async () => (await newest(daemon)).ready, 'a sample of a ready daemon')
  const BODIES = 300
  const body = frame({ subject: 'a', value: 1 }, { subject: 'b', value: 2 })
  for (let n = 0; n < BODIES; n++) assert.equal((await daemon.post(body)).status, 202)
  assert.equal((await daemon.post('')).status, 400)
  const status = await daemon.processed(2 * BODIES)
  // The next sample may have asked a listener before the last requests; the one behind it has asked since.
  for (let n = 0; n < 2; n++) {
    const { at } = await newest(daemon)
    await until(async () => (await newest(daemon)).at > at, 'a further sample')
  }
  await until(async () => {
    const { totals, roles } = await newest(daemon)
    const told = roles.every(({ stale, memoryBytes }) => stale === undefined && memoryBytes > 0)
    return told && totals.processed === 2 * BODIES
  }, 'a sample of all')
  const response = await fetch(`${daemon.admin}/live?samples=600`)
  const { samples } = (await response.json()) as { samples: Sample[] }
  const last = samples.at(-1)!
  assert.deepEqual(last.totals, {
    accepted: status.accepted.events,
    processed: status.processed.events,
    duplicates: 0,
    deadLetters: 0,
    dropped: 0,
    damaged: 0,
  })
  assert.deepEqual(last.lag, { events: 0, bytes: 0, seconds: 0 })
  assert.deepEqual([last.ready, last.reason, last.log], [true, undefined, status.log])
  assert.deepEqual(
    last.roles.map(({ role, pid, ready, restarts }) => ({ role, pid, ready, restarts })),
    status.roles,
  )
  for (const role of last.roles)
    assert.ok(role.memoryBytes > 10_000_000 && role.cpu < 8, JSON.stringify(role))
  const times = samples.map(({ at }) => Date.parse(at))
  /** Each rate is over the time since the sample before, about. */
  const sum = (of: (rates: Sample['rates']) => number) =>
    samples.reduce(
      (all, { rates }, i) => all + (i === 0 ? 0 : (of(rates) * (times[i] - times[i - 1])) / 1000),
      0,
    )
  const about = (count: number, expected: number) => count > expected / 2 && count < expected * 2
  assert.ok(
    about(
      sum(({ accepted }) => accepted),
      2 * BODIES,
    ),
  )
  assert.ok(
    about(
      sum(({ processed }) => processed),
      2 * BODIES,
    ),
  )
  assert.ok(
    about(
      sum(({ bytes }) => bytes),
      BODIES * body.length,
    ),
  )
  assert.ok(sum(({ requests }) => requests) > BODIES / 2)
  assert.ok(
    about(
      sum(({ refused }) => refused),
      1,
    ),
  )
  const { ack } = samples.find(({ latency }) => latency.ack !== null)!.latency
  const { queryable } = samples.find(({ latency }) => latency.queryable !== null)!.latency
  for (const { p50, p95, p99 } of [ack!, queryable!]) assert.ok(p50 > 0 && p50 <= p95 && p95 <= p99)
})

test('a worker that is killed is seen to be gone and to come back, and totals never go down', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const stop = new AbortController()
  const response = await fetch(`${daemon.admin}/live`, {
    headers: { accept: 'text/event-stream' },
    signal: stop.signal,
  })
  const samples: Sample[] = []
  const reading = (async () => {
    let rest = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const events = (rest + chunk).split('\n\n')
      rest = events.pop()!
      for (const event of events) samples.push(JSON.parse(event.replace(/^data: /, '')))
    }
  })().catch(() => {})
  assert.equal((await daemon.post(frame({ subject: 'a', value: 1 }))).status, 202)
  await until(() => samples.at(-1)?.totals.accepted === 1, 'the event')
  const { roles } = await daemon.status()
  killQuietly(roles.find(({ role }) => role === 'listener')!.pid)
  const listener = () => samples.at(-1)!.roles.find(({ role }) => role === 'listener')!
  await until(
    () => listener().restarts === 1 && listener().ready && listener().stale === undefined,
    'the next',
  )
  await until(() => samples.at(-1)!.ready, 'the daemon to be ready')
  stop.abort()
  await reading
  const times = samples.map(({ at }) => Date.parse(at))
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  )
  const accepted = samples.map(({ totals }) => totals.accepted)
  assert.deepEqual(
    accepted,
    accepted.toSorted((a, b) => a - b),
  )
})

test('who has no key with the scope admin is not told', async (t) => {
  const sha256 = createHash('sha256').update('key').digest('hex')
  const auth = { keys: [{ name: 'app', sha256, scopes: ['query'] }] }
  const daemon = await Daemon.start(t, { config: { auth } })
  const status = async (path: string, headers: Record<string, string>) =>
    (await fetch(daemon.admin + path, { headers })).status
  for (const path of ['/live', '/log-level']) {
    assert.equal(await status(path, {}), 401)
    assert.equal(await status(path, { authorization: 'Bearer key' }), 403)
  }
})
