import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Top } from '../../src/results/top.ts'

test('what is kept is what sorting all would put first', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), fc.integer({ min: 1, max: 10 }), (numbers, limit) => {
      const items = numbers.map((n, i) => ({ n, i }))
      const compare = (a: { n: number; i: number }, b: { n: number; i: number }) => b.n - a.n || a.i - b.i
      const top = new Top(limit, compare)
      for (const item of items) top.offer(item)
      assert.deepEqual(top.sorted(), [...items].sort(compare).slice(0, limit))
    }),
  )
})
