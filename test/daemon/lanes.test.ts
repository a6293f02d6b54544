// What is written and waits, of listeners that live and of those that are gone.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lanes } from '../../src/daemon/lanes.ts'
import { LANES_GONE_MAX } from '../../src/limits.ts'

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
  lanes.gone(a, true)
  assert.deepEqual(lagOf(lanes, { w1: 4 }), { events: 6, bytes: 100 })
  assert.deepEqual(lagOf(lanes), { events: 0, bytes: 0 }, 'begun, and forgotten: it was read to its end')
  assert.deepEqual(lagOf(lanes, { w1: 4 }), { events: 0, bytes: 0 }, 'it is let go')
})

test('a lane that was never begun waits, however long', () => {
  const lanes = new Lanes()
  lanes.told(a, report('w1', 10))
  lanes.gone(a, true)
  for (let n = 0; n < 3; n++) assert.equal(lagOf(lanes).events, 10)
  assert.equal(lagOf(lanes, { w1: 10 }).events, 0)
})

test('what was in the memory of a listener goes with it', () => {
  const lanes = new Lanes()
  lanes.told(a, report('w1', 10))
  lanes.gone(a, false)
  assert.deepEqual([lagOf(lanes).events, lanes.all()], [0, []])
})

test('listeners that die again and again leave a bounded number of lanes', () => {
  const lanes = new Lanes()
  const processes = Array.from({ length: LANES_GONE_MAX + 50 }, () => ({}))
  for (let n = 0; n < LANES_GONE_MAX + 50; n++) {
    lanes.told(processes[n], report(`w${n}`, 1))
    lanes.gone(processes[n], true)
  }
  assert.equal(lagOf(lanes).events, LANES_GONE_MAX)
})
