import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BUCKET_MAX,
  bucketOf,
  encodeBuckets,
  RELATIVE_ERROR,
  Sketch,
  valueOfBucket,
} from '../../src/results/sketch.ts'

const view = new DataView(new ArrayBuffer(8))
function bucket(value: number): number {
  view.setFloat64(0, value)
  return bucketOf(view.getInt32(0))
}

/** The encoded sketch of some values. */
function encoded(values: number[]): Uint8Array {
  const counts = new Map<number, number>()
  for (const value of values) counts.set(bucket(value), (counts.get(bucket(value)) ?? 0) + 1)
  const sorted = [...counts].sort(([a], [b]) => a - b)
  const target = new Uint8Array(sorted.length * 11 + 3)
  const end = encodeBuckets(
    Int32Array.from(sorted, ([b]) => b),
    Float64Array.from(sorted, ([, count]) => count),
    sorted.length,
    target,
    0,
  )
  return target.subarray(0, end)
}

function sketchOf(...parts: Uint8Array[]): Sketch {
  const sketch = new Sketch()
  for (const part of parts) sketch.merge(part, 0)
  return sketch
}

function bytesOf(sketch: Sketch): Buffer {
  const target = Buffer.alloc(sketch.encodedBytesMax)
  return target.subarray(0, sketch.encode(target, 0))
}

const number = fc.oneof(
  fc.double({ noNaN: true }),
  fc.integer({ min: -50, max: 50 }),
  fc.constantFrom(0, -0, 5e-324),
)
const numbers = fc.array(number, { minLength: 1, maxLength: 60 })

test('a bucket tells of each of its values within the stated error', () => {
  fc.assert(
    fc.property(number, (value) => {
      const told = valueOfBucket(bucket(value))
      if (Math.abs(value) < 2 ** -1022) assert.equal(told, 0)
      else if (Number.isFinite(value))
        assert.ok(Math.abs(told - value) <= RELATIVE_ERROR * Math.abs(value) * (1 + 1e-12))
      else assert.equal(told, value)
    }),
    { numRuns: 2000 },
  )
})

test('the stated error is the least that holds at the bounds of buckets', () => {
  const told = valueOfBucket(bucket(1))
  assert.ok(Math.abs((told - 1) / 1 - RELATIVE_ERROR) < 1e-9)
  assert.equal(bucket(65 / 64), bucket(1) + 1)
  assert.equal(bucket(65 / 64 - 1e-15), bucket(1))
})

test('buckets are numbered in the order of their values', () => {
  fc.assert(
    fc.property(number, number, (a, b) => {
      if (a < b) assert.ok(bucket(a) <= bucket(b))
      assert.ok(Math.abs(bucket(a)) <= BUCKET_MAX)
    }),
    { numRuns: 1000 },
  )
})

test('merging is the same in whatever order and grouping', () => {
  fc.assert(
    fc.property(numbers, numbers, numbers, (a, b, c) => {
      const all = bytesOf(sketchOf(encoded([...a, ...b, ...c])))
      assert.deepEqual(bytesOf(sketchOf(encoded(a), encoded(b), encoded(c))), all)
      assert.deepEqual(bytesOf(sketchOf(encoded(c), encoded(a), encoded(b))), all)
      const ab = bytesOf(sketchOf(encoded(a), encoded(b)))
      assert.deepEqual(bytesOf(sketchOf(encoded(c), ab)), all)
    }),
  )
})

test('a quantile is within the stated error of the value of its rank', () => {
  fc.assert(
    fc.property(numbers, fc.constantFrom(0, 0.5, 0.95, 0.99, 1), (values, q) => {
      const sorted = [...values].sort((a, b) => a - b)
      const exact = sorted[Math.floor(q * (values.length - 1))]
      const told = sketchOf(encoded(values)).quantile(q, sorted[0], sorted[sorted.length - 1])
      if (!Number.isFinite(exact)) assert.equal(told, exact)
      else assert.ok(Math.abs(told - exact) <= RELATIVE_ERROR * Math.abs(exact) * (1 + 1e-12) + 2 ** -1022)
      assert.ok(told >= sorted[0] && told <= sorted[sorted.length - 1])
    }),
    { numRuns: 500 },
  )
})

test('counts are exact up to 2^53', () => {
  const target = new Uint8Array(32)
  const end = encodeBuckets(Int32Array.of(-5), Float64Array.of(2 ** 52), 1, target, 0)
  const part = target.subarray(0, end)
  const twice = bytesOf(sketchOf(part, part))
  const expected = new Uint8Array(32)
  const expectedEnd = encodeBuckets(Int32Array.of(-5), Float64Array.of(2 ** 53), 1, expected, 0)
  assert.deepEqual(new Uint8Array(twice), expected.subarray(0, expectedEnd))
})
