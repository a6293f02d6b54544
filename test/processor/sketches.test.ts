import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NO_SKETCH, Sketches } from '../../src/processor/sketches.ts'
import { BUCKET_MAX, encodeBuckets } from '../../src/results/sketch.ts'

const ROWS = 5
const bucket = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 65_000, max: 65_060 }) },
  { weight: 2, arbitrary: fc.constantFrom(65_010, 65_011) },
  { weight: 2, arbitrary: fc.integer({ min: -BUCKET_MAX, max: BUCKET_MAX }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -BUCKET_MAX, BUCKET_MAX) },
)
const values = fc.array(fc.tuple(fc.nat(ROWS - 1), bucket), { maxLength: 1500, size: 'max' })

function encoded(sketches: Sketches, sketch: number): Buffer {
  const target = Buffer.alloc(sketches.encodedBytesMax(sketch))
  return target.subarray(0, sketches.encode(sketch, target, 0))
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

test('sketches that grow side by side, move and are copied hold what was counted', () => {
  const seen = { lists: 0, runs: 0 }
  fc.assert(
    fc.property(values, fc.infiniteStream(fc.nat(99)), (all, dice) => {
      let sketches = new Sketches()
      const numbers = new Int32Array(ROWS).fill(NO_SKETCH)
      for (const [row, value] of all) {
        numbers[row] = sketches.count(numbers[row], value)
        if (dice.next().value !== 0) continue
        const from = sketches
        sketches = new Sketches()
        // As a row that is kept, or one that is read again.
        for (let i = 0; i < ROWS; i++) {
          const kept = dice.next().value % 2 === 0
          numbers[i] = kept ? sketches.copy(from, numbers[i]) : sketches.decode(encoded(from, numbers[i]), 0)
        }
      }
      for (let i = 0; i < ROWS; i++) {
        const own = all.filter(([row]) => row === i).map(([, value]) => value)
        assert.deepEqual(encoded(sketches, numbers[i]), expected(own))
        if (numbers[i] < 0) seen.lists++
        if (numbers[i] > 0) seen.runs++
      }
    }),
    { numRuns: 300 },
  )
  assert.ok(seen.lists > 50 && seen.runs > 50, JSON.stringify(seen))
})

test('blocks that sketches have left are used again', () => {
  for (const most of [60, 300]) {
    const sketches = new Sketches()
    let first = NO_SKETCH
    for (let value = 0; value < most; value++) first = sketches.count(first, value)
    const { bytes } = sketches
    let second = NO_SKETCH
    for (let value = 0; value < most / 4; value++) second = sketches.count(second, -value)
    assert.equal(sketches.bytes, bytes)
  }
})

test('few values take a cell each, and many of few buckets no more than their buckets', () => {
  const sketches = new Sketches()
  const empty = sketches.bytes
  const bytesOf = (rows: number, values: (n: number) => number, each: number) => {
    const before = sketches.bytes
    for (let row = 0; row < rows; row++) {
      let sketch = NO_SKETCH
      for (let n = 0; n < each; n++) sketch = sketches.count(sketch, values(n))
    }
    return (sketches.bytes - before) / rows
  }
  assert.ok(empty < 100)
  assert.equal(
    bytesOf(1000, (n) => n * 100, 3),
    16,
  )
  const constant = bytesOf(1000, () => 7, 10_000)
  assert.ok(constant <= 40, `${constant} bytes for one bucket`)
})
