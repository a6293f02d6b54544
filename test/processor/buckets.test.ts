import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Buckets, NO_RUN } from '../../src/processor/buckets.ts'
import { BUCKET_MAX, encodeBuckets } from '../../src/results/sketch.ts'

const RUNS = 5
/** From so many buckets on a run has those in small gaps, too. */
const FILLED_SIZE_MIN = 32
const bucket = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 65_000, max: 65_060 }) },
  { weight: 2, arbitrary: fc.constantFrom(65_010, 65_011) },
  { weight: 2, arbitrary: fc.integer({ min: -BUCKET_MAX, max: BUCKET_MAX }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -BUCKET_MAX, BUCKET_MAX) },
)
const counted = fc.array(fc.tuple(fc.nat(RUNS - 1), bucket), { maxLength: 1500, size: 'max' })

function encoded(buckets: Buckets, run: number): Buffer {
  const target = Buffer.alloc(buckets.encodedBytesMax(run))
  return target.subarray(0, buckets.encode(run, target, 0))
}

/** The same, by sorting. */
function expected(values: number[]): Buffer {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  const sorted = [...counts].sort(([a], [b]) => a - b)
  const target = Buffer.alloc(sorted.length * 11 + 3)
  const numbers = Int32Array.from(sorted, ([number]) => number)
  const sums = Float64Array.from(sorted, ([, count]) => count)
  return target.subarray(0, encodeBuckets(numbers, sums, sorted.length, target, 0))
}

test('runs that grow side by side, move and are copied hold what was counted', () => {
  const seen = { small: 0, filled: 0 }
  fc.assert(
    fc.property(counted, fc.infiniteStream(fc.nat(99)), (all, dice) => {
      let buckets = new Buckets()
      const runs = new Int32Array(RUNS).fill(NO_RUN)
      for (const [i, number] of all) {
        runs[i] = buckets.count(runs[i], number)
        if (dice.next().value !== 0) continue
        const from = buckets
        buckets = new Buckets()
        // As a row that is kept, or one that is read again.
        for (let run = 0; run < RUNS; run++) {
          const kept = dice.next().value % 2 === 0
          runs[run] = kept ? buckets.copy(from, runs[run]) : buckets.decode(encoded(from, runs[run]), 0)
        }
      }
      for (let i = 0; i < RUNS; i++) {
        const values = all.filter(([run]) => run === i).map(([, number]) => number)
        assert.deepEqual(encoded(buckets, runs[i]), expected(values))
        if (new Set(values).size < FILLED_SIZE_MIN) seen.small++
        else seen.filled++
      }
    }),
    { numRuns: 300 },
  )
  assert.ok(seen.small > 50 && seen.filled > 50, JSON.stringify(seen))
})

test('runs of many rows hold what was counted while their arrays grow', () => {
  for (const [rows, most] of [
    [3000, 10],
    [100, 300],
  ]) {
    let buckets = new Buckets()
    const runs = new Int32Array(rows).fill(NO_RUN)
    const valuesOf = (row: number) => ((row * 37) % most) + 1
    const value = (row: number, n: number) => 65_000 + ((row * 7 + n * n) % 900)
    for (let n = 0; n < most; n++) {
      for (let row = 0; row < rows; row++) {
        if (n < valuesOf(row)) runs[row] = buckets.count(runs[row], value(row, n))
      }
    }
    const hold = () => {
      for (let row = 0; row < rows; row++) {
        const own = Array.from({ length: valuesOf(row) }, (_, n) => value(row, n))
        assert.deepEqual(encoded(buckets, runs[row]), expected(own), `row ${row}`)
      }
    }
    hold()
    for (const read of [false, true]) {
      const from = buckets
      buckets = new Buckets()
      for (let row = 0; row < rows; row++) {
        runs[row] = read ? buckets.decode(encoded(from, runs[row]), 0) : buckets.copy(from, runs[row])
      }
      hold()
    }
  }
})

test('blocks that runs have left are used again', () => {
  for (const most of [100, 1000]) {
    const buckets = new Buckets()
    const grow = (values: number, sign: number) => {
      const runs = new Int32Array(8).fill(NO_RUN)
      for (let value = 0; value < values; value++) {
        for (let i = 0; i < 8; i++) runs[i] = buckets.count(runs[i], sign * value)
      }
    }
    grow(most, 1)
    const { cells } = buckets
    grow(most / 4, -1)
    assert.equal(buckets.cells, cells)
  }
})

test('many values of few buckets take no more than their buckets', () => {
  const buckets = new Buckets()
  let run = NO_RUN
  for (let n = 0; n < 10_000; n++) run = buckets.count(run, 7)
  const { cells } = buckets
  buckets.decode(encoded(buckets, run), 0)
  assert.equal(buckets.cells - cells, 2)
})
