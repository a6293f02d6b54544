import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Measure } from '../../src/config/config.ts'
import { Problem } from '../../src/errors.ts'
import { QUERY_ROWS_MAX, QUERY_ROWS_PER_TURN } from '../../src/limits.ts'
import { encodeParts, isLong, rowKey } from '../../src/results/keys.ts'
import { Query } from '../../src/results/query.ts'
import { Row } from '../../src/results/row.ts'
import { bucketOf, encodeBuckets, Sketch } from '../../src/results/sketch.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { atEnd, folder } from './folder.ts'

const MINUTE = 60_000
const T0 = Date.UTC(2026, 0, 31, 12)

const bySubject: Measure = {
  name: 'by-subject',
  where: {},
  by: ['subject'],
  value: 'value',
  window: MINUTE,
  quantiles: true,
}
const byTwo: Measure = { ...bySubject, name: 'by-two', by: ['type', 'attributes.region'], quantiles: false }
const counts: Measure = { ...bySubject, name: 'counts', value: 'none', window: 'all' }
const measures = [bySubject, byTwo, counts]

type Put = (measure: Measure, key: string[], window: number, values: number[]) => void

/** A store with rows of `values`, the windows being numbers of minutes after T0. */
async function filled(
  t: TestContext,
  fill: (put: Put) => void,
): Promise<{ store: Store; query: Query; put: (fill: (put: Put) => void) => Promise<void> }> {
  const store = await openStore(folder(t), 0, { measures })
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const put = (fill: (put: Put) => void) =>
    store.commit(epoch, (batch) => {
      fill((measure, key, minutes, values) => {
        const { id } = store.measures().find((entry) => entry.measure.name === measure.name)!
        const parts = encodeParts(key)
        const value = Buffer.alloc(10_000)
        const end = rowOf(measure, values).encode(value, 0, isLong(parts) ? parts : undefined)
        const window = measure.window === 'all' ? 0 : T0 + minutes * MINUTE
        batch.putRow(rowKey(id, parts, window), value.subarray(0, end))
      })
    })
  await put(fill)
  return { store, query: new Query(store), put }
}

function rowOf(measure: Measure, values: number[]): Row {
  const row = new Row()
  row.count = values.length
  if (measure.value === 'none') return row
  row.numbers = true
  row.sum = values.reduce((a, b) => a + b, 0)
  row.min = Math.min(...values)
  row.max = Math.max(...values)
  if (!measure.quantiles) return row
  row.sketch = new Sketch()
  const bits = new DataView(new ArrayBuffer(8))
  const bytes = Buffer.alloc(32)
  for (const value of values) {
    bits.setFloat64(0, value)
    encodeBuckets(Int32Array.of(bucketOf(bits.getInt32(0))), Float64Array.of(1), 1, bytes, 0)
    row.sketch.merge(bytes, 0)
  }
  return row
}

const at = (minutes: number) => new Date(T0 + minutes * MINUTE).toISOString()

function problem(code: string, detail: RegExp) {
  return (error: Error) => {
    assert.ok(error instanceof Problem, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, detail)
    return true
  }
}

test('a row is told with its window, its numbers and its quantiles', async (t) => {
  const { query } = await filled(t, (put) => {
    put(bySubject, ['a'], 0, [4])
    put(counts, ['a'], 0, [1, 1])
  })
  assert.deepEqual(await query.rows('by-subject', {}), {
    rows: [
      {
        key: ['a'],
        windowStart: at(0),
        windowEnd: at(1),
        count: 1,
        sum: 4,
        min: 4,
        max: 4,
        mean: 4,
        p50: 4,
        p95: 4,
        p99: 4,
      },
    ],
  })
  assert.deepEqual(await query.rows('counts', {}), {
    rows: [{ key: ['a'], windowStart: null, windowEnd: null, count: 2 }],
  })
  assert.deepEqual(query.measures(), measures)
})

