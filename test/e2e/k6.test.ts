// The load scenarios in the real k6 against a real daemon. How fast it is, is not asked here: the limits are wide.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fetchK6 } from '../../scripts/tools/k6.ts'
import { atEnd, Daemon, killQuietly, root } from './daemon.ts'

const THRESHOLD_CROSSED = 99

/** Runs a scenario. Resolves with k6's exit code and what it printed. */
async function scenario(t: TestContext, daemon: Daemon, name: string, env: Record<string, string | number>) {
  const settings = Object.entries({ URL: daemon.http, ...env }).flatMap(([key, value]) => [
    '-e',
    `${key}=${value}`,
  ])
  const words = ['run', '--no-usage-report', '--no-color', '--quiet', ...settings, `${name}.js`]
  const child = spawn(await fetchK6(), words, {
    cwd: join(root, 'scenarios'),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  atEnd(t, () => killQuietly(child.pid!))
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const code = await new Promise((resolve) => child.once('close', resolve))
  const count = (metric: string) => Number(new RegExp(`${metric}\\.+: (\\d+)`).exec(said)?.[1] ?? 0)
  return { code, said, acked: count('events_acked'), count }
}

const held = (said: string, threshold: string) => said.includes(`✓ '${threshold}'`)
const crossed = (said: string, threshold: string) => said.includes(`✗ '${threshold}'`)

test('smoke holds its thresholds, and the daemon has counted exactly what k6 was told', async (t) => {
  const daemon = await Daemon.start(t)
  const { code, said, acked } = await scenario(t, daemon, 'smoke', {
    STAGES: '1s:20,1s:40,1s:0',
    PAUSE: 0.05,
    P95: 10_000,
  })
  assert.equal(code, 0, said)
  assert.ok(held(said, 'p(95)<10000') && held(said, 'count==0'), said)
  assert.ok(acked > 0)
  const { accepted, processed } = await daemon.processed(acked)
  assert.deepEqual([accepted.events, processed.events], [acked, acked])
})

test('a threshold that cannot hold fails the scenario', async (t) => {
  const daemon = await Daemon.start(t)
  const run = await scenario(t, daemon, 'smoke', { STAGES: '1s:5,1s:0', PAUSE: 0.05, P95: 0.0001 })
  assert.equal(run.code, THRESHOLD_CROSSED, run.said)
  assert.ok(crossed(run.said, 'p(95)<0.0001'), run.said)
})

test('events that others have sent are noticed: the count is not that of the acks', async (t) => {
  const daemon = await Daemon.start(t)
  const env = { STAGES: '1s:5,2s:5,1s:0', PAUSE: 0.05, P95: 10_000 }
  const running = scenario(t, daemon, 'smoke', env)
  await daemon.until(({ accepted }) => accepted.events > 0)
  assert.equal((await daemon.post(Buffer.from([10, 6, 18, 1, 97, 26, 1, 98]))).status, 202)
  const { code, said } = await running
  assert.equal(code, THRESHOLD_CROSSED, said)
  assert.ok(crossed(said, 'count==0') && held(said, 'p(95)<10000'), said)
})

test('load, spike and soak keep their rates and their account', async (t) => {
  const daemon = await Daemon.start(t)
  const common = { P95: 10_000, EVENTS: 3 }
  for (const [name, env] of [
    ['load', { RATE: 100, RAMP: '1s', DURATION: '1s' }],
    ['spike', { RATE: 20, CALM: 1, PEAK: 1 }],
    ['soak', { RATE: 50, DURATION: '2s' }],
  ] as const) {
    const { code, said, acked } = await scenario(t, daemon, name, { ...common, ...env })
    assert.equal(code, 0, `${name}: ${said}`)
    assert.ok(acked > 0 && held(said, 'count==0'), said)
  }
})

test('stress ends by itself where the daemon, or k6, can do no more', async (t) => {
  const daemon = await Daemon.start(t)
  const { code, said, acked } = await scenario(t, daemon, 'stress', {
    RATE: 1_000_000,
    DURATION: '10m',
    SETTLE: '0s',
  })
  assert.equal(code, THRESHOLD_CROSSED, said)
  const { accepted } = await daemon.processed(acked)
  assert.ok(accepted.events >= acked, 'what was cut off may have been taken; what was acked has been')
})

test('a daemon with keys is sent one', async (t) => {
  const sha256 = '2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683' // of "key"
  const keys = [{ name: 'k6', sha256, scopes: ['publish', 'query'] }]
  const daemon = await Daemon.start(t, { config: { auth: { keys } } })
  const env = { STAGES: '1s:5,1s:0', PAUSE: 0.05, P95: 10_000 }
  assert.equal((await scenario(t, daemon, 'smoke', { ...env, KEY: 'key' })).code, 0)
  const refused = await scenario(t, daemon, 'smoke', env)
  assert.notEqual(refused.code, 0)
  assert.match(refused.said, /send a key as/)
})
