import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KEY_BYTES_MAX } from '../../src/limits.ts'
import {
  after,
  decodeParts,
  encodeParts,
  keyStem,
  partsOf,
  prefixStem,
  rowKey,
  windowOf,
} from '../../src/results/keys.ts'
import { anyCharacter } from '../characters.ts'

const part = fc.oneof(
  fc.constantFrom('', '\0', '\0\0', 'a', 'a\0', 'a\0b', 'a\u0001', 'b', '😀', '\u{10ffff}'),
  fc.string({ unit: anyCharacter, maxLength: 12 }),
)
const LMDB_KEY_BYTES_MAX = 1978

function order(a: string[], b: string[]): number {
  for (let i = 0; i < a.length; i++) {
    const by = Buffer.from(a[i]).compare(Buffer.from(b[i]))
    if (by !== 0) return by
  }
  return 0
}

test('key parts come back as they were', () => {
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
      assert.deepEqual(decodeParts(encodeParts(parts)), parts)
    }),
  )
})

test('keys sort by their parts in turn, then by window', () => {
  const pair = fc
    .integer({ min: 1, max: 3 })
    .chain((n) =>
      fc.tuple(
        fc.array(part, { minLength: n, maxLength: n }),
        fc.array(part, { minLength: n, maxLength: n }),
      ),
    )
  const window = fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 2 ** 47 }))
  fc.assert(
    fc.property(pair, window, window, ([a, b], windowA, windowB) => {
      const keyA = rowKey(7, encodeParts(a), windowA)
      const keyB = rowKey(7, encodeParts(b), windowB)
      assert.equal(Math.sign(keyA.compare(keyB)), Math.sign(order(a, b) || windowA - windowB))
      assert.equal(windowOf(keyA), windowA)
    }),
    { numRuns: 500 },
  )
})

test('the keys that begin with some parts are those between their stem and what comes after it', () => {
  fc.assert(
    fc.property(fc.array(part, { minLength: 2, maxLength: 2 }), part, ([a, b], other) => {
      const stem = prefixStem(7, encodeParts([other]))
      const key = rowKey(7, encodeParts([a, b]), 5)
      assert.equal(key.compare(stem) >= 0 && key.compare(after(stem)) < 0, a === other)
    }),
    { numRuns: 500 },
  )
})

test('a key too long for LMDB is cut, stays apart from its like, and keeps its windows together', () => {
  const long = encodeParts(['x'.repeat(1024), 'y'.repeat(1024)])
  const like = encodeParts(['x'.repeat(1024), `${'y'.repeat(1023)}z`])
  assert.ok(rowKey(1, long, 1).length <= LMDB_KEY_BYTES_MAX)
  assert.notDeepEqual(rowKey(1, long, 1), rowKey(1, like, 1))
  assert.deepEqual(keyStem(1, long), rowKey(1, long, 9).subarray(0, -6))
  assert.equal(partsOf(rowKey(1, long, 1)), undefined)
  const longestWhole = encodeParts(['x'.repeat(KEY_BYTES_MAX - 2)])
  assert.deepEqual(partsOf(rowKey(1, longestWhole, 1)), longestWhole)
  assert.equal(partsOf(rowKey(1, encodeParts(['x'.repeat(KEY_BYTES_MAX - 1)]), 1)), undefined)
})

test('after ff there is still an after', () => {
  assert.deepEqual(after(Buffer.of(1, 0xff, 0xff)), Buffer.of(2))
  assert.ok(after(Buffer.of(0xff, 0xff)).compare(Buffer.of(0xff, 0xff, 0x80)) > 0)
})
