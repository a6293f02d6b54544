// From bytes to answers: fold to a delta, merge, commit, query.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Measure } from '../../src/config/config.ts'
import type { Emit, EventView } from '../../src/handler.ts'
import { Fold } from '../../src/processor/fold.ts'
import { Merged } from '../../src/processor/merged.ts'
import { processSeed } from '../../src/processor/seed.ts'
import { Query } from '../../src/results/query.ts'
import { openStore } from '../../src/results/store.ts'
import { type Case, measure, taskFrames } from './case.ts'

const EVENTS = 8000
const SUBJECTS = 1000

function folding(name: string, measures: Measure[], subjects: number): Case {
  const fold = new Fold(measures)
  const frames = taskFrames(EVENTS, subjects)
  const runs = [frames.length, Date.now()]
  return { name, count: EVENTS, unit: 'event', run: () => fold.task(frames, runs).byteLength }
}

/** The same by a handler that reads two fields. */
function handling(name: string, { quantiles }: Measure, subjects: number): Case {
  const emitted: Measure = { ...measure, by: ['subject'], where: {}, quantiles }
  const plan = { name: 'h', path: '', match: {}, timeLimit: 1000, measures: [emitted] }
  const map = (event: EventView, emit: Emit) => emit.measure('by-subject', event.subject, event.value)
  const fold = new Fold([], processSeed, [{ plan, map }])
  const frames = taskFrames(EVENTS, subjects)
  const runs = [frames.length, Date.now()]
  const at = new Int32Array(2)
  const run = () => {
    fold.handling?.begin(at)
    return fold.task(frames, runs).byteLength
  }
  return { name, count: EVENTS, unit: 'event', run }
}

export async function results(): Promise<Case[]> {
  const quantiles = measure as unknown as Measure
  const plain = { ...quantiles, quantiles: false }
  const folder = await mkdtemp(join(tmpdir(), 'millrace-micro-'))
  const store = await openStore(folder, 0, { measures: [quantiles] })
  const epoch = await store.takeOwnership()
  const frames = taskFrames(EVENTS, SUBJECTS)
  const delta = new Fold([quantiles]).task(frames, [frames.length, Date.now()])
  const merged = new Merged(store, [quantiles])
  merged.merge(delta)
  await store.commit(epoch, (write) => merged.write(write))
  const query = new Query(store)
  let asked = 0
  return [
    folding('fold to delta, 1000 keys', [plain], SUBJECTS),
    folding('fold to delta, 1000 keys, quantiles', [quantiles], SUBJECTS),
    folding('fold to delta, 8000 keys', [plain], EVENTS),
    handling('fold to delta by a handler, 1000 keys', plain, SUBJECTS),
    handling('fold to delta by a handler, 1000 keys, quantiles', quantiles, SUBJECTS),
    handling('fold to delta by a handler, 8000 keys', plain, EVENTS),
    {
      name: 'merge a delta, 1000 rows with quantiles',
      count: SUBJECTS,
      unit: 'row',
      run: () => {
        merged.merge(delta)
        return merged.rows
      },
    },
    {
      name: 'merge, commit, 1000 rows with quantiles',
      count: SUBJECTS,
      unit: 'row',
      run: async () => {
        merged.merge(delta)
        await store.commit(epoch, (write) => merged.write(write))
      },
    },
    {
      name: 'query, rows of a key',
      count: 1,
      unit: 'query',
      run: async () => (await query.rows(measure.name, { key: [`s${asked++ % SUBJECTS}`] })).rows.length,
    },
    {
      name: 'query, top 10 of 1000 keys',
      count: 1,
      unit: 'query',
      run: async () => (await query.top(measure.name, { by: 'count' })).rows.length,
      async close() {
        await store.close()
        await rm(folder, { recursive: true, force: true })
      },
    },
  ]
}
