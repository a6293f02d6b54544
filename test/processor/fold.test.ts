import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'
import { COUNT, Delta, STATS, WINDOW } from '../../src/processor/delta.ts'
import { BLOCK_EVENTS } from '../../src/processor/fields.ts'
import { Fold } from '../../src/processor/fold.ts'
import { Merged } from '../../src/processor/merged.ts'
import { processSeed, type Seed } from '../../src/processor/seed.ts'
import { encodeParts } from '../../src/results/keys.ts'
import { type AnswerRow, Query } from '../../src/results/query.ts'
import { RELATIVE_ERROR } from '../../src/results/sketch.ts'
import { openStore } from '../../src/results/store.ts'
import { folder } from '../results/folder.ts'
import { exact, expected } from './oracle.ts'
import { eventFrame } from './wire.ts'

const { Event, Frame } = millrace.v1

const plain: Measure = {
  name: 'plain',
  where: {},
  by: ['subject'],
  value: 'value',
  window: 60_000,
  quantiles: false,
}
const measures: Measure[] = [
  plain,
  { ...plain, name: 'quantiles', by: ['type', 'subject'], window: 1000, quantiles: true },
  { ...plain, name: 'count', where: { type: 'page.*' }, by: ['attributes.region', 'source'], value: 'none' },
  {
    ...plain,
    name: 'ends',
    where: { subject: '*b', 'attributes.tier': '*' },
    by: ['attributes.tier'],
    window: 'all',
  },
  {
    ...plain,
    name: 'inside',
    where: { type: '*e.c*', source: 'a' },
    by: ['type'],
    window: 7,
    quantiles: true,
  },
  {
    ...plain,
    name: 'absent',
    where: { 'attributes.tier': '' },
    by: ['attributes.'],
    value: 'none',
    window: 'all',
  },
]

const run = fc.record({
  frames: fc.array(eventFrame, { minLength: 1, maxLength: 6 }),
  receivedAt: fc.constantFrom(0, 1_700_000_000_123, 1_700_000_060_000),
})
const tasks = fc.array(fc.array(run, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 })

function total(row: { values: number[] }): bigint {
  return row.values.reduce((sum, n) => sum + exact(n), 0n)
}

/** Sums are told as if added exactly and rounded once, but for 2^-95 of what was added. */
function checkSum(told: number, values: number[]): void {
  const plainSum = values.reduce((a, b) => a + b, 0)
  if (!values.every(Number.isFinite)) {
    assert.equal(told + 0, plainSum + 0)
    return
  }
  const sum = total({ values })
  const size = total({ values: values.map(Math.abs) })
  const off = exact(told) - sum
  const allowed = (size >> 95n) + ((sum < 0n ? -sum : sum) >> 53n) + 1n
  assert.ok((off < 0n ? -off : off) <= allowed, `${told} for ${values}`)
}

function checkRow(measure: Measure, told: AnswerRow, row: ReturnType<typeof expected>[number]): void {
  assert.deepEqual(told.key, row.key)
  assert.equal(told.count, row.count)
  const { window } = measure
  assert.equal(told.windowStart, window === 'all' ? null : new Date(row.windowStart).toISOString())
  assert.equal(told.windowEnd, window === 'all' ? null : new Date(row.windowStart + window).toISOString())
  if (measure.value === 'none') {
    assert.equal(told.sum, undefined)
    return
  }
  const sorted = [...row.values].sort((a, b) => a - b)
  assert.equal(Number(told.min) + 0, sorted[0] + 0) // -0 is 0
  assert.equal(Number(told.max) + 0, sorted[sorted.length - 1] + 0)
  checkSum(Number(told.sum), row.values)
  if (!measure.quantiles) assert.equal(told.p50, undefined)
  else checkQuantiles(told, sorted)
}

function checkQuantiles(told: AnswerRow, sorted: number[]): void {
  for (const [q, answer] of [
    [0.5, told.p50],
    [0.95, told.p95],
    [0.99, told.p99],
  ] as const) {
    const value = sorted[Math.floor(q * (sorted.length - 1))]
    if (Number.isFinite(value)) {
      const off = Math.abs(Number(answer) - value)
      assert.ok(
        off <= RELATIVE_ERROR * Math.abs(value) * (1 + 1e-12) + 2 ** -1022,
        `p${q}: ${answer} for ${value}`,
      )
    } else assert.equal(Number(answer), value)
  }
}

