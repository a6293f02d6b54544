// Several stores asked as one give the answers of one store that has it all.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Measure } from '../../src/config/config.ts'
import { encodeParts, isLong, rowKey } from '../../src/results/keys.ts'
import { emptyCounters, putCounters, putWriter } from '../../src/results/progress.ts'
import { Query } from '../../src/results/query.ts'
import { Row } from '../../src/results/row.ts'
import { bucketOf, encodeBuckets, Sketch } from '../../src/results/sketch.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { checkPartitions, openStores, Stores } from '../../src/results/stores.ts'
import { generator } from '../e2e/random.ts'
import { atEnd, folder } from './folder.ts'

const PARTITIONS = 3
const MINUTE = 60_000

const bySubject: Measure = {
  name: 'by-subject',
  where: {},
  by: ['subject'],
  value: 'value',
  window: MINUTE,
  quantiles: true,
}
const byType: Measure = { ...bySubject, name: 'by-type', by: ['type'], quantiles: true }
const counts: Measure = { ...bySubject, name: 'counts', value: 'none', window: 'all', quantiles: false }
const measures = [bySubject, byType, counts]

const bits = new DataView(new ArrayBuffer(8))

interface Part {
  measure: Measure
  key: string
  window: number
  values: number[]
}

/** Values in eighths, so that their sums are exact in any order. */
function parts(): Part[] {
  const { between, pick } = generator(7)
  const long = 'l'.repeat(2500) // longer than a key of the store: the row holds it
  return Array.from({ length: 400 }, () => {
    const measure = pick(measures)
    return {
      measure,
      key: pick(['a', 'b', 'c', 'd\0e', long]),
      window: measure.window === 'all' ? 0 : between(1, 5) * MINUTE,
      values: Array.from({ length: between(1, 20) }, () => between(-800, 800) / 8),
    }
  })
}

function rowOf({ measure, values }: Part): Row {
  const row = new Row()
  row.count = values.length
  if (measure.value === 'none') return row
  row.numbers = true
  row.sum = values.reduce((a, b) => a + b, 0)
  row.min = Math.min(...values)
  row.max = Math.max(...values)
  if (measure.quantiles) {
    row.sketch = new Sketch()
    const bytes = Buffer.alloc(32)
    for (const value of values) {
      bits.setFloat64(0, value)
      encodeBuckets(Int32Array.of(bucketOf(bits.getInt32(0))), Float64Array.of(1), 1, bytes, 0)
      row.sketch.merge(bytes, 0)
    }
  }
  return row
}

async function put(store: Store, all: readonly Part[]): Promise<void> {
  const epoch = await store.takeOwnership()
  const rows = new Map<string, { part: Part; row: Row }>()
  for (const part of all) {
    const name = JSON.stringify([part.measure.name, part.key, part.window])
    const known = rows.get(name)
    const encoded = encode(part, rowOf(part))
    if (known === undefined) rows.set(name, { part, row: rowOf(part) })
    else known.row.merge(encoded, true)
  }
  await store.commit(epoch, (batch) => {
    for (const { part, row } of rows.values()) {
      const { id } = store.measures().find(({ measure }) => measure.name === part.measure.name)!
      batch.putRow(rowKey(id, encodeParts([part.key]), part.window), encode(part, row))
    }
  })
}

function encode({ key }: Part, row: Row): Buffer {
  const encoded = encodeParts([key])
  const bytes = Buffer.alloc(20_000)
  return bytes.subarray(0, row.encode(bytes, 0, isLong(encoded) ? encoded : undefined))
}

async function setUp(t: TestContext) {
  const all = parts()
  const one = await openStore(folder(t), 0, { measures })
  atEnd(t, () => one.close())
  await put(one, all)
  const path = folder(t)
  const owned = new Map<number, Store>()
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const store = await openStore(path, partition, { measures })
    atEnd(t, () => store.close())
    await put(
      store,
      all.filter((_, i) => i % PARTITIONS === partition),
    )
    owned.set(partition, store)
  }
  const stores = await openStores(path, PARTITIONS, owned)
  return { one: new Query(one), several: new Query(stores) }
}

test('rows, merged or not, page by page, are those of one store', async (t) => {
  const { one, several } = await setUp(t)
  for (const { name } of measures) {
    for (const merge of [false, true]) {
      for (const key of [[], ['a'], ['d\0e'], ['l'.repeat(2500)]]) {
        const expected = await one.rows(name, { key, merge, limit: 1000 })
        assert.deepEqual(await several.rows(name, { key, merge, limit: 1000 }), expected)
        assert.ok(expected.rows.length > 0)
      }
      const pages = []
      let cursor: string | undefined
      do {
        const page = await several.rows(name, { key: [], merge, limit: 3, ...(cursor ? { cursor } : {}) })
        pages.push(...page.rows)
        cursor = page.cursor
      } while (cursor !== undefined)
      assert.deepEqual(pages, (await one.rows(name, { key: [], merge, limit: 1000 })).rows)
    }
  }
})

test('the top of several stores is that of one', async (t) => {
  const { one, several } = await setUp(t)
  for (const by of ['count', 'sum', 'mean', 'max', 'min'] as const) {
    const asked = { by, limit: 4, from: MINUTE, to: 4 * MINUTE }
    assert.deepEqual(await several.top('by-type', asked), await one.top('by-type', asked))
  }
})

test('counters are summed, and a writer is found in its partition', async (t) => {
  const progress = { sequence: 3, events: 7, bodies: 5, receivedAt: 9 }
  const dir = folder(t)
  const owned: Store[] = []
  for (const [i, name] of ['aa', 'bb'].entries()) {
    const store = await openStore(dir, i)
    atEnd(t, () => store.close())
    const epoch = await store.takeOwnership()
    await store.commit(epoch, (batch) => {
      putWriter(batch, name, { ...progress, events: i })
      putCounters(batch, { ...emptyCounters(), events: 10 + i, lastReceivedAt: 100 - i })
    })
    owned.push(store)
  }
  const both = new Stores(owned, [])
  assert.deepEqual(both.counters(), { ...emptyCounters(), events: 21, lastReceivedAt: 100 })
  assert.deepEqual(both.writer(1, 'bb'), { ...progress, events: 1 })
  assert.equal(both.writer(0, 'bb'), undefined)
  assert.deepEqual([...both.writers().keys()], ['aa', 'bb'])
})

test('stores that do not exist yet are empty', async (t) => {
  const dir = folder(t)
  const stores = await openStores(dir, 2)
  atEnd(t, () => stores.close())
  assert.deepEqual(stores.measures(), [])
  assert.equal(stores.counters().events, 0)
  assert.deepEqual([...stores.snapshot().range(Buffer.alloc(4), Buffer.of(255))], [])
})

test('fewer partitions than there are results of is refused: they would be left out unseen', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 3)
  atEnd(t, () => store.close())
  checkPartitions(dir, 4)
  assert.throws(
    () => checkPartitions(dir, 3),
    /results of 4 partitions, and log.partitions is 3: it can be raised/,
  )
  checkPartitions(folder(t), 1)
})
