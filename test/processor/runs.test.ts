import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'
import { CHECKPOINT_COMMITS, CHECKPOINT_RUNS_MIN, ROWS_IN_PLACE_MAX } from '../../src/limits.ts'
import { Delta } from '../../src/processor/delta.ts'
import { Fold } from '../../src/processor/fold.ts'
import { Merged } from '../../src/processor/merged.ts'
import { Rows } from '../../src/processor/rows.ts'
import { decodeParts, encodeParts, measureKey, partsOf, rowKey, windowOf } from '../../src/results/keys.ts'
import { Query } from '../../src/results/query.ts'
import { Row } from '../../src/results/row.ts'
import { RUNS_PREFIX } from '../../src/results/runs.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { openStores } from '../../src/results/stores.ts'
import { atEnd, folder } from '../results/folder.ts'

const { Frame } = millrace.v1
const MINUTE = 60_000
const measure: Measure = {
  name: 'm',
  where: { type: '*' },
  by: ['subject'],
  value: 'value',
  window: MINUTE,
  quantiles: true,
}
const fold = new Fold([measure])
const MANY = ROWS_IN_PLACE_MAX * 2

interface Event {
  subject: string
  value: number
  /** The number of its window. */
  minute: number
}

interface Sums {
  count: number
  sum: number
}

/** What the store should have: count and sum by subject and window. */
class Model {
  readonly rows = new Map<string, Sums>()
  add(events: readonly Event[]): void {
    for (const { subject, value, minute } of events) {
      const key = `${subject} ${minute}`
      const row = this.rows.get(key) ?? { count: 0, sum: 0 }
      row.count++
      row.sum += value
      this.rows.set(key, row)
    }
  }
}

function folded(events: readonly Event[]): ArrayBufferLike {
  const frames = Frame.encode({
    events: events.map(({ minute, ...event }) => ({ ...event, timeUnixNano: minute * MINUTE * 1e6 })),
  }).finish()
  return fold.task(frames, [frames.length, 0])
}

async function owned(path: string, rowsMax?: number) {
  const store = await openStore(path, 0, { measures: [measure] })
  const epoch = await store.takeOwnership()
  const merged = new Merged(store, [measure], rowsMax)
  return {
    store,
    merged,
    async commit(events: readonly Event[]): Promise<void> {
      merged.merge(folded(events))
      await store.commit(epoch, (batch) => merged.write(batch))
      merged.letGo()
    },
    /** With nothing new, until nothing is left to be done. */
    async calm(): Promise<void> {
      for (let commits = 0; merged.behind; commits++) {
        assert.ok(commits < 100, 'it comes to an end')
        await store.commit(epoch, (batch) => merged.write(batch))
        merged.letGo()
      }
    },
  }
}

function seen(store: Store): Map<string, Sums> {
  const snapshot = store.snapshot()
  const [{ id }] = store.measures()
  const rows = new Map<string, Sums>()
  let last: Buffer = Buffer.alloc(0)
  try {
    for (const { key, value } of snapshot.range(measureKey(id), measureKey(id + 1))) {
      assert.ok(key.compare(last) > 0, 'in the order of their keys, none twice')
      last = key
      const { count, total, sketch } = new Row().merge(value, true)
      assert.ok(sketch !== undefined)
      rows.set(`${decodeParts(partsOf(key)!)[0]} ${windowOf(key) / MINUTE}`, { count, sum: total })
    }
  } finally {
    snapshot.done()
  }
  return rows
}

/** Says a few of the differences: of so many rows telling all would take minutes. */
function assertSame(found: Map<string, Sums>, wanted: Map<string, Sums>): void {
  const differing = [...new Set([...found.keys(), ...wanted.keys()])].filter((key) => {
    const [one, other] = [found.get(key), wanted.get(key)]
    return one?.count !== other?.count || one?.sum !== other?.sum
  })
  const few = differing.slice(0, 5).map((key) => ({ key, found: found.get(key), wanted: wanted.get(key) }))
  assert.deepEqual(few, [], `${differing.length} rows differ`)
}

