import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { IntervalSet } from '../../src/processor/intervals.ts'

test('it holds exactly what was added, whatever the order', () => {
  const numbers = fc.array(fc.oneof(fc.nat(40), fc.maxSafeNat()), { maxLength: 60 })
  fc.assert(
    fc.property(numbers, (added) => {
      const set = new IntervalSet()
      for (const n of added) set.add(n)
      const model = new Set(added)
      for (const n of [...added, ...added.map((n) => n + 1), ...added.map((n) => n - 1)]) {
        assert.equal(set.has(n), model.has(n), `${n}`)
      }
      const runs = [...model].filter((n) => !model.has(n - 1)).length
      assert.equal(set.size, runs, 'intervals that touch are one')
    }),
    { numRuns: 2000 },
  )
})

test('a contiguous run of any length is one interval', () => {
  const set = new IntervalSet()
  for (let n = 0; n < 10_000; n++) set.add((n * 7919) % 10_000)
  assert.equal(set.size, 1)
})

test('what is encoded and decoded holds the same', () => {
  fc.assert(
    fc.property(fc.array(fc.maxSafeNat(), { maxLength: 50 }), (added) => {
      const set = new IntervalSet()
      for (const n of added) set.add(n)
      const again = IntervalSet.decode(set.encode())
      assert.deepEqual(again.encode(), set.encode())
      for (const n of added) assert.ok(again.has(n))
      assert.equal(again.size, set.size)
    }),
  )
})
