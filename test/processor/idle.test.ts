import assert from 'node:assert/strict'
import { test } from 'node:test'
import { IDLE_SAMPLE_MS } from '../../src/limits.ts'
import { Idle } from '../../src/processor/idle.ts'

test('the idle share is that of the time since the last look, and looked at now and then only', () => {
  let account = { idleMs: 1000, totalMs: 5000 }
  let looks = 0
  const look = () => {
    looks++
    return account
  }
  const idle = new Idle(look, 0)
  assert.equal(idle.share(1), 1, 'idle until something else is known')
  account = { idleMs: 1100, totalMs: 5400 }
  assert.equal(idle.share(IDLE_SAMPLE_MS), 0.25)
  account = { idleMs: 1500, totalMs: 5800 }
  assert.equal(idle.share(IDLE_SAMPLE_MS + 1), 0.25)
  assert.equal(idle.share(2 * IDLE_SAMPLE_MS), 1)
  assert.equal(looks, 3)
})

test('the machine itself says something between nothing and all', async () => {
  const idle = new Idle()
  const share = idle.share(performance.now() + IDLE_SAMPLE_MS)
  assert.ok(share >= 0 && share <= 1, String(share))
})
