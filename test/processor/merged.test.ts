import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'
import { MERGED_ROWS_MAX } from '../../src/limits.ts'
import { Fold } from '../../src/processor/fold.ts'
import { Merged, type RowStore } from '../../src/processor/merged.ts'
import { Row } from '../../src/results/row.ts'

const { Frame } = millrace.v1
const measure: Measure = {
  name: 'm',
  where: {},
  by: ['subject'],
  value: 'value',
  window: 'all',
  quantiles: true,
}

/** A store in memory. */
class Kept implements RowStore {
  readonly rows = new Map<string, Buffer>()
  readonly measures = () => [{ id: 3, measure }]
  getRow(key: Buffer): Buffer | undefined {
    return this.rows.get(key.toString('hex'))
  }
  putRow(key: Buffer, value: Buffer): void {
    this.rows.set(key.toString('hex'), Buffer.from(value))
  }
  /** All rows as one. */
  total(): Row {
    const total = new Row()
    for (const value of this.rows.values()) total.merge(value, false)
    return total
  }
}

function delta(from: number, to: number): ArrayBuffer {
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

test('rows are let go when there are too many, but for those not yet written', () => {
  const store = new Kept()
  const merged = new Merged(store, [measure])
  const step = 50_000
  const steps = Math.ceil(MERGED_ROWS_MAX / step) + 1
  for (let i = 0; i < steps; i++) {
    merged.merge(delta(i * step, (i + 1) * step))
    merged.write(store)
    merged.letGo()
  }
  assert.ok(merged.rows <= MERGED_ROWS_MAX)
  merged.merge(delta(0, MERGED_ROWS_MAX + 1)) // read again from the store, and not written
  merged.letGo()
  assert.equal(merged.rows, MERGED_ROWS_MAX + 1)
  merged.merge(delta(0, 10))
  merged.write(store)
  merged.letGo()
  assert.equal(merged.rows, 0)
  const { count, total } = store.total()
  assert.deepEqual([count, total], [steps * step + MERGED_ROWS_MAX + 11, steps * step + MERGED_ROWS_MAX + 11])
})

test('a measure that the store gave no id is a mistake of ours', () => {
  assert.throws(() => new Merged(new Kept(), [{ ...measure, name: 'other' }]), /other has no id/)
})
