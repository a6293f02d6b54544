// Handlers without modules, and what a task comes to.

import type { HandlerPlan, Measure } from '../../src/config/config.ts'
import type { HandlerDefinition } from '../../src/handler.ts'
import { COUNT, Delta, STATS, SUM, WINDOW } from '../../src/processor/delta.ts'
import { type Effects, unpackResults } from '../../src/processor/effects.ts'
import { Fold } from '../../src/processor/fold.ts'
import type { Loaded } from '../../src/processor/handling.ts'
import { processSeed } from '../../src/processor/seed.ts'
import { decodeParts } from '../../src/results/keys.ts'

export const RECEIVED_AT = 1_700_000_000_123

export function handler(map: HandlerDefinition['map'], plan: Partial<HandlerPlan> = {}): Loaded {
  return { plan: { name: 'h', path: '/h.mjs', match: {}, timeLimit: 1000, measures: [], ...plan }, map }
}

export function emitted(name: string, by: string[], over: Partial<Measure> = {}): Measure {
  const plain = { name, where: {}, by, value: 'value', window: 'all', quantiles: false } as const
  return { ...plain, handler: 'h', ...over }
}

export interface Row {
  key: string[]
  window: number
  count: number
  sum: number
}

/** The rows of each section, in the order of their keys. */
export function rowsOf(delta: ArrayBufferLike): Row[][] {
  return new Delta(delta).sections.map(({ rows, stats, keyEnd, keys }) => {
    const all = Array.from({ length: rows }, (_, row) => ({
      key: decodeParts(keys.subarray(row === 0 ? 0 : keyEnd[row - 1], keyEnd[row])),
      window: stats[row * STATS + WINDOW],
      count: stats[row * STATS + COUNT],
      sum: stats[row * STATS + SUM],
    }))
    const places = new Map(all.map((row) => [row, JSON.stringify([row.key, row.window])]))
    return all.sort((a, b) => (places.get(a)! < places.get(b)! ? -1 : 1))
  })
}

/** Folds frames with handlers; measures of the configuration may come first. */
export function handle(frames: Uint8Array, handlers: Loaded[], measures: Measure[] = []) {
  const fold = new Fold(measures, processSeed, handlers)
  fold.handling!.begin(new Int32Array(2))
  const delta = fold.task(frames, [frames.length, RECEIVED_AT])
  const effects = fold.effects as Effects
  const results = [...unpackResults(effects.results)].map(([key, { bytes }]) => [
    key,
    Buffer.from(bytes).toString(),
  ])
  return { rows: rowsOf(delta), effects, results: Object.fromEntries(results) as Record<string, string> }
}
