import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Item, merged } from '../../src/results/merge.ts'

const item = (key: string, value: string): Item => ({ key: Buffer.from(key), value: Buffer.from(value) })
const all = (values: Buffer[]) => Buffer.concat(values)
const said = (items: Iterable<Item>) => [...items].map(({ key, value }) => `${key}=${value}`)

test('items come in the order of their keys; those of one key are folded in the order of the ranges', () => {
  const ranges = [
    [item('a', '1'), item('c', '1'), item('d', '1')],
    [],
    [item('b', '2'), item('c', '2')],
    [item('a', '3'), item('c', '3'), item('e', '3')],
  ]
  assert.deepEqual(said(merged(ranges, all)), ['a=13', 'b=2', 'c=123', 'd=1', 'e=3'])
  assert.deepEqual(said(merged([], all)), [])
})

test('ranges are ended when their reader stops early, and where one of them fails', () => {
  let open = 0
  function* counted(...items: (Item | Error)[]): Iterable<Item> {
    open++
    try {
      for (const one of items) {
        if (one instanceof Error) throw one
        yield one
      }
    } finally {
      open--
    }
  }
  for (const _ of merged([counted(item('a', '1'), item('b', '1')), counted(item('c', '2'))], all)) break
  assert.equal(open, 0)
  const failing = merged(
    [counted(item('a', '1'), item('b', '1')), counted(item('a', '2'), new Error('no'))],
    all,
  )
  assert.throws(() => [...failing], /no/)
  assert.equal(open, 0)
})
