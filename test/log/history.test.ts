import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { History } from '../../src/log/history.ts'

const MAX_BYTES = 1000
const MAX_AGE = 10_000

test('nothing is let go while all of it is young and fits half of the budget', () => {
  const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
  for (let next = 1; next <= 5; next++) history.read(next, 100, 0)
  assert.equal(history.trimTo(5, MAX_AGE), undefined)
})

test('what is more than half of the budget goes, the oldest first', () => {
  const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
  for (let next = 1; next <= 8; next++) history.read(next, 100, 0)
  assert.equal(history.trimTo(8, 0), 3)
  assert.equal(history.trimTo(8, 0), undefined)
  history.read(9, 100, 0)
  assert.equal(history.trimTo(9, 0), 4)
})

test('what is old goes, even where it would fit', () => {
  const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
  history.read(1, 10, 0)
  history.read(2, 10, 5_000)
  assert.equal(history.trimTo(2, 10_001), 1)
  assert.equal(history.trimTo(2, 15_001), 2)
})

test('what is not committed stays, however much and old it is', () => {
  const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
  for (let next = 1; next <= 50; next++) history.read(next, 100, 0)
  assert.equal(history.trimTo(0, 10 * MAX_AGE), undefined)
  assert.equal(history.trimTo(7, 10 * MAX_AGE), 7)
})

test('what was held at the start counts as if it were as large as what is read, and goes first', () => {
  const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
  history.begin(100, 164, 64, 0)
  assert.equal(history.trimTo(164, 0), undefined, 'nothing is known of its size yet')
  history.read(165, 10, 0)
  const first = history.trimTo(165, 0)! // 640 and 10 bytes, of which 500 may stay
  assert.ok(first >= 115 && first <= 117, `${first}`)
  for (let next = 166; next <= 200; next++) history.read(next, 10, 0)
  assert.ok(history.trimTo(200, 0)! >= 149)
  assert.equal(history.trimTo(200, 2 * MAX_AGE), 200)
})

test('restart after restart, what is held stays within half of the budget and a little', () => {
  let first = 0
  let next = 0
  for (let restart = 0; restart < 20; restart++) {
    const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
    history.begin(first, next, next - first, restart)
    for (let segment = 0; segment < 30; segment++) {
      next++
      history.read(next, 10, restart)
      first = history.trimTo(next, restart) ?? first
      assert.ok((next - first) * 10 <= MAX_BYTES / 2 + 40, `${next - first} segments of 10 bytes`)
    }
  }
})

test('it never trims past the committed, and keeps half of the budget and little more', () => {
  const segment = fc.record({
    bytes: fc.integer({ min: 1, max: 400 }),
    wait: fc.nat(3000),
    behind: fc.nat(3),
  })
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 200 }), (segments) => {
      const history = new History({ maxBytes: MAX_BYTES, maxAge: MAX_AGE })
      const sizes: number[] = []
      let now = 0
      let trimmed = 0
      for (const { bytes, wait, behind } of segments) {
        now += wait
        sizes.push(bytes)
        history.read(sizes.length, bytes, now)
        const committed = Math.max(0, sizes.length - behind)
        const to = history.trimTo(committed, now)
        if (to !== undefined) {
          assert.ok(to > trimmed && to <= committed)
          trimmed = to
        }
        const kept = sizes.slice(trimmed, committed).reduce((sum, size) => sum + size, 0)
        assert.ok(kept <= MAX_BYTES / 2 + 400, `${kept} bytes are kept`)
      }
    }),
  )
})
