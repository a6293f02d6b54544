import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KEY_BYTES_MAX } from '../../src/limits.ts'
import { WINDOW } from '../../src/processor/delta.ts'
import { RowOrder } from '../../src/processor/row-order.ts'
import { DOUBLES, INTS, KEY_AT, KEY_BYTES } from '../../src/processor/row-table.ts'
import { encodeParts, rowKey } from '../../src/results/keys.ts'

interface Keyed {
  parts: Buffer
  window: number
}

/** The order of rows with these keys, and what it should be. */
function orders(rows: Keyed[]): [string[], string[]] {
  const doubles = new Float64Array(rows.length * DOUBLES)
  const ints = new Int32Array(doubles.buffer)
  const keys = Buffer.concat(rows.map(({ parts }) => parts))
  let at = 0
  for (const [row, { parts, window }] of rows.entries()) {
    doubles[row * DOUBLES + WINDOW] = window
    ints[row * INTS + KEY_AT] = at
    ints[row * INTS + KEY_BYTES] = parts.length
    at += parts.length
  }
  let alike = 0
  while (
    rows.length > 0 &&
    rows.every(({ parts }) => alike < parts.length && parts[alike] === rows[0].parts[alike])
  )
    alike++
  const order = Int32Array.from(rows, (_, row) => row)
  new RowOrder().sort({ doubles, ints, keys, alike }, order)
  const stored = rows.map(({ parts, window }) => rowKey(0, parts, window))
  return [
    Array.from(order, (row) => stored[row].toString('hex')),
    [...stored].sort((a, b) => a.compare(b)).map((key) => key.toString('hex')),
  ]
}

/** A sequence of whole numbers below 2^32 that is the same each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 0x100000000) * below)
  }
}

const below = numbers(7)
const shapes: Record<string, () => Keyed> = {
  'numbered subjects': () => ({ parts: encodeParts([`subject-${below(100_000)}`]), window: 0 }),
  'subjects of a few letters, with NULs': () => ({
    parts: encodeParts([Array.from({ length: below(7) }, () => '\0\x01\x02ab'[below(5)]).join('')]),
    window: below(3),
  }),
  'two parts': () => ({ parts: encodeParts([`t${below(3)}`, 'x'.repeat(below(20))]), window: below(2) }),
  'many windows of few keys': () => ({
    parts: encodeParts([`key-${below(3)}`]),
    window: below(1440) * 60_000 + 1.7e12,
  }),
  'keys that are cut': () => ({
    parts: encodeParts(['y'.repeat(KEY_BYTES_MAX - 8 + below(9)) + below(50)]),
    window: below(4),
  }),
}
for (const [name, make] of Object.entries(shapes)) {
  test(`rows come in the order of their keys in the store: ${name}`, () => {
    for (const size of [0, 1, 2, 7, 2000]) {
      const [order, expected] = orders(Array.from({ length: size }, make))
      assert.deepEqual(order, expected)
    }
  })
}
