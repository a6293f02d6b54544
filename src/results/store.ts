// The results store: an LMDB environment in the data directory. One process owns and writes it, any number read it.
//
//   owner    the epoch: a number that each owner raises; a commit names it and is refused when it has changed
//   meta     positions, counters, measures (progress.ts, catalogue.ts), by string key
//   ledger   what was counted, by string key
//   rows     aggregates (keys.ts, row.ts)
//   runs     those that were committed lately, before they are put among the rows (runs.ts)
//   results, letters, letterEvents
//            what handlers stored, and what they could not handle (handler-results.ts, dead-letters.ts); a store
//            made before there were handlers gets them when its owner opens it
//
// A commit is one transaction of LMDB, which makes its writes to all databases visible, and after a crash present, together
// or not at all. lmdb-js begins it in a thread of its own, calls us for the writes, and ends it there: it is visible first
// and on disk a little later (lmdb-js overlaps syncing); a crash of the process loses neither, a power cut takes the
// store back to a commit that was flushed.
//
// The map grows by itself, in readers too, so no size has to be foreseen.

import { join } from 'node:path'
import type { Database } from 'lmdb'
import type { Measure } from '../config/config.ts'
import { assign, type Entry, readCatalogue } from './catalogue.ts'
import {
  closeEnvironment,
  closeKept,
  type Databases,
  type EnvironmentOptions,
  FORMAT,
  fileBytes,
  isThere,
  type Kept,
  makeEnvironment,
  openDatabases,
  openEnvironment,
  openKept,
  type Root,
  StoreError,
} from './environment.ts'
import { CommitGate, whileNobodyCommits } from './gate.ts'
import { after, measureKey } from './keys.ts'
import { type Item, merged } from './merge.ts'
import { placeRuns, removeRows } from './owning.ts'
import { decodeRuns, newestOf, newestWindowKey, runRanges, runsKey } from './runs.ts'
import { type StoreBatch, Writes } from './writes.ts'

/** In the data directory; below it is a folder for each partition. */
export const FOLDER = 'results'

export interface StoreOptions extends EnvironmentOptions {
  /** What is to be counted; for owners. */
  measures?: readonly Measure[]
  /** Told in a sentence what happens to rows of measures that are no longer configured. */
  onNote?: (note: string) => void
}

/** Another process has taken the store over: this one must stop. */
export class Fenced extends Error {
  override name = 'Fenced'
}

/** The store as of one moment; reading it without one may show what was committed a moment ago. To be ended with `done`, soon: the store cannot reuse space while it is held. */
export interface Snapshot {
  /** Rows of a measure with start <= key < end, in order. */
  range(start: Buffer, end: Buffer): Iterable<Item>
  /** The same in one of these. */
  kept(from: Kept, start: Buffer, end: Buffer): Iterable<Item>
  done(): void
}

/** Of one store. */
export interface StoreSnapshot extends Snapshot {
  getMeta(key: string): Buffer | undefined
}

/**
 * Opens the store of a partition below `dir`. With `readOnly` it may not exist yet: it then reads as empty until an owner has made
 * it (`present` tells). Throws StoreError where it is damaged or of another version.
 */
