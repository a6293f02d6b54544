// Asks a store's ledger which segments were counted, without owning the store.

import { IntervalSet } from './intervals.ts'
import { HORIZON } from './ledger.ts'

/**
 * `entries`: a ledger as it is stored (ledger.ts). Answers as of this moment: what is counted later reads as not.
 * `forgotten`: from before all that the ledger remembers, and so taken for counted.
 */
export function countedIn(
  entries: Iterable<[key: string, value: Buffer]>,
): (writer: string, sequence: number, receivedAt: number) => boolean | 'forgotten' {
  let horizon = 0
  const writers = new Map<string, IntervalSet>()
  for (const [key, value] of entries) {
    if (key === HORIZON) horizon = value.readDoubleLE(0)
    else if (key.startsWith('w:')) writers.set(key.slice(2), IntervalSet.decode(value))
  }
  return (writer, sequence, receivedAt) =>
    writers.get(writer)?.has(sequence) ?? (receivedAt < horizon ? 'forgotten' : false)
}
