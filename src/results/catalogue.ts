// Which measures have rows in a store, and under which ids. Kept in the store itself, so that those who read it
// need no configuration.
//
//   measure:<id>   JSON of the measure
//   removed:<id>   JSON of a measure that is no longer configured: its rows are being removed
//
// An id is drawn from a measure's name and all that decides what its rows mean, so that it is the same in the stores
// of all partitions. A measure that is changed gets another id and starts anew; the rows of the old one would not add
// up with the new ones.

import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Measure } from '../config/config.ts'
import type { MetaReader } from './progress.ts'

const MEASURE = 'measure:'
const REMOVED = 'removed:'

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

/**
 * What has to be put and removed so that the store counts these measures. Throws where two measures would share an id.
 */
export function assign(store: MetaReader, measures: readonly Measure[]) {
  const { measures: old, removed } = readCatalogue(store)
  const puts: [key: string, value: Buffer][] = []
  const removals: string[] = []
  const known = new Map([...old, ...removed].map(({ id, measure }) => [id, measure]))
  const kept = new Set<number>()
  measures.forEach((measure, place) => {
    const id = idOf(measure)
    const other = known.get(id)
    if (other !== undefined && !isDeepStrictEqual(identity(other), identity(measure))) {
      throw new Error(
        `measures ${other.name} and ${measure.name} have the same id by chance (a hash of 32 bits): rename ${measure.name}`,
      )
    }
    known.set(id, measure)
    kept.add(id)
    puts.push([MEASURE + id, Buffer.from(JSON.stringify({ place, measure: identity(measure) }))])
  })
  const gone = old.filter(({ id }) => !kept.has(id))
  for (const { id, measure } of gone) {
    removals.push(MEASURE + id)
    puts.push([REMOVED + id, Buffer.from(JSON.stringify({ place: 0, measure }))])
  }
  return { puts, removals, gone, returning: removed.filter(({ id }) => kept.has(id)) }
}

export function removedKey(id: number): string {
  return REMOVED + id
}

/** The measure's members in one order; `where` means the same in any. */
export function identity({ name, where, by, value, window, quantiles, handler }: Measure): Measure {
  const conditions = Object.entries(where).sort(([a], [b]) => (a < b ? -1 : 1))
  const plain = { name, where: Object.fromEntries(conditions), by: [...by], value, window, quantiles }
  return handler === undefined ? plain : { ...plain, handler }
}

/** 32 bits of the SHA-256 of what a measure is. */
export function idOf(measure: Measure): number {
  return createHash('sha256')
    .update(JSON.stringify(identity(measure)))
    .digest()
    .readUInt32BE()
}
