// Which measures have rows in the store, and under which ids. Kept in the store itself, so that those who read it
// need no configuration.
//
//   measure:<id>   JSON of the measure
//   removed:<id>   JSON of a measure that is no longer configured: its rows are being removed
//
// An id belongs to a measure's name and all that decides what its rows mean. A measure that is changed gets another
// id and starts anew; the rows of the old one would not add up with the new ones.

import { isDeepStrictEqual } from 'node:util'
import type { Measure } from '../config/config.ts'
import type { MetaReader } from './progress.ts'

const MEASURE = 'measure:'
const REMOVED = 'removed:'
const ID_MAX = 0xffff

/** A measure and the id that its rows' keys start with. */
export interface Entry {
  id: number
  measure: Measure
}

/** The measures that are counted, in the order of the configuration; and those whose rows are to go. */
export function readCatalogue(store: MetaReader): { measures: Entry[]; removed: Entry[] } {
  const read = (prefix: string) =>
    [...store.metaRange(prefix)].map(([key, value]) => ({
      id: Number(key.slice(prefix.length)),
      ...(JSON.parse(value.toString()) as { place: number; measure: Measure }),
    }))
  const byPlace = read(MEASURE).sort((a, b) => a.place - b.place)
  return { measures: byPlace.map(({ id, measure }) => ({ id, measure })), removed: read(REMOVED) }
}

/** What has to be put and removed so that the store counts these measures. */
export function assign(store: MetaReader, measures: readonly Measure[]) {
  const { measures: old, removed } = readCatalogue(store)
  const taken = new Set([...old, ...removed].map(({ id }) => id))
  const puts: [key: string, value: Buffer][] = []
  const kept = new Set<number>()
  measures.forEach((measure, place) => {
    const same = old.find((entry) => isDeepStrictEqual(identity(entry.measure), identity(measure)))
    const id = same?.id ?? freeId(taken)
    taken.add(id)
    kept.add(id)
    puts.push([MEASURE + id, Buffer.from(JSON.stringify({ place, measure: identity(measure) }))])
  })
  const gone = old.filter(({ id }) => !kept.has(id))
  for (const { id, measure } of gone) {
    puts.push([REMOVED + id, Buffer.from(JSON.stringify({ place: 0, measure }))])
  }
  return { puts, removals: gone.map(({ id }) => MEASURE + id), gone }
}

export function removedKey(id: number): string {
  return REMOVED + id
}

/** The measure's members in one order; `where` means the same in any. */
export function identity({ name, where, by, value, window, quantiles }: Measure): Measure {
  const conditions = Object.entries(where).sort(([a], [b]) => (a < b ? -1 : 1))
  return { name, where: Object.fromEntries(conditions), by: [...by], value, window, quantiles }
}

function freeId(taken: Set<number>): number {
  for (let id = 0; id <= ID_MAX; id++) if (!taken.has(id)) return id
  throw new Error(`the store has rows of ${ID_MAX + 1} measures already: wait until old ones are removed`)
}