test('from is in, to is out', async (t) => {
  const { query } = await filled(t, (put) => {
    for (let minutes = 0; minutes < 50; minutes++) {
      put(bySubject, ['a'], minutes, [1])
      put(bySubject, ['b'], minutes, [1])
    }
  })
  const { rows } = await query.rows('by-subject', { from: T0 + 20 * MINUTE, to: T0 + 22 * MINUTE })
  const found = rows.map(({ key, windowStart }) => [key[0], windowStart])
  assert.deepEqual(found, [
    ['a', at(20)],
    ['a', at(21)],
    ['b', at(20)],
    ['b', at(21)],
  ])
  assert.equal(
    (await query.rows('by-subject', { from: T0 + 20 * MINUTE + 1, to: T0 + 21 * MINUTE })).rows.length,
    0,
  )
  await assert.rejects(query.rows('counts', { from: T0 }), problem('malformed', /one window without end/))
})

test('key parts ask for a key, or for all that begin so', async (t) => {
  const long = 'x'.repeat(1024)
  const { query } = await filled(t, (put) => {
    for (const key of [
      ['a', '1'],
      ['a', '2'],
      ['a\0', '1'],
      ['ab', '1'],
      [long, long],
      [long, `${long.slice(1)}y`],
    ]) {
      put(byTwo, key, 0, [1])
    }
  })
  const keys = async (key: string[]) => (await query.rows('by-two', { key })).rows.map((row) => row.key)
  assert.deepEqual(await keys(['a']), [
    ['a', '1'],
    ['a', '2'],
  ])
  assert.deepEqual(await keys(['a', '2']), [['a', '2']])
  assert.deepEqual(await keys(['a\0']), [['a\0', '1']])
  assert.deepEqual(await keys([long, long]), [[long, long]])
  assert.equal((await keys([long])).length, 2)
  assert.deepEqual(await keys(['none']), [])
  await assert.rejects(keys(['a', '1', '2']), problem('malformed', /2 parts: type, attributes.region/))
})

test('cursors lead through all rows once, windows merged or not', async (t) => {
  const { query } = await filled(t, (put) => {
    for (let k = 0; k < 7; k++)
      for (let minutes = 0; minutes < 3; minutes++) put(bySubject, [`k${k}`], minutes, [k])
  })
  for (const merge of [false, true]) {
    const seen: string[] = []
    let cursor: string | undefined
    let pages = 0
    do {
      const page = await query.rows('by-subject', { merge, limit: 2, cursor })
      assert.ok(page.rows.length <= 2)
      seen.push(...page.rows.map(({ key, windowStart }) => `${key} ${windowStart}`))
      cursor = page.cursor
      pages++
    } while (cursor !== undefined)
    assert.equal(new Set(seen).size, merge ? 7 : 21)
    assert.equal(seen.length, merge ? 7 : 21)
    assert.equal(pages, merge ? 4 : 11)
  }
})

test('a cursor that is none, or of another query, is refused', async (t) => {
  const { query } = await filled(t, (put) => {
    for (let k = 0; k < 3; k++) {
      put(bySubject, [`k${k}`], 0, [1])
      put(counts, [`k${k}`], 0, [1])
    }
  })
  const { cursor } = await query.rows('counts', { limit: 1 })
  for (const wrong of ['', '?', 'AAAA', `${cursor}A`, cursor]) {
    await assert.rejects(query.rows('by-subject', { cursor: wrong }), problem('malformed', /^cursor: /))
  }
})

test('merged windows are one row with the span of them', async (t) => {
  const { query } = await filled(t, (put) => {
    put(bySubject, ['a'], 0, [1, 100])
    put(bySubject, ['a'], 5, [3, 2, 50])
    put(bySubject, ['b'], 5, [7])
    for (const [minutes, value] of [1e16, 1, -1e16].entries()) put(bySubject, ['c'], minutes, [value])
  })
  const { rows } = await query.rows('by-subject', { merge: true })
  const [a, b, c] = rows
  assert.deepEqual([a.key, a.windowStart, a.windowEnd], [['a'], at(0), at(6)])
  assert.deepEqual([a.count, a.sum, a.min, a.max, a.mean], [5, 156, 1, 100, 31.2])
  assert.ok(Math.abs(Number(a.p50) - 3) < 0.03)
  assert.equal(b.count, 1)
  assert.equal(c.sum, 1)
})