/** Events of subjects s0, s1, … in a scattered order. */
function scattered(size: number, subjects: number, seed: number, minute = 0): Event[] {
  return Array.from({ length: size }, (_, i) => ({
    subject: `s${(i * 7919 + seed * 104_729) % subjects}`,
    value: (i + seed) % 100,
    minute: minute + (i % 2),
  }))
}

function runsIn(store: Store): number {
  return [...store.metaRange(RUNS_PREFIX)].length
}

async function opened(t: TestContext, path: string): Promise<Store> {
  const store = await openStore(path, 0, { readOnly: true })
  atEnd(t, () => store.close())
  return store
}

test('whatever a commit puts into runs or places, a reader sees each row as it was merged', async (t) => {
  const path = folder(t)
  const { store, merged, commit, calm } = await owned(path)
  atEnd(t, () => store.close())
  const reader = await opened(t, path)
  const model = new Model()
  let withRuns = 0
  for (let n = 0; n < (CHECKPOINT_RUNS_MIN + CHECKPOINT_COMMITS) * 3; n++) {
    const events = n % 11 === 10 ? scattered(50, 9000, n) : scattered(MANY + n * 100, 9000 + n * 50, n, n % 3)
    await commit(events)
    model.add(events)
    withRuns += runsIn(store)
    assertSame(seen(reader), model.rows)
  }
  assert.ok(withRuns > CHECKPOINT_COMMITS)
  await calm()
  assert.equal(runsIn(store), 0)
  assertSame(seen(reader), model.rows)
  // And so in their places.
  const [{ id }] = store.measures()
  for (const [key, { count }] of model.rows) {
    const [subject, minute] = key.split(' ')
    const stored = store.getRow(rowKey(id, encodeParts([subject]), Number(minute) * MINUTE))
    assert.equal(new Row().merge(stored!, false).count, count)
  }
  assert.ok(merged.rows >= model.rows.size)
  const snapshot = store.snapshot()
  assert.deepEqual([...snapshot.kept('runs', Buffer.alloc(1), Buffer.of(0xff))], [])
  snapshot.done()
})

test('few rows need no run, and when few come after many, runs end', async (t) => {
  const { store, merged, commit } = await owned(folder(t))
  atEnd(t, () => store.close())
  await commit(scattered(ROWS_IN_PLACE_MAX, ROWS_IN_PLACE_MAX, 1))
  assert.ok(!merged.behind)
  await commit(scattered(MANY, MANY, 2))
  assert.ok(merged.behind)
  for (let n = 0; merged.behind; n++) {
    assert.ok(n < CHECKPOINT_COMMITS * 4, 'while small commits go on')
    await commit(scattered(100, MANY, n))
  }
  assert.equal(runsIn(store), 0)
})

test('an owner puts what the one before left in runs into places, and goes on from there', async (t) => {
  const path = folder(t)
  const model = new Model()
  const reader = await opened(t, path)
  for (let owner = 0; owner < 3; owner++) {
    const { store, merged, commit } = await owned(path)
    assert.equal(runsIn(store), 0)
    await reader.appear()
    if (owner > 0) assertSame(seen(reader), model.rows)
    for (let n = 0; n < CHECKPOINT_RUNS_MIN + 1 + owner; n++) {
      const events = scattered(MANY, 12_000, owner * 10 + n)
      await commit(events)
      model.add(events)
    }
    assert.ok(merged.behind)
    assert.ok(runsIn(store) > 0)
    await store.close()
  }
  assertSame(seen(reader), model.rows)
})