test('what is folded, merged in any order, committed in between and queried is what was sent', async (t) => {
  const path = folder(t)
  let n = 0
  await fc.assert(
    fc.asyncProperty(tasks, fc.infiniteStream(fc.nat(2 ** 31 - 1)), async (sent, dice) => {
      const roll = (sides: number) => dice.next().value % sides
      const store = await openStore(`${path}/${n++}`, 0, { measures })
      try {
        const epoch = await store.takeOwnership()
        const folds = [new Fold(measures), new Fold(measures)]
        const deltas = sent.map((runs) => {
          const frames = Buffer.concat([Buffer.from('before'), ...runs.flatMap((r) => r.frames)]).subarray(6)
          const ends: number[] = []
          let end = 0
          for (const r of runs) {
            end += r.frames.reduce((sum, f) => sum + f.length, 0)
            ends.push(end, r.receivedAt)
          }
          if (roll(2) === 0) return folds[roll(2)].task(frames, Float64Array.from(ends))
          const shared = new Uint8Array(new SharedArrayBuffer(frames.length * (1 + roll(20))))
          shared.set(frames)
          return folds[roll(2)].task(
            shared.subarray(0, frames.length),
            Float64Array.from(ends),
            shared.buffer,
          )
        })
        assert.equal(
          deltas.reduce((sum, delta) => sum + new Delta(delta).events, 0),
          sent.flat().reduce((sum, r) => sum + r.frames.length, 0),
        )
        let merged = new Merged(store, measures)
        while (deltas.length > 0) {
          merged.merge(deltas.splice(roll(deltas.length), 1)[0])
          if (deltas.length > 0 && roll(2) === 0) continue
          await store.commit(epoch, (batch) => merged.write(batch))
          if (roll(2) === 0) merged = new Merged(store, measures) // as after a restart
        }
        const query = new Query(store)
        const all = sent.flat().flatMap((r) => r.frames.map((bytes) => ({ bytes, receivedAt: r.receivedAt })))
        for (const measure of measures) {
          const rows = expected(measure, all)
          const told = await query.rows(measure.name, { limit: 10_000 })
          assert.equal(told.rows.length, rows.length, measure.name)
          for (const [i, row] of rows.entries()) checkRow(measure, told.rows[i], row)
        }
      } finally {
        await store.close()
      }
    }),
    { numRuns: 60 },
  )
})

test('many events in one task, each laid out in a way of its own, are what was sent', async (t) => {
  const path = folder(t)
  const usual = Frame.encode({
    events: [{ source: 'a', type: 'page.view', subject: 'b', timeUnixNano: 1_000, value: 2 }],
  }).finish()
  const frames = fc.array(fc.oneof(eventFrame, fc.constant(usual)), {
    minLength: 2 * BLOCK_EVENTS - 1,
    maxLength: 3 * BLOCK_EVENTS,
    size: 'max',
  })
  let n = 0
  await fc.assert(
    fc.asyncProperty(frames, async (sent) => {
      const store = await openStore(`${path}/${n++}`, 0, { measures })
      try {
        const epoch = await store.takeOwnership()
        const bytes = Buffer.concat(sent)
        const merged = new Merged(store, measures)
        merged.merge(new Fold(measures).task(bytes, [bytes.length, 5]))
        await store.commit(epoch, (batch) => merged.write(batch))
        const query = new Query(store)
        for (const measure of measures) {
          const rows = expected(measure, [{ bytes, receivedAt: 5 }])
          const told = await query.rows(measure.name, { limit: 10_000 })
          assert.equal(told.rows.length, rows.length, measure.name)
          for (const [i, row] of rows.entries()) checkRow(measure, told.rows[i], row)
        }
      } finally {
        await store.close()
      }
    }),
    { numRuns: 8 },
  )
})

