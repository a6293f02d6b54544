import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'
import { CHECKPOINT_ROWS_MAX, COMMITTED_ROWS_MAX, KEPT_ROWS_MIN } from '../../src/limits.ts'
import { Delta, STATS } from '../../src/processor/delta.ts'
import { Fold } from '../../src/processor/fold.ts'
import { Merged, type RowStore } from '../../src/processor/merged.ts'
import type { RowBatch } from '../../src/processor/placement.ts'
import { processSeed } from '../../src/processor/seed.ts'
import { encodeParts, rowKey } from '../../src/results/keys.ts'
import { heldKey, Row } from '../../src/results/row.ts'

const { Frame } = millrace.v1
const measure: Measure = {
  name: 'm',
  where: {},
  by: ['subject'],
  value: 'value',
  window: 'all',
  quantiles: true,
}

/** A store in memory, for commits of few rows. */
class Kept implements RowStore, RowBatch {
  readonly rows = new Map<string, Buffer>()
  readonly measures = () => [{ id: 3, measure }]
  getRow(key: Buffer): Buffer | undefined {
    return this.rows.get(key.toString('hex'))
  }
  putRow(key: Buffer, value: Buffer): void {
    this.rows.set(key.toString('hex'), Buffer.from(value))
  }
  readonly newestWindow = () => Number.POSITIVE_INFINITY
  readonly put = noRuns
  readonly removeRange = noRuns
  putMeta(): void {}
  readonly removeMeta = noRuns
  /** All rows as one. */
  total(): Row {
    const total = new Row()
    for (const value of this.rows.values()) total.merge(value, false)
    return total
  }
}

function noRuns(): never {
  throw new Error('there are no runs here')
}

function delta(from: number, to: number): ArrayBufferLike {
  const events = []
  for (let k = from; k < to; k++) events.push({ subject: `k${k}`, value: 1 })
  const frames = Frame.encode({ events }).finish()
  return new Fold([measure]).task(frames, [frames.length, 0])
}

test('only rows touched since the last commit are written', () => {
  const store = new Kept()
  const merged = new Merged(store, [measure])
  merged.merge(delta(0, 10))
  merged.merge(delta(5, 12))
  assert.equal(merged.write(store), 12)
  assert.equal(merged.write(store), 0)
  merged.merge(delta(3, 4))
  assert.equal(merged.write(store), 1)
  assert.equal(store.total().count, 18)
})

test('no more is merged than a commit may write, and less where there are too many rows', () => {
  const few = new Merged(new Kept(), [measure])
  const many = new Merged(new Kept(), [measure], 1000)
  for (let k = 0; k * 5000 < CHECKPOINT_ROWS_MAX / 2; k++) {
    assert.ok(!many.full)
    for (const merged of [few, many]) merged.merge(delta(k * 5000, (k + 1) * 5000))
  }
  assert.deepEqual([few.full, many.full], [false, true])
  for (let k = 0; k * 5000 < COMMITTED_ROWS_MAX; k++) few.merge(delta(k * 5000, (k + 1) * 5000))
  assert.ok(few.full)
})

test('rows whose hashes are the same stay apart by window and key', () => {
  const store = new Kept()
  const merged = new Merged(store, [measure])
  const keys = ['a', 'b', 'b', 'aa'].map((key) => encodeParts([key]))
  const windows = [1, 1, 2, 1]
  for (let round = 1; round <= 2; round++) {
    const size = { rows: 4, samples: 4, keyBytes: Buffer.concat(keys).length }
    const { buffer, sections } = Delta.of(4, processSeed, [size])
    sections[0].hash.fill(7)
    sections[0].keys.set(Buffer.concat(keys))
    for (let row = 0; row < 4; row++) {
      sections[0].stats.set([1, row, 0, row, row, windows[row]], row * STATS)
      sections[0].keyEnd[row] = Buffer.concat(keys.slice(0, row + 1)).length
      sections[0].sampleRow[row] = row
      sections[0].sampleBucket[row] = row
    }
    merged.merge(buffer)
    merged.write(store)
    for (let row = 0; row < 4; row++) {
      const stored = new Row().merge(store.getRow(rowKey(3, keys[row], windows[row]))!, true)
      assert.deepEqual([stored.count, stored.sum, stored.max], [round, round * row, row])
      assert.equal(stored.sketch!.size, 1)
    }
    assert.equal(store.rows.size, 4)
  }
})

test('a key too long for the store is held by its row', () => {
  const store = new Kept()
  const merged = new Merged(store, [measure])
  const subject = 'x'.repeat(1000).concat('\0'.repeat(900))
  const frames = Frame.encode({ events: [{ subject, value: 5 }] }).finish()
  merged.merge(new Fold([measure]).task(frames, [frames.length, 0]))
  merged.write(store)
  const parts = encodeParts([subject])
  const stored = store.getRow(rowKey(3, parts, 0))!
  assert.deepEqual(heldKey(stored), parts)
  assert.equal(new Row().merge(stored, true).sketch!.quantile(0.5, 5, 5), 5)
})

test('a delta whose hashes were made with another seed is refused', () => {
  const fold = new Fold([measure], { start: 1, multiplier: 3 })
  assert.throws(() => new Merged(new Kept(), [measure]).merge(fold.task(new Uint8Array(0), [])), /seed/)
})

test('a measure that the store gave no id is a mistake of ours', () => {
  assert.throws(() => new Merged(new Kept(), [{ ...measure, name: 'other' }]), /other has no id/)
})

test('rows that were not touched for long are let go, and those that are touched stay', () => {
  const store = new Kept()
  const minutes: Measure = { ...measure, window: 60_000, quantiles: false }
  const fold = new Fold([minutes])
  const merged = new Merged({ ...store, measures: () => [{ id: 3, measure: minutes }], getRow }, [minutes])
  const reads = { hot: 0, cold: 0 }
  function getRow(key: Buffer): Buffer | undefined {
    reads[key.includes('hot') ? 'hot' : 'cold']++
    return store.getRow(key)
  }
  const hot = 50
  const cold = 4000
  let most = 0
  const rounds = Math.ceil((KEPT_ROWS_MIN * 5) / cold)
  for (let round = 0; round < rounds; round++) {
    const events = []
    for (let k = 0; k < hot; k++) events.push({ subject: `hot${k}`, value: 1 })
    for (let k = 0; k < cold; k++) events.push({ subject: `k${k}`, value: 1, timeUnixNano: round * 60e9 })
    const frames = Frame.encode({ events }).finish()
    merged.merge(fold.task(frames, [frames.length, 0]))
    merged.write(store)
    merged.letGo()
    most = Math.max(most, merged.rows)
  }
  assert.ok(most < KEPT_ROWS_MIN * 3, `${most} rows`)
  assert.deepEqual(reads, { hot, cold: cold * rounds })
  assert.equal(store.total().count, rounds * (hot + cold))
})
