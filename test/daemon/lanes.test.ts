import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lanes } from '../../src/daemon/lanes.ts'
import { LANES_GONE_MAX } from '../../src/limits.ts'

const written = (events: number) => ({ segments: 1, events, bodies: 1, backlogBytes: 0 })
const report = (...lanes: [writer: string, events: number][]) => ({
  lanes: lanes.map(([writer, events]) => ({ writer, written: written(events) })),
  away: {},
  missing: undefined,
})
const progress = (events: number) => ({ sequence: 1, events, bodies: 1, receivedAt: 0 })

test('the lanes of a process that is gone are kept until they are processed to their end', () => {
  const lanes = new Lanes<string>()
  lanes.said('one', report(['a', 10], ['empty', 0]))
  lanes.over('one', true)
  const left = () => lanes.gone.map(({ writer }) => writer)
  assert.deepEqual(left(), ['a'])
  lanes.settle({}) // the store has not heard of it yet
  lanes.settle({ a: progress(9) })
  assert.deepEqual(left(), ['a'])
  lanes.settle({ a: progress(10) })
  assert.deepEqual(left(), [])
})

test('one that the store has known and forgotten is processed', () => {
  const lanes = new Lanes<string>()
  lanes.said('one', report(['a', 10]))
  lanes.over('one', true)
  lanes.settle({ a: progress(1) })
  lanes.settle({})
  assert.deepEqual(lanes.gone, [])
})

test('what went with its process is not kept, and there is an end to what is', () => {
  const lanes = new Lanes<number>()
  lanes.said(0, report(['in memory', 10]))
  lanes.over(0, false)
  assert.equal(lanes.gone.length, 0)
  for (let n = 0; n < LANES_GONE_MAX + 10; n++) {
    lanes.said(n, report([`w${n}`, 1]))
    lanes.over(n, true)
  }
  assert.equal(lanes.gone.length, LANES_GONE_MAX)
  assert.equal(lanes.gone[0].writer, 'w10')
})
