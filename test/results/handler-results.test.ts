import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RESULT_BYTES_MAX, RESULT_KEY_BYTES_MAX } from '../../src/limits.ts'
import { getResult, listResults, putResult, unstorable } from '../../src/results/handler-results.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { openStores, type Stores } from '../../src/results/stores.ts'
import { atEnd, folder } from './folder.ts'

type Put = [partition: number, key: string, text: string, at: number]

/** Stores with these results, one commit for each, and all of them as a listener reads them. */
async function stored(t: TestContext, partitions: number, puts: Put[]): Promise<Stores> {
  const path = folder(t)
  const writers: { store: Store; epoch: number }[] = []
  for (let partition = 0; partition < partitions; partition++) {
    const store = await openStore(path, partition)
    atEnd(t, () => store.close())
    writers.push({ store, epoch: await store.takeOwnership() })
  }
  for (const [partition, key, text, at] of puts) {
    const { store, epoch } = writers[partition]
    await store.commit(epoch, (batch) => putResult(batch, key, Buffer.from(text), at))
  }
  const stores = await openStores(path, partitions, new Map(writers.map(({ store }, i) => [i, store])))
  atEnd(t, () => stores.close())
  return stores
}

function list(stores: Stores, prefix: string, limit: number, cursor?: string) {
  const snapshot = stores.snapshot()
  try {
    return listResults(snapshot, { prefix, limit, cursor })
  } finally {
    snapshot.done()
  }
}

test('what is stored last under a key is read, with the time of receipt of its event', async (t) => {
  const stores = await stored(t, 1, [
    [0, 'a', 'one', 20],
    [0, 'a', 'two', 10],
    [0, 'b', '', 30],
  ])
  assert.deepEqual(getResult(stores, 'a'), { key: 'a', at: 10, bytes: Buffer.from('two') })
  assert.equal(getResult(stores, 'b')?.bytes.length, 0)
  assert.equal(getResult(stores, 'c'), undefined)
  assert.equal(getResult(stores, ''), undefined)
  assert.equal(getResult(stores, 'x'.repeat(5000)), undefined)
})

test('of a key in several partitions the value that was received last is read, alone and in lists', async (t) => {
  const stores = await stored(t, 3, [
    [0, 'k', 'old', 10],
    [1, 'k', 'new', 30],
    [2, 'k', 'middle', 20],
    [2, 'l', 'only', 1],
  ])
  assert.equal(getResult(stores, 'k')?.bytes.toString(), 'new')
  const { results } = list(stores, '', 10)!
  assert.deepEqual(
    results.map(({ key, bytes }) => [key, bytes.toString()]),
    [
      ['k', 'new'],
      ['l', 'only'],
    ],
  )
})

test('a prefix is listed in pages, in the order of bytes, each key once and nothing besides', async (t) => {
  const keys = ['\0', 'a', 'a/', 'a/\0', 'a/1', 'a/10', 'a/2', 'a/é', 'a/\u{1F600}', 'b', '\u{10FFFF}']
  const stores = await stored(
    t,
    2,
    keys.map((key, i): Put => [i % 2, key, key, i]),
  )
  for (const prefix of ['', 'a', 'a/', 'a/1', 'none', '\u{10FFFF}']) {
    for (const limit of [1, 2, 100]) {
      const read: string[] = []
      for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
        const page = list(stores, prefix, limit, cursor)!
        assert.ok(page.results.length <= limit)
        read.push(...page.results.map(({ key }) => key))
        cursor = page.cursor
      }
      const expected = keys.filter((key) => key.startsWith(prefix))
      assert.deepEqual(
        read,
        expected.sort((a, b) => Buffer.from(a).compare(Buffer.from(b))),
      )
    }
  }
})

test('a page ends before its bytes are too many, and has at least one result', async (t) => {
  const large = 'x'.repeat(RESULT_BYTES_MAX)
  const stores = await stored(
    t,
    1,
    Array.from({ length: 9 }, (_, i): Put => [0, String(i), large, i]),
  )
  const sizes: number[] = []
  for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
    const page = list(stores, '', 100, cursor)!
    sizes.push(page.results.length)
    cursor = page.cursor
  }
  assert.deepEqual(sizes, [3, 3, 3])
})

test('a prefix or cursor that is too long for a key finds nothing, and disturbs nobody', async (t) => {
  const stores = await stored(t, 1, [[0, 'a', '', 0]])
  assert.deepEqual(list(stores, 'a'.repeat(4000), 10), { results: [] })
  assert.equal(list(stores, '', 10, Buffer.alloc(4000, 'a').toString('base64url')), undefined)
  assert.equal(list(stores, '', 10)?.results.length, 1)
})

test('a cursor of another query, or of none, is told apart', async (t) => {
  const stores = await stored(t, 1, [
    [0, 'a1', '', 0],
    [0, 'a2', '', 0],
    [0, 'b1', '', 0],
  ])
  const { cursor } = list(stores, 'a', 1)!
  assert.equal(list(stores, 'b', 1, cursor), undefined)
  for (const wrong of ['', '!', 'YQ==', 'YR']) assert.equal(list(stores, 'a', 1, wrong), undefined, wrong)
  assert.equal(list(stores, 'a', 1, cursor)?.results[0].key, 'a2')
})

test('keys and values that do not fit are named as a mistake, the longest that fit are stored', async (t) => {
  const key = 'é'.repeat(RESULT_KEY_BYTES_MAX / 2)
  assert.match(unstorable('', Buffer.of(1))!, /empty/)
  assert.match(unstorable(`${key}.`, Buffer.of(1))!, /1025 bytes, 1024 at most/)
  assert.match(unstorable('k', Buffer.alloc(RESULT_BYTES_MAX + 1))!, /1048577 bytes, 1048576 at most/)
  assert.equal(unstorable(key, Buffer.alloc(RESULT_BYTES_MAX)), undefined)
  const stores = await stored(t, 1, [[0, key, 'fits', 0]])
  assert.equal(getResult(stores, key)?.bytes.toString(), 'fits')
  assert.equal(list(stores, key, 1)?.results.length, 1)
})