test('top is in order, ties in the order of keys, quantiles of the merged windows', async (t) => {
  const { query } = await filled(t, (put) => {
    put(bySubject, ['a'], 0, [1, 2])
    put(bySubject, ['b'], 0, [9])
    put(bySubject, ['b'], 1, [-5])
    put(bySubject, ['c'], 0, [3, 4, 5])
    put(bySubject, ['d'], 9, [100, 100, 100, 100])
    put(counts, ['x'], 0, [1])
  })
  const top = async (by: 'count' | 'sum' | 'mean' | 'max' | 'min', limit = 10) => {
    const { rows } = await query.top('by-subject', { by, limit, to: T0 + 5 * MINUTE })
    return rows.map(({ key }) => key[0]).join('')
  }
  assert.equal(await top('count'), 'cab')
  assert.equal(await top('count', 2), 'ca')
  assert.equal(await top('sum'), 'cba')
  assert.equal(await top('mean'), 'cba')
  assert.equal(await top('max'), 'bca')
  assert.equal(await top('min'), 'bac')
  const { rows } = await query.top('by-subject', { by: 'max', limit: 1, to: T0 + 5 * MINUTE })
  const [{ p50, p99, count, windowEnd }] = rows
  assert.deepEqual([p50, p99, count, windowEnd], [-5, -5, 2, at(2)])
  assert.equal((await query.top('counts', {})).rows[0].count, 1)
  await assert.rejects(query.top('counts', { by: 'sum' }), problem('malformed', /only counts/))
})

test('limits and names that cannot be are refused', async (t) => {
  const { query } = await filled(t, () => {})
  for (const limit of [0, -1, 1.5, QUERY_ROWS_MAX + 1, Number.NaN]) {
    await assert.rejects(query.rows('counts', { limit }), problem('malformed', /^limit=/))
    await assert.rejects(query.top('counts', { limit }), problem('malformed', /^limit=/))
  }
  await assert.rejects(query.rows('by-subjct', {}), problem('unknown-route', /did you mean by-subject\?/))
  await assert.rejects(query.top('zzz', {}), problem('unknown-route', /by-subject, by-two, counts/))
})

test('numbers that JSON does not have are told as text', async (t) => {
  const { query } = await filled(t, (put) =>
    put(bySubject, ['a'], 0, [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 1]),
  )
  const [row] = (await query.rows('by-subject', {})).rows
  assert.deepEqual(
    [row.sum, row.min, row.max, row.mean, row.p99],
    ['Infinity', 1, 'Infinity', 'Infinity', 'Infinity'],
  )
})

test('a long query sees one moment, lets others run, and ends when the client is gone', async (t) => {
  const keys = QUERY_ROWS_PER_TURN * 3
  const { query, put } = await filled(t, (fill) => {
    for (let k = 0; k < keys; k++) fill(byTwo, ['k', String(k).padStart(6, '0')], 0, [1])
  })
  let turns = 0
  let over = false
  const turn = () => {
    turns++
    if (!over) setImmediate(turn)
  }
  setImmediate(turn)
  const asked = query.rows('by-two', { limit: 10_000 })
  await put((fill) => {
    for (let k = 0; k < keys; k++) fill(byTwo, ['k', String(k).padStart(6, '0')], 0, [5])
  })
  const { rows } = await asked
  over = true
  assert.ok(turns >= 3)
  assert.equal(rows.length, keys)
  assert.deepEqual([...new Set(rows.map(({ sum }) => sum))], [1])
  assert.equal((await query.rows('by-two', { limit: 1 })).rows[0].sum, 5)

  const gone = new AbortController()
  const reason = new Error('gone')
  const ended = query.top('by-two', {}, gone.signal)
  gone.abort(reason)
  await assert.rejects(ended, reason)
})
