import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Buckets, NO_RUN } from '../../src/processor/buckets.ts'
import { BUCKET_MAX, encodeBuckets } from '../../src/results/sketch.ts'

const RUNS = 5
const bucket = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 65_000, max: 65_060 }) },
  { weight: 2, arbitrary: fc.integer({ min: -BUCKET_MAX, max: BUCKET_MAX }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -BUCKET_MAX, BUCKET_MAX) },
)
const counted = fc.array(fc.tuple(fc.nat(RUNS - 1), bucket), { maxLength: 600 })

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
      }
    }),
    { numRuns: 300 },
  )
})

test('blocks that runs have left are used again', () => {
  const buckets = new Buckets()
  let first = NO_RUN
  for (let number = 0; number < 100; number++) first = buckets.count(first, number)
  const { cells } = buckets
  let second = NO_RUN
  for (let number = 0; number < 60; number++) second = buckets.count(second, -number)
  assert.equal(buckets.cells, cells)
})
