import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BEGIN, END, withMeasured } from '../../bench/comparison.ts'

test('a rerun replaces what was measured and keeps what was written by hand', () => {
  const first = withMeasured(undefined, 'ratio 1.1')
  const edited = `${first.replace('# Comparison', '# Ours')}### A change\n\nWhy it is faster.\n`
  const second = withMeasured(edited, 'ratio 1.2')
  assert.equal(second, edited.replace('ratio 1.1', 'ratio 1.2'))
})

test('a page that has lost a mark is not overwritten', () => {
  const page = withMeasured(undefined, 'ratio 1.1')
  for (const mark of [BEGIN, END]) assert.throws(() => withMeasured(page.replace(mark, ''), 'x'), /put back/)
})
