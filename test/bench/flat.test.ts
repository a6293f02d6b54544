import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flatness, type Look } from '../../bench/flat.ts'

const RATE = 100_000

function looks(change: (n: number) => Partial<Look>): Look[] {
  return Array.from({ length: 30 }, (_, n) => ({
    at: n * 15,
    privateMb: 200 + (n % 5),
    diskMb: 1000 + (n % 3),
    p50: 1 + (n % 4) / 20,
    p99: 8 + (n % 7) / 2,
    lagEvents: 5000,
    ...change(n),
  }))
}

test('what goes up and down is flat', () => {
  const { ratios, problems } = flatness(
    looks(() => ({})),
    RATE,
  )
  assert.deepEqual(problems, [])
  assert.ok(Math.abs(ratios.privateMb - 1) < 0.02)
})

test('one look that stands out is no growth', () => {
  const { problems } = flatness(
    looks((n) => (n === 28 ? { p99: 500, privateMb: 900, lagEvents: 1e7 } : {})),
    RATE,
  )
  assert.deepEqual(problems, [])
})

test('memory, disk, latency and a backlog that grow are each told', () => {
  const growing: [Partial<Look>, RegExp][] = [
    [{ privateMb: 1.6 }, /^privateMb went from/],
    [{ diskMb: 6 }, /^diskMb went from/],
    [{ p50: 0.05 }, /^p50 went from/],
    [{ p99: 0.5 }, /^p99 went from/],
  ]
  for (const [slope, told] of growing) {
    const [[name, by]] = Object.entries(slope) as [keyof Look, number][]
    const grown = looks(() => ({})).map((look, n) => ({ ...look, [name]: look[name] + n * by }))
    const { problems } = flatness(grown, RATE)
    assert.equal(problems.length, 1)
    assert.match(problems[0], told)
  }
  const waiting = looks((n) => ({ lagEvents: n * 20_000 }))
  assert.match(flatness(waiting, RATE).problems[0], /wait to be processed/)
})

test('on a machine that others use latencies are not held to anything, and memory to less', () => {
  const slower = looks((n) => ({ p50: 1 + n, p99: 8 + n }))
  assert.deepEqual(flatness(slower, RATE, true).problems, [])
  const larger = (by: number) => looks((n) => ({ privateMb: 200 + n * by }))
  assert.equal(flatness(larger(2), RATE).problems.length, 1)
  assert.equal(flatness(larger(2), RATE, true).problems.length, 0)
  assert.equal(flatness(larger(14), RATE, true).problems.length, 1)
})

test('too few looks are refused', () => {
  assert.throws(() => flatness(looks(() => ({})).slice(0, 5), RATE), /six at least/)
})
