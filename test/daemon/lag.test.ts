// The lag of listeners that live and of those that are gone.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Lanes } from '../../src/daemon/lag.ts'
import { METRICS_LANE_MS_MAX, METRICS_LANES_MAX } from '../../src/limits.ts'

/** Two processes. */
const [a, b] = [{}, {}]

const report = (writer: string, events: number, backlogBytes = 100) => ({
  lanes: [{ writer, written: { segments: 1, events, bodies: 1, backlogBytes } }],
  away: {},
  missing: undefined,
})
const progress = (writers: Record<string, number>) =>
  new Map(
    Object.entries(writers).map(([writer, events]) => [
      writer,
      { sequence: 1, events, bodies: 1, receivedAt: 0 },
    ]),
  )
const lagOf = (lanes: Lanes, writers: Record<string, number> = {}) => lanes.lag(progress(writers), 1)[0]

/** The clock of lanes, which moves when told. */
function clock(t: TestContext): { ms: number } {
  const time = { ms: 1000 }
  t.mock.method(performance, 'now', () => time.ms)
  return time
}

test('what is written and not processed waits; a lane that is processed has no bytes either', () => {
  const lanes = new Lanes()
  lanes.told(a, report('w1', 10))
  lanes.told(b, report('w2', 5))
  assert.deepEqual(lagOf(lanes), { events: 15, bytes: 200 })
  assert.deepEqual(lagOf(lanes, { w1: 4, w2: 5 }), { events: 6, bytes: 100 })
  assert.deepEqual(
    lagOf(lanes, { w1: 11, w2: 6 }),
    { events: 0, bytes: 0 },
    'the store is ahead of what was told',
  )
})

test('what a killed listener wrote waits until it is processed, also where its writer is then forgotten', () => {
  const lanes = new Lanes()
  lanes.told(a, report('w1', 10))
  lanes.gone(a)
  assert.deepEqual(lagOf(lanes, { w1: 4 }), { events: 6, bytes: 100 })
  assert.deepEqual(lagOf(lanes), { events: 0, bytes: 0 }, 'begun, and forgotten: it was read to its end')
  assert.deepEqual(lagOf(lanes, { w1: 4 }), { events: 0, bytes: 0 }, 'it is let go')
})

test('a lane that was never begun waits for a while only: it may have been read to its end unseen', (t) => {
  const time = clock(t)
  const lanes = new Lanes()
  lanes.told(a, report('w1', 10))
  lanes.gone(a)
  time.ms += METRICS_LANE_MS_MAX
  assert.equal(lagOf(lanes).events, 10)
  time.ms += 1
  assert.equal(lagOf(lanes).events, 0)
})

test('listeners that die again and again leave a bounded number of lanes', () => {
  const lanes = new Lanes()
  const processes = Array.from({ length: METRICS_LANES_MAX + 50 }, () => ({}))
  for (let n = 0; n < METRICS_LANES_MAX + 50; n++) {
    lanes.told(processes[n], report(`w${n}`, 1))
    lanes.gone(processes[n])
  }
  assert.equal(lagOf(lanes).events, METRICS_LANES_MAX)
})
