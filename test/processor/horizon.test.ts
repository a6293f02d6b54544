import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PROGRESS_MS_MAX } from '../../src/limits.ts'
import { horizonOf } from '../../src/processor/ledger.ts'

const NEWEST = 100 * 86_400_000
const HOUR = 3_600_000

test('writers may be forgotten that have been silent for long enough', () => {
  assert.equal(horizonOf(NEWEST, 2 * HOUR, NEWEST), NEWEST - 2 * HOUR)
})

test('not before what they wrote was read from both logs of a dual log, for as long as they are remembered at all', () => {
  assert.equal(horizonOf(NEWEST, 2 * HOUR, NEWEST - 9 * HOUR), NEWEST - 9 * HOUR)
  assert.equal(horizonOf(NEWEST, 2 * HOUR, 0), NEWEST - PROGRESS_MS_MAX)
})
