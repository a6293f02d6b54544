// The stores of all partitions as one, for those who only read: queries, status, and a listener's account of what is
// committed. A measure has the same id in each, so rows of a key lie at the same place, and are folded into one.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Entry } from './catalogue.ts'
import { type Kept, StoreError } from './environment.ts'
import { addHandlerCounts, allHandlerCounts, type HandlerCounts } from './handler-counts.ts'
import { newest } from './handler-results.ts'
import { merged } from './merge.ts'
import {
  type Counters,
  emptyCounters,
  readCounters,
  readWriter,
  readWriters,
  type WriterProgress,
} from './progress.ts'
import { foldRows } from './row.ts'
import { FOLDER, openStore, type Snapshot, type Store } from './store.ts'

/**
 * Opens the stores of so many partitions for reading; they may not exist yet. `opened`: stores of this process, which
 * are used as they are and left open.
 */
export async function openStores(
  dataDir: string,
  partitions: number,
  opened: ReadonlyMap<number, Store> = new Map(),
): Promise<Stores> {
  checkPartitions(dataDir, partitions)
  const own: Store[] = []
  const stores: Store[] = []
  for (let partition = 0; partition < partitions; partition++) {
    let store = opened.get(partition)
    if (store === undefined) {
      store = await openStore(dataDir, partition, { readOnly: true })
      own.push(store)
    }
    stores.push(store)
  }
  return new Stores(stores, own)
}

/** Throws StoreError where there are results of more partitions than these: they would be left out unseen. */
export function checkPartitions(dataDir: string, partitions: number): void {
  const path = join(dataDir, FOLDER)
  const names = existsSync(path) ? readdirSync(path).filter((name) => /^\d+$/.test(name)) : []
  const most = Math.max(0, ...names.map((name) => Number(name) + 1))
  if (most <= partitions) return
  throw new StoreError(
    `${path} has results of ${most} partitions, and log.partitions is ${partitions}: it can be raised but not ` +
      `lowered; set it to ${most} or more, or start with another dataDir`,
  )
}

export class Stores {
  readonly #stores: readonly Store[]
  readonly #own: readonly Store[]

  /** `own`: those that are closed with it. */
  constructor(stores: readonly Store[], own: readonly Store[]) {
    this.#stores = stores
    this.#own = own
  }

  /**
   * The measures that are counted, in the order of the first store. While a change of the configuration has not come
   * to all stores, a name may stand for two measures: that of the earlier store is taken.
   */
  measures(): Entry[] {
    const entries = new Map<string, Entry>()
    for (const store of this.#stores) {
      for (const entry of store.measures()) {
        if (!entries.has(entry.measure.name)) entries.set(entry.measure.name, entry)
      }
    }
    return [...entries.values()]
  }

  snapshot(): Snapshot {
    if (this.#stores.length === 1) return this.#stores[0].snapshot()
    const snapshots = this.#stores.map((store) => store.snapshot())
    return {
      range: (start, end) =>
        merged(
          snapshots.map((snapshot) => snapshot.range(start, end)),
          foldRows,
        ),
      // Of what handlers stored the newest; a letter is in one store only.
      kept: (from, start, end) =>
        merged(
          snapshots.map((snapshot) => snapshot.kept(from, start, end)),
          newest,
        ),
      done: () => {
        for (const snapshot of snapshots) snapshot.done()
      },
    }
  }

  /** The values of one key, by partition. */
  get(from: Kept, key: Buffer): Buffer[] {
    return this.#stores.map((store) => store.get(from, key)).filter((value) => value !== undefined)
  }

  /** Sums over all partitions; the newest `lastReceivedAt`. */
  counters(): Counters {
    const sum = emptyCounters()
    for (const store of this.#stores) {
      const { lastReceivedAt, ...counts } = readCounters(store)
      for (const name of Object.keys(counts) as (keyof typeof counts)[]) sum[name] += counts[name]
      sum.lastReceivedAt = Math.max(sum.lastReceivedAt, lastReceivedAt)
    }
    return sum
  }

  /** Of every handler that there was, by name, over all partitions. */
  handlerCounts(): Map<string, HandlerCounts> {
    const sums = new Map<string, HandlerCounts>()
    for (const store of this.#stores) {
      for (const [name, counts] of allHandlerCounts(store)) {
        const sum = sums.get(name)
        if (sum === undefined) sums.set(name, counts)
        else addHandlerCounts(sum, counts)
      }
    }
    return sums
  }

  /** Of all partitions: a writer writes to one. */
  writers(): Map<string, WriterProgress> {
    const writers = new Map<string, WriterProgress>()
    for (const store of this.#stores) for (const [name, one] of readWriters(store)) writers.set(name, one)
    return writers
  }

  writer(partition: number, name: string): WriterProgress | undefined {
    return readWriter(this.#stores[partition], name)
  }

  /** Opens those that have been made since; every other method takes one that is not open for empty. */
  async appear(): Promise<void> {
    if (this.#stores.every((store) => store.present)) return
    await Promise.all(this.#stores.map((store) => store.appear()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#own.map((store) => store.close()))
  }
}