test('rows are told apart by the very bytes of their keys, and by window, also where hashes are the same', () => {
  const part = fc
    .uint8Array({ maxLength: 20 })
    .map((bytes) => bytes.map((byte) => (byte < 128 ? byte % 3 : 65)))
  const by = [['subject'], ['subject', 'type'], ['type', 'attributes.a', 'subject']]
  const allAlike: Seed = { start: 0, multiplier: 0 }
  const folds = [processSeed, allAlike].flatMap((seed) =>
    by.map((fields) => ({
      fields,
      fold: new Fold([{ ...plain, value: 'none', by: fields, window: 10 }], seed),
    })),
  )
  const event = fc.tuple(part, part, part, fc.integer({ min: 1, max: 3 }))
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 20 }), (all) => {
      const events = all.map(([type, subject, a, window]) => ({
        window: window * 10,
        type: Buffer.from(type).toString(),
        subject: Buffer.from(subject).toString(),
        attributes: { a: Buffer.from(a).toString() },
      }))
      // The subject last, so that nothing stands behind the last one.
      const frames = Buffer.concat(
        events.map(({ window, type, subject, attributes }) => {
          const first = Event.encode({ type, timeUnixNano: window * 1e6, attributes }).finish()
          const last = Event.encode({ subject }).finish()
          return Buffer.concat([Buffer.of(10, first.length + last.length), first, last])
        }),
      )
      for (const { fields, fold } of folds) {
        const [{ rows, keys, keyEnd, stats }] = new Delta(fold.task(frames, [frames.length, 0])).sections
        const told = new Map<string, number>()
        for (let row = 0; row < rows; row++) {
          const key = Buffer.from(keys.subarray(row === 0 ? 0 : keyEnd[row - 1], keyEnd[row]))
          told.set(`${key.toString('hex')} ${stats[row * STATS + WINDOW]}`, stats[row * STATS + COUNT])
        }
        const sent = new Map<string, number>()
        for (const { window, type, subject, attributes } of events) {
          const values: Record<string, string> = { type, subject, 'attributes.a': attributes.a }
          const key = encodeParts(fields.map((field) => values[field]))
          const row = `${key.toString('hex')} ${window}`
          sent.set(row, (sent.get(row) ?? 0) + 1)
        }
        assert.equal(rows, sent.size)
        assert.deepEqual(told, sent)
      }
    }),
    { numRuns: 500 },
  )
})

test('a table that grows within a task loses nothing', () => {
  const events = Array.from({ length: 20_000 }, (_, i) => ({ subject: `s${i % 7001}`, value: i }))
  const frames = Frame.encode({ events }).finish()
  const fold = new Fold([{ ...plain, quantiles: true, window: 'all' }])
  for (let round = 0; round < 2; round++) {
    const [delta] = new Delta(fold.task(frames, [frames.length, 0])).sections
    assert.equal(delta.rows, 7001)
    const keys = new Map<string, number>()
    let start = 0
    for (let row = 0; row < delta.rows; row++) {
      keys.set(
        Buffer.from(delta.keys.subarray(start, delta.keyEnd[row] - 2)).toString(),
        delta.stats[row * 6 + 1],
      )
      start = delta.keyEnd[row]
    }
    for (let i = 0; i < 7001; i += 500) {
      const sum = events.filter((e) => e.subject === `s${i}`).reduce((a, e) => a + e.value, 0)
      assert.equal(keys.get(`s${i}`), sum)
    }
  }
})

test('a window starts at the millisecond that the nanoseconds say, exactly', () => {
  const fold = new Fold([{ ...plain, value: 'none', window: 1 }])
  fc.assert(
    fc.property(
      fc.bigInt({ min: 1n, max: 0xffffffffffffffffn }),
      fc.integer({ min: -2, max: 2 }),
      (any, around) => {
        for (const nanos of [any, (any / 1_000_000n) * 1_000_000n + BigInt(around)]) {
          if (nanos <= 0n || nanos > 0xffffffffffffffffn) continue
          const frame = new Uint8Array(11)
          frame.set([10, 9, 41])
          new DataView(frame.buffer).setBigUint64(3, nanos, true)
          const [delta] = new Delta(fold.task(frame, [frame.length, 5])).sections
          assert.equal(delta.stats[5], Number(nanos / 1_000_000n))
        }
      },
    ),
    { numRuns: 1000 },
  )
})
