// Asks a store's ledger which segments were counted, without owning the store.

import { IntervalSet } from './intervals.ts'

/** `entries`: a ledger as it is stored (ledger.ts). Answers as of this moment: what is counted later reads as not. */
export function countedIn(
  entries: Iterable<[key: string, value: Buffer]>,
): (writer: string, sequence: number) => boolean {
  const writers = new Map<string, IntervalSet>()
  for (const [key, value] of entries) {
    if (key.startsWith('w:')) writers.set(key.slice(2), IntervalSet.decode(value))
  }
  return (writer, sequence) => writers.get(writer)?.has(sequence) ?? false
}