export async function openStore(dir: string, partition: number, options: StoreOptions = {}): Promise<Store> {
  if (isThere(join(dir, FOLDER))) {
    throw new StoreError(`${join(dir, FOLDER)} was made by an earlier version: start with another dataDir`)
  }
  const path = join(dir, FOLDER, String(partition))
  if (!options.readOnly) {
    await closeKept(path)
    if (!isThere(path)) await makeEnvironment(path)
  }
  const store = new Store(path, options)
  try {
    await store.appear()
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}

export class Store {
  readonly #path: string
  readonly #options: StoreOptions
  #root: Root | undefined
  #databases: Databases | undefined
  #closed = false
  #flushed: Promise<unknown> = Promise.resolve()
  #removing: Promise<void> = Promise.resolve()
  #lastCommit: Promise<void> = Promise.resolve()
  #appearing: Promise<void> | undefined
  /** Of an owner. */
  #gate: CommitGate | undefined
  /** Of the last commit of this owner that changed something: LMDB's number of it. */
  #transaction = 0

  constructor(path: string, options: StoreOptions) {
    this.#path = path
    this.#options = options
  }

  /** False while a store opened for reading is not there, or not opened yet. */
  get present(): boolean {
    return this.#databases !== undefined
  }

  /** Opens it where that has not been done and its owner has made it. Throws StoreError where it is damaged. */
  appear(): Promise<void> {
    if (this.#databases !== undefined || this.#closed || !isThere(this.#path)) return Promise.resolve()
    this.#appearing ??= this.#openNow().finally(() => {
      this.#appearing = undefined
    })
    return this.#appearing
  }

  /** Bytes of its file; 0 while there is none. */
  get fileBytes(): number {
    return fileBytes(this.#path)
  }

  // --- Reading ------------------------------------------------------------------------------------------

  getMeta(key: string): Buffer | undefined {
    return this.#open()?.meta.get(key)
  }

  /** The entries of meta whose key starts with `prefix`. */
  metaRange(prefix: string): Iterable<[key: string, value: Buffer]> {
    return entries(this.#open()?.meta, prefix)
  }

  /** All of the ledger. */
  ledger(): Iterable<[key: string, value: Buffer]> {
    return entries(this.#open()?.ledger, '')
  }

  getRow(key: Buffer): Buffer | undefined {
    return this.#open()?.rows.get(key)
  }

  /** The start of the newest window of a measure that there may be rows of, Unix milliseconds; -1 where there are none. */
  newestWindow(measure: number): number {
    const start = measureKey(measure)
    const snapshot = this.snapshot()
    try {
      for (const _ of snapshot.range(start, after(start))) {
        return snapshot.getMeta(newestWindowKey(measure))?.readDoubleLE() ?? Number.POSITIVE_INFINITY
      }
      return -1
    } finally {
      snapshot.done()
    }
  }

  get(from: Kept, key: Buffer): Buffer | undefined {
    const databases = this.#open()
    if (databases === undefined) return undefined
    openKept(this.#root!, databases, this.#readOnly, [from])
    return databases.kept[from]?.get(key)
  }

  /** The first keys of rows with start <= key < end, `limit` at most. */
  rowKeys(start: Buffer, end: Buffer, limit: number): Buffer[] {
    return [...(this.#open()?.rows.getKeys({ start, end, limit }) ?? [])]
  }

  snapshot(): StoreSnapshot {
    const databases = this.#open()
    if (databases === undefined)
      return { range: () => [], kept: () => [], getMeta: () => undefined, done: () => {} }
    const { rows, meta, kept } = databases
    openKept(this.#root!, databases, this.#readOnly) // before the transaction: those opened later are not in it
    rows.resetReadTxn()
    const transaction = rows.useReadTransaction()
    if (kept.runs === undefined && meta.get('format', { transaction })?.toString() === FORMAT) {
      transaction.done() // a store of the former format, whose owner has just made them
      return this.snapshot()
    }
    const keptRange = (from: Kept, start: Buffer, end: Buffer): Iterable<Item> =>
      kept[from]?.getRange({ start, end, transaction }) ?? []
    return {
      range: (start, end) => {
        const inPlace = rows.getRange({ start, end, transaction })
        const measure = start.readUInt32BE()
        const stored = meta.get(runsKey(measure), { transaction })
        if (stored === undefined) return inPlace
        const chunks = (from: Buffer, to: Buffer) => keptRange('runs', from, to)
        return merged([inPlace, ...runRanges(chunks, measure, decodeRuns(stored), start, end)], newestOf)
      },
      kept: keptRange,
      getMeta: (key) => meta.get(key, { transaction }),
      done: () => transaction.done(),
    }
  }

  /** The measures that are counted, with the ids of their rows. */
  measures(): Entry[] {
    return readCatalogue(this).measures
  }

  // --- Owning -------------------------------------------------------------------------------------------

  /**
   * Makes this process the owner, durably: commits of any former owner are refused from then on. Gives the
   * configured measures their ids, and starts removing the rows of others. Resolves to the epoch to commit under.
   */
  async takeOwnership(): Promise<number> {
    const { owner, meta } = this.#writable()
    const root = this.#root!
    // Not synchronously: a former owner that was stopped in the middle of a commit may keep us waiting.
    const { measures = [], onNote } = this.#options
    const taking = () =>
      root.transaction(() => {
        const epoch = (owner.getEntry('epoch')?.version ?? 0) + 1
        void owner.put('epoch', Buffer.from(String(epoch)), epoch)
        const { puts, removals, gone, returning } = assign(this, measures)
        for (const key of removals) void meta.remove(key)
        for (const [key, value] of puts) void meta.put(key, value)
        return { epoch, gone, returning, transaction: transactionOf(root) }
      })
    const taken = await this.#inTurn(taking)
    this.#transaction = taken.transaction
    await root.flushed
    await placeRuns(this, taken.epoch)
    for (const { measure } of taken.gone) {
      onNote?.(
        `measure ${measure.name} was changed or is no longer configured: its old rows are being removed`,
      )
    }
    for (const entry of taken.returning) await this.#remove(taken.epoch, entry)
    this.#removing = this.#removeOldRows(taken.epoch)
    return taken.epoch
  }

  /**
   * Has `write` put and remove in a transaction of the store, soon, and commits that, all or nothing. Resolves when it is
   * visible to every reader. Rejects with Fenced, and does not call `write`, when `epoch` is not the store's any more;
   * when `write` throws, nothing is written. Rejects with StoreError where the last commit is not in the store any more.
   */
  commit(epoch: number, write: (batch: StoreBatch) => void): Promise<void> {
    // One at a time: lmdb-js tells when a commit is flushed, and that is right only for the last one of a turn.
    const commit = this.#lastCommit.then(() => this.#inTurn(() => this.#commit(epoch, write)))
    this.#lastCommit = commit.catch(() => {})
    return commit
  }

  async #commit(epoch: number, write: (batch: StoreBatch) => void): Promise<void> {
    const databases = this.#writable()
    const root = this.#root!
    let changed = false
    let transaction = 0
    // A child transaction can be undone when `write` throws. lmdb-js calls us in this thread, and ends it in another.
    const committed = root.childTransaction(() => {
      if (databases.owner.getEntry('epoch')?.version !== epoch) return false
      transaction = transactionOf(root)
      if (transaction <= this.#transaction) {
        const why = 'another process opened it in the middle of a commit'
        throw new StoreError(`the results store ${this.#path} is without its last commit: ${why}`)
      }
      const writes = new Writes(databases)
      write(writes)
      changed = writes.changed
      return true
    })
    const flushed = root.flushed.then(() => {}) // asked now: it is about what was begun last
    this.#flushed = Promise.all([this.#flushed, committed, flushed]).then(() => {}) // not a chain of all that were
    this.#flushed.catch(() => {}) // whoever asks for it is told; the commit is told in any case
    let owned: boolean
    try {
      owned = await committed
    } catch (error) {
      const { commitError } = error as { commitError?: Promise<unknown> }
      if (commitError === undefined) throw error
      const cause = await commitError.catch((e) => e)
      throw new StoreError(
        `the results store ${this.#path} cannot be written: ${(cause as Error)?.message}`,
        { cause },
      )
    }
    if (changed) this.#transaction = transaction
    if (!owned) throw new Fenced(`another process owns the results store ${this.#path} now`)
  }

  /** Resolves when every commit called so far is on disk. Rejects when one of them failed. */
  async flushed(): Promise<void> {
    await this.#lastCommit
    await this.#flushed
  }

  /** Resolves when the rows of measures that are no longer configured are gone. */
  async tidied(): Promise<void> {
    await this.#removing
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Resolves when all is flushed. Snapshots must be done. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#appearing?.catch(() => {})
    await this.#removing
    await this.#lastCommit
    await this.#flushed.catch(() => {})
    const close = async () => {
      if (this.#root !== undefined) await closeEnvironment(this.#path, this.#root, this.#readOnly)
      this.#root = undefined
      this.#databases = undefined
    }
    await (this.#gate === undefined ? close() : this.#gate.close(close))
  }

  async #removeOldRows(epoch: number): Promise<void> {
    for (const entry of readCatalogue(this).removed) {
      try {
        await this.#remove(epoch, entry)
      } catch (error) {
        const why = (error as Error).message
        this.#options.onNote?.(`removing the old rows of ${entry.measure.name} stopped: ${why}`)
        return
      }
    }
  }

  async #remove(epoch: number, entry: Entry): Promise<void> {
    if (!(await removeRows(this, epoch, entry))) return
    this.#options.onNote?.(`the old rows of measure ${entry.measure.name} are removed`)
  }

  // --- Opening ------------------------------------------------------------------------------------------

  get #readOnly(): boolean {
    return this.#options.readOnly === true
  }

  #writable(): Databases {
    const databases = this.#open()
    if (databases === undefined || this.#readOnly) throw new Error('the store was opened for reading only')
    return databases
  }

  /** Undefined where there is nothing to read yet. */
  #open(): Databases | undefined {
    if (this.#databases === undefined) {
      if (this.#closed) throw new Error('the store is closed')
      this.appear().catch(() => {}) // for later; whoever waits for it is told
    }
    return this.#databases
  }

  async #openNow(): Promise<void> {
    await whileNobodyCommits(this.#path, () => {
      if (!this.#closed) this.#root ??= openEnvironment(this.#path, this.#options)
    })
    if (this.#root === undefined) return
    if (!this.#readOnly) this.#gate = await CommitGate.open(this.#path)
    await this.#inTurn(async () => this.#openDatabases()) // an owner makes those that are missing
  }

  #openDatabases(): void {
    if (this.#root === undefined) return
    try {
      this.#databases = openDatabases(this.#root, this.#path, this.#readOnly)
    } catch (error) {
      if (error instanceof StoreError) this.#root = undefined // it is closed
      throw error
    }
  }

  /** Does what commits while nobody opens the store. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    await this.#gate?.enter()
    try {
      return await work()
    } finally {
      this.#gate?.leave()
    }
  }
}

/** LMDB's number of the transaction that is open for writing; each that changes something is one more. */
function transactionOf(root: Root): number {
  return (root as unknown as { getWriteTxnId(): number }).getWriteTxnId()
}

function* entries(
  database: Database<Buffer, string> | undefined,
  prefix: string,
): Iterable<[string, Buffer]> {
  if (database === undefined) return
  const range = prefix === '' ? {} : { start: prefix }
  for (const { key, value } of database.getRange(range)) {
    if (!key.startsWith(prefix)) return
    yield [key, value]
  }
}
