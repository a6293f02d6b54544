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
/** Of so many events in the log; `trimmed` more are not there any more. */
const left = (events: number, backlogBytes: number, trimmed = 0) => ({
  segments: 1,
  events: trimmed + events,
  bodies: 1,
  backlogBytes,
  trimmed: { events: trimmed, bodies: 0 },
})
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

test('what the log has of a writer that is gone takes the place of what it said last', () => {
  const lanes = new Lanes()
  lanes.left(0, 'former', left(40, 4000))
  assert.deepEqual(lagOf(lanes), { events: 40, bytes: 4000 })
  assert.deepEqual(lagOf(lanes, { former: 10 }), { events: 30, bytes: 3000 }, 'bytes in proportion')
  lanes.told(a, report('w1', 10))
  lanes.gone(a, true)
  lanes.left(0, 'w1', left(12, 1200))
  assert.deepEqual(lagOf(lanes, { former: 40 }), { events: 12, bytes: 1200 })
  lanes.told(b, report('w2', 3))
  lanes.left(0, 'w2', left(1, 1))
  assert.equal(lagOf(lanes, { w1: 12 }).events, 3, 'one that lives knows better')
})

test('where the results know nothing of a writer, only what the log still has of it waits', () => {
  const lanes = new Lanes()
  lanes.left(0, 'former', left(40, 4000, 60))
  assert.deepEqual(lagOf(lanes), { events: 40, bytes: 4000 })
  assert.deepEqual(lagOf(lanes, { former: 90 }), { events: 10, bytes: 1000 })
})

test('a lane that was begun, processed and forgotten between two looks does not wait for ever', () => {
  const files = new Set(['w1', 'w2'])
  const lanes = new Lanes(() => files)
  for (const writer of files) lanes.left(0, writer, left(10, 100))
  assert.equal(lagOf(lanes).events, 20)
  files.delete('w1')
  assert.deepEqual(
    lanes.all().map(({ writer, begun }) => [writer, begun]),
    [
      ['w1', true],
      ['w2', false],
    ],
  )
  assert.equal(lagOf(lanes).events, 10)
  assert.deepEqual(
    lanes.all().map(({ writer }) => writer),
    ['w2'],
  )
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
