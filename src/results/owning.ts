// What a new owner has to do to rows, in commits that do not hold up everything else: put those of runs into their places,
// and remove those of measures that are not counted any more.

import { PLACED_BYTES_PER_COMMIT, PLACED_ROWS_PER_COMMIT, REMOVED_ROWS_PER_COMMIT } from '../limits.ts'
import { type Entry, removedKey } from './catalogue.ts'
import { after, measureKey } from './keys.ts'
import { type Item, merged } from './merge.ts'
import { decodeRuns, newestOf, RUNS_PREFIX, runRanges } from './runs.ts'
import type { StoreBatch } from './writes.ts'

/** The small part of a store that is needed here. */
interface Owned {
  readonly closed: boolean
  metaRange(prefix: string): Iterable<[key: string, value: Buffer]>
  snapshot(): { kept(from: 'runs', start: Buffer, end: Buffer): Iterable<Item>; done(): void }
  /** The first keys of rows with start <= key < end, `limit` at most. */
  rowKeys(start: Buffer, end: Buffer, limit: number): Buffer[]
  commit(epoch: number, write: (batch: StoreBatch) => void): Promise<void>
}

/** Puts rows that a former owner left in runs into their places. */
export async function placeRuns(store: Owned, epoch: number): Promise<void> {
  for (const [name, stored] of [...store.metaRange(RUNS_PREFIX)]) {
    const measure = Number(name.slice(RUNS_PREFIX.length))
    const start = measureKey(measure)
    const snapshot = store.snapshot()
    try {
      const chunks = (from: Buffer, to: Buffer) => snapshot.kept('runs', from, to)
      const ranges = runRanges(chunks, measure, decodeRuns(stored), start, after(start))
      for (const rows of inParts(merged(ranges, newestOf))) {
        await store.commit(epoch, (batch) => {
          for (const { key, value } of rows) batch.putRow(key, value)
        })
      }
    } finally {
      snapshot.done()
    }
    await store.commit(epoch, (batch) => {
      batch.removeRange('runs', start, after(start))
      batch.removeMeta(name)
    })
  }
}

/** Rows in parts that a commit can take. */
function* inParts(rows: Iterable<Item>): Iterable<Item[]> {
  let part: Item[] = []
  let bytes = 0
  for (const row of rows) {
    part.push(row)
    bytes += row.key.length + row.value.length
    if (part.length < PLACED_ROWS_PER_COMMIT && bytes < PLACED_BYTES_PER_COMMIT) continue
    yield part
    part = []
    bytes = 0
  }
  if (part.length > 0) yield part
}

/** Removes the rows of a measure, and then its name. False when the store was closed before it was done. */
export async function removeRows(store: Owned, epoch: number, { id }: Entry): Promise<boolean> {
  const start = measureKey(id)
  for (let removed = -1; removed !== 0; ) {
    if (store.closed) return false
    const keys = store.rowKeys(start, after(start), REMOVED_ROWS_PER_COMMIT)
    removed = keys.length
    await store.commit(epoch, (batch) => {
      for (const key of keys) batch.removeRow(key)
      if (removed === 0) batch.removeMeta(removedKey(id))
    })
  }
  return true
}