test('rows are let go when there are too many, but for those that are not in their places', async (t) => {
  const path = folder(t)
  const rowsMax = MANY
  const { store, merged, commit, calm } = await owned(path, rowsMax)
  atEnd(t, () => store.close())
  const model = new Model()
  let most = 0
  for (let n = 0; n < 30; n++) {
    const events = scattered(MANY, MANY * 20, n * 31)
    await commit(events)
    model.add(events)
    most = Math.max(most, merged.rows)
  }
  assert.ok(model.rows.size > rowsMax * 10)
  assert.ok(most < rowsMax * 6, `${most} rows in memory`)
  assertSame(seen(store), model.rows)
  await calm()
  const events = scattered(MANY, MANY * 20, 3) // of rows that were let go
  await commit(events)
  model.add(events)
  assertSame(seen(store), model.rows)
})

test('rows that are behind in their places stay, whatever is let go', async (t) => {
  const store = await openStore(folder(t), 0, { measures: [measure] })
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const rows = new Rows(store.measures()[0].id, true, true, store)
  const model = new Model()
  let partly = 0
  for (let n = 0; n < CHECKPOINT_RUNS_MIN + CHECKPOINT_COMMITS; n++) {
    const events = scattered(MANY, 12_000, n)
    rows.merge(new Delta(folded(events)).sections[0])
    model.add(events)
    await store.commit(epoch, (batch) => rows.write(batch))
    const before = rows.size
    rows.letGo(true)
    if (rows.size > 0 && rows.size < before) partly++
    assertSame(seen(store), model.rows)
  }
  assert.ok(partly > 1)
})

test('queries answer the same whether rows are in runs or in their places', async (t) => {
  const path = folder(t)
  const { store, commit, calm } = await owned(path)
  atEnd(t, () => store.close())
  for (let n = 0; n < CHECKPOINT_RUNS_MIN + 2; n++) await commit(scattered(MANY, 10_000, n, n % 4))
  const stores = await openStores(path, 1)
  atEnd(t, () => stores.close())
  const query = new Query(stores)
  const asked = async () => [
    await query.rows('m', { key: ['s77'] }),
    await query.rows('m', { key: ['s9999'], merge: true }),
    await query.rows('m', { key: ['none'] }),
    await query.rows('m', { limit: 1000, merge: true }),
    await query.rows('m', {
      limit: 200,
      from: MINUTE,
      to: 2 * MINUTE,
      cursor: (await query.rows('m', { limit: 7 })).cursor,
    }),
    await query.top('m', { by: 'sum', limit: 20 }),
    await query.top('m', { by: 'count', from: 2 * MINUTE }),
  ]
  assert.ok(runsIn(store) > 0)
  const fromRuns = await asked()
  await calm()
  assert.equal(runsIn(store), 0)
  assert.deepEqual(await asked(), fromRuns)
})

test('what a commit that failed had begun is in no other one', async (t) => {
  const failing = await owned(folder(t))
  atEnd(t, () => failing.store.close())
  const other = await owned(folder(t))
  atEnd(t, () => other.store.close())
  let puts = 0
  const put = () => {
    if (++puts >= 3) throw new Error('the disk is gone')
  }
  const batch = { put, putRow: put, removeRange() {}, putMeta() {}, removeMeta() {} }
  await failing.commit([])
  failing.merged.merge(folded(scattered(MANY, MANY, 5)))
  assert.throws(() => failing.merged.write(batch), /the disk is gone/)
  const model = new Model()
  for (const events of [scattered(100, 100, 1), scattered(MANY, MANY, 2)]) {
    await other.commit(events)
    model.add(events)
    assert.deepEqual(seen(other.store), model.rows)
  }
})

test('a measure that is gone takes its runs with it', async (t) => {
  const path = folder(t)
  const { store, merged, commit } = await owned(path)
  await commit(scattered(MANY, MANY, 1))
  assert.ok(merged.behind)
  const [{ id }] = store.measures()
  await store.close()
  const next = await openStore(path, 0, { measures: [] })
  atEnd(t, () => next.close())
  await next.takeOwnership()
  await next.tidied()
  const snapshot = next.snapshot()
  assert.deepEqual([...snapshot.range(measureKey(id), measureKey(id + 1))], [])
  assert.deepEqual([...snapshot.kept('runs', measureKey(id), measureKey(id + 1))], [])
  snapshot.done()
})
