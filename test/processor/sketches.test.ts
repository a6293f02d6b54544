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

test('lists and runs of many rows hold what was counted while their arrays grow', () => {
  for (const [rows, most] of [
    [3000, 10],
    [100, 300],
  ]) {
    let sketches = new Sketches()
    const numbers = new Int32Array(rows).fill(NO_SKETCH)
    const valuesOf = (row: number) => ((row * 37) % most) + 1
    const value = (row: number, n: number) => 65_000 + ((row * 7 + n * n) % 900)
    for (let n = 0; n < most; n++) {
      for (let row = 0; row < rows; row++) {
        if (n < valuesOf(row)) numbers[row] = sketches.count(numbers[row], value(row, n))
      }
    }
    const hold = () => {
      for (let row = 0; row < rows; row++) {
        const own = Array.from({ length: valuesOf(row) }, (_, n) => value(row, n))
        assert.deepEqual(encoded(sketches, numbers[row]), expected(own), `row ${row}`)
      }
    }
    hold()
    for (const read of [false, true]) {
      const from = sketches
      sketches = new Sketches()
      for (let row = 0; row < rows; row++) {
        numbers[row] = read
          ? sketches.decode(encoded(from, numbers[row]), 0)
          : sketches.copy(from, numbers[row])
      }
      hold()
    }
  }
})

test('blocks that sketches have left are used again', () => {
  for (const most of [60, 1000]) {
    const sketches = new Sketches()
    const grow = (values: number, sign: number) => {
      const numbers = new Int32Array(8).fill(NO_SKETCH)
      for (let value = 0; value < values; value++) {
        for (let i = 0; i < 8; i++) numbers[i] = sketches.count(numbers[i], sign * value)
      }
    }
    grow(most, 1)
    const { bytes } = sketches
    grow(most / 4, -1)
    assert.equal(sketches.bytes, bytes)
  }
})

test('few values take a cell each, and many of few buckets no more than their buckets', () => {
  const sketches = new Sketches()
  const rows = 1000
  /** Of a row with so many values, and of one that was read with these. */
  const bytesOf = (values: number, bucket: (n: number) => number) => {
    const before = sketches.bytes
    let sketch = NO_SKETCH
    for (let row = 0; row < rows; row++) {
      sketch = NO_SKETCH
      for (let n = 0; n < values; n++) sketch = sketches.count(sketch, bucket(n))
    }
    const counted = sketches.bytes - before
    const stored = encoded(sketches, sketch)
    for (let row = 0; row < rows; row++) sketches.decode(stored, 0)
    return [counted / rows, (sketches.bytes - before - counted) / rows]
  }
  assert.deepEqual(
    bytesOf(3, (n) => n * 100),
    [16, 16],
  )
  for (const values of [100, 10_000]) {
    for (const bytes of bytesOf(values, () => 7)) assert.ok(bytes < 25, `${bytes} bytes for one bucket`)
  }
})
