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

import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import type { Measure } from '../config/config.ts'
import {
  PLACED_BYTES_PER_COMMIT,
  PLACED_ROWS_PER_COMMIT,
  REMOVED_ROWS_PER_COMMIT,
  STORE_READERS_MAX,
} from '../limits.ts'
import { assign, type Entry, readCatalogue, removedKey } from './catalogue.ts'
import { after, measureKey } from './keys.ts'
import { type Item, merged } from './merge.ts'
import { decodeRuns, newestOf, newestWindowKey, RUNS_PREFIX, runRanges, runsKey } from './runs.ts'

const FORMAT = 'millrace results 3'
/** Of stores without runs: their owner makes them this one. */
const FORMER_FORMAT = 'millrace results 2'
/** In the data directory; below it is a folder for each partition. */
export const FOLDER = 'results'
const STRING_KEY_BYTES_MAX = 1024
/** At the head of the file, behind the header of its first page (MDB_MAGIC in LMDB's mdb.c). */
const LMDB_MAGIC = 0xbeefc0de
const LMDB_MAGIC_AT = 24

export interface StoreOptions {
  readOnly?: boolean
  /** Trust only what was flushed, as after a power cut: for data directories copied from a running system. */
  safeRestore?: boolean
  /** What is to be counted; for owners. */
  measures?: readonly Measure[]
  /** Told in a sentence what happens to rows of measures that are no longer configured. */
  onNote?: (note: string) => void
}

/** Another process has taken the store over: this one must stop. */
export class Fenced extends Error {
  override name = 'Fenced'
}

/** The store cannot be used: damaged, or of another version. */
export class StoreError extends Error {
  override name = 'StoreError'
}

/** Databases with keys and values of their own kind: see handler-results.ts, dead-letters.ts and runs.ts. */
export type Kept = 'results' | 'letters' | 'letterEvents' | 'runs'
const kept: readonly Kept[] = ['results', 'letters', 'letterEvents', 'runs']

/** What a commit can do. Buffers are copied at once. */
export interface StoreBatch {
  putMeta(key: string, value: Buffer): void
  removeMeta(key: string): void
  putLedger(key: string, value: Buffer): void
  removeLedger(key: string): void
  putRow(key: Buffer, value: Buffer): void
  removeRow(key: Buffer): void
  put(to: Kept, key: Buffer, value: Buffer): void
  remove(from: Kept, key: Buffer): void
  /** All with start <= key < end. */
  removeRange(from: Kept, start: Buffer, end: Buffer): void
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

interface Opened {
  root: RootDatabase<Buffer, string>
  owner: Database<Buffer, string>
  meta: Database<Buffer, string>
  ledger: Database<Buffer, string>
  rows: Database<Buffer, Buffer>
  /** Of a store opened for reading some may be missing until its owner has made them. */
  kept: Partial<Record<Kept, Database<Buffer, Buffer>>>
}

/**
 * Opens the store of a partition below `dir`. With `readOnly` it may not exist yet: it then reads as empty until an owner has made
 * it (`present` tells). Throws StoreError where it is damaged or of another version.
 */
export async function openStore(dir: string, partition: number, options: StoreOptions = {}): Promise<Store> {
  if (existsSync(join(dir, FOLDER, 'data.mdb'))) {
    throw new StoreError(`${join(dir, FOLDER)} was made by an earlier version: start with another dataDir`)
  }
  const path = join(dir, FOLDER, String(partition))
  if (!options.readOnly && !existsSync(join(path, 'data.mdb'))) await make(path)
  return new Store(path, options)
}

/** Aside, and moved into place when it is whole: LMDB cannot bear a reader that opens what is just being made. */
async function make(path: string): Promise<void> {
  const aside = join(dirname(path), `new-${basename(path)}`)
  rmSync(aside, { recursive: true, force: true }) // of an owner that died meanwhile
  await new Store(aside, {}).close()
  sync(join(aside, 'data.mdb'))
  sync(aside)
  rmSync(join(path, 'lock.mdb'), { force: true }) // of a store whose data somebody has removed
  renameSync(aside, path)
  sync(dirname(path))
}

function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

export class Store {
  readonly #path: string
  readonly #options: StoreOptions
  #root: RootDatabase<Buffer, string> | undefined
  #opened: Opened | undefined
  #closed = false
  #flushed: Promise<unknown> = Promise.resolve()
  #removing: Promise<void> = Promise.resolve()
  #lastCommit: Promise<void> = Promise.resolve()

  constructor(path: string, options: StoreOptions) {
    this.#path = path
    this.#options = options
    this.#open()
  }

  /** False while a store opened for reading does not exist. */
  get present(): boolean {
    return this.#open() !== undefined
  }

  /** Bytes of its file; 0 while there is none. */
  get fileBytes(): number {
    return statSync(join(this.#path, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0
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
    return this.#kept(this.#open(), from)?.get(key)
  }

  snapshot(): StoreSnapshot {
    const opened = this.#open()
    if (opened === undefined)
      return { range: () => [], kept: () => [], getMeta: () => undefined, done: () => {} }
    const { rows, meta } = opened
    for (const name of kept) this.#kept(opened, name) // before the transaction: those opened later are not in it
    rows.resetReadTxn()
    const transaction = rows.useReadTransaction()
    if (opened.kept.runs === undefined && meta.get('format', { transaction })?.toString() === FORMAT) {
      transaction.done() // a store of the former format, whose owner has just made them
      return this.snapshot()
    }
    const keptRange = (from: Kept, start: Buffer, end: Buffer): Iterable<Item> =>
      opened.kept[from]?.getRange({ start, end, transaction }) ?? []
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
    const { root, owner, meta } = this.#writable()
    // Not synchronously: a former owner that was stopped in the middle of a commit may keep us waiting.
    const { measures = [], onNote } = this.#options
    const taken = await root.transaction(() => {
      const epoch = (owner.getEntry('epoch')?.version ?? 0) + 1
      void owner.put('epoch', Buffer.from(String(epoch)), epoch)
      const { puts, removals, gone, returning } = assign(this, measures)
      for (const key of removals) void meta.remove(key)
      for (const [key, value] of puts) void meta.put(key, value)
      return { epoch, gone, returning }
    })
    await root.flushed
    await this.#placeRuns(taken.epoch)
    for (const { measure } of taken.gone) {
      onNote?.(
        `measure ${measure.name} was changed or is no longer configured: its old rows are being removed`,
      )
    }
    for (const entry of taken.returning) await this.#removeRows(taken.epoch, entry)
    this.#removing = this.#removeOldRows(taken.epoch)
    return taken.epoch
  }

  /**
   * Has `write` put and remove in a transaction of the store, soon, and commits that, all or nothing. Resolves when it is
   * visible to every reader. Rejects with Fenced, and does not call `write`, when `epoch` is not the store's any more;
   * when `write` throws, nothing is written.
   */
  commit(epoch: number, write: (batch: StoreBatch) => void): Promise<void> {
    // One at a time: lmdb-js tells when a commit is flushed, and that is right only for the last one of a turn.
    const commit = this.#lastCommit.then(() => this.#commit(epoch, write))
    this.#lastCommit = commit.catch(() => {})
    return commit
  }

  async #commit(epoch: number, write: (batch: StoreBatch) => void): Promise<void> {
    const { root, owner, ...databases } = this.#writable()
    // A child transaction can be undone when `write` throws. lmdb-js calls us in this thread, and ends it in another.
    const committed = root.childTransaction(() => {
      if (owner.getEntry('epoch')?.version !== epoch) return false
      write(new Writes(databases))
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

  /** Resolves when all is flushed. Snapshots must be done. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#removing
    await this.#flushed.catch(() => {})
    await this.#root?.close()
    this.#root = undefined
    this.#opened = undefined
  }

  /** Puts rows that a former owner left in runs into their places. */
  async #placeRuns(epoch: number): Promise<void> {
    for (const [name, stored] of [...this.metaRange(RUNS_PREFIX)]) {
      const measure = Number(name.slice(RUNS_PREFIX.length))
      const start = measureKey(measure)
      const snapshot = this.snapshot()
      try {
        const chunks = (from: Buffer, to: Buffer) => snapshot.kept('runs', from, to)
        const ranges = runRanges(chunks, measure, decodeRuns(stored), start, after(start))
        for (const rows of inParts(merged(ranges, newestOf))) {
          await this.commit(epoch, (batch) => {
            for (const { key, value } of rows) batch.putRow(key, value)
          })
        }
      } finally {
        snapshot.done()
      }
      await this.commit(epoch, (batch) => {
        batch.removeRange('runs', start, after(start))
        batch.removeMeta(name)
      })
    }
  }

  async #removeOldRows(epoch: number): Promise<void> {
    for (const entry of readCatalogue(this).removed) {
      try {
        await this.#removeRows(epoch, entry)
      } catch (error) {
        const why = (error as Error).message
        this.#options.onNote?.(`removing the old rows of ${entry.measure.name} stopped: ${why}`)
        return
      }
    }
  }

  async #removeRows(epoch: number, { id, measure }: Entry): Promise<void> {
    const { rows } = this.#writable()
    const start = measureKey(id)
    for (let removed = -1; removed !== 0; ) {
      if (this.#closed) return
      const keys = [...rows.getKeys({ start, end: after(start), limit: REMOVED_ROWS_PER_COMMIT })]
      removed = keys.length
      await this.commit(epoch, (batch) => {
        for (const key of keys) batch.removeRow(key)
        if (removed === 0) batch.removeMeta(removedKey(id))
      })
    }
    this.#options.onNote?.(`the old rows of measure ${measure.name} are removed`)
  }

  // --- Opening ------------------------------------------------------------------------------------------

  #writable(): Opened {
    const opened = this.#open()
    if (opened === undefined || this.#options.readOnly)
      throw new Error('the store was opened for reading only')
    return opened
  }

  /** Undefined where there is nothing to read yet. */
  #open(): Opened | undefined {
    if (this.#opened !== undefined) return this.#opened
    if (this.#closed) throw new Error('the store is closed')
    const { readOnly = false, safeRestore } = this.#options
    if (readOnly && !existsSync(join(this.#path, 'data.mdb'))) return undefined
    this.#root ??= this.#environment(readOnly, safeRestore)
    const root = this.#root
    if (root === undefined) return undefined
    const strings = { encoding: 'binary', create: !readOnly } as const
    const meta = root.openDB<Buffer, string>('meta', strings)
    const format = meta?.get('format')?.toString()
    if (meta === undefined || (readOnly && format === undefined)) return undefined // its owner is still making it
    if (format !== undefined && format !== FORMAT && format !== FORMER_FORMAT) {
      this.#root = undefined
      void root.close()
      throw new StoreError(
        `the results store ${this.#path} is of another version (${format}; this is ${FORMAT}): use the version ` +
          'that made it, or start with another dataDir',
      )
    }
    this.#opened = {
      root,
      meta,
      owner: root.openDB<Buffer, string>('owner', { ...strings, useVersions: true }),
      ledger: root.openDB<Buffer, string>('ledger', strings),
      rows: root.openDB<Buffer, Buffer>('rows', { ...strings, keyEncoding: 'binary' }),
      kept: {},
    }
    for (const name of kept) this.#kept(this.#opened, name)
    // Last: it says that all is there.
    if (format !== FORMAT && !readOnly) meta.putSync('format', Buffer.from(FORMAT))
    return this.#opened
  }

  #kept(opened: Opened | undefined, name: Kept): Database<Buffer, Buffer> | undefined {
    if (opened === undefined) return undefined
    const options = { encoding: 'binary', keyEncoding: 'binary', create: !this.#options.readOnly } as const
    opened.kept[name] ??= opened.root.openDB<Buffer, Buffer>(name, options)
    return opened.kept[name]
  }

  /** Undefined where the file is there and nothing in it yet. */
  #environment(readOnly: boolean, safeRestore = false): RootDatabase<Buffer, string> | undefined {
    const file = join(this.#path, 'data.mdb')
    const bytes = existsSync(file) ? statSync(file).size : 0
    if (readOnly && bytes === 0) return undefined
    const damaged = (what: string, cause?: unknown) =>
      new StoreError(
        `the results store ${this.#path} is damaged (${what}): restore a copy of it, or start with another dataDir`,
        { cause },
      )
    if (bytes > 0 && !isLmdb(file)) throw damaged('it is not an LMDB file')
    let root: RootDatabase<Buffer, string>
    try {
      root = open<Buffer, string>({
        path: this.#path,
        readOnly,
        encoding: 'binary',
        maxDbs: 8,
        maxReaders: STORE_READERS_MAX,
        separateFlushed: true,
        ...(safeRestore ? { safeRestore } : {}),
      } as Parameters<typeof open>[0]) as RootDatabase<Buffer, string>
    } catch (error) {
      throw damaged((error as Error).message, error)
    }
    // A file shorter than its own account of itself would end the process when the missing part is read.
    const { pageSize, lastPageNumber } = root.getStats() as { pageSize: number; lastPageNumber: number }
    const size = statSync(file).size
    if ((lastPageNumber + 1) * pageSize > size) {
      void root.close()
      throw damaged(`${size} bytes, where ${(lastPageNumber + 1) * pageSize} are expected`)
    }
    return root
  }
}

/** Rows in parts that a commit can take without holding up everything else. */
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

/** lmdb-js ends the process when it is given anything else, so it is looked at before. */
function isLmdb(file: string): boolean {
  const head = Buffer.alloc(LMDB_MAGIC_AT + 4)
  const fd = openSync(file, 'r')
  try {
    return readSync(fd, head) === head.length && head.readUInt32LE(LMDB_MAGIC_AT) === LMDB_MAGIC
  } finally {
    closeSync(fd)
  }
}

/** What a commit does, done at once in its transaction. */
class Writes implements StoreBatch {
  readonly #to: Omit<Opened, 'root' | 'owner'>

  constructor(to: Omit<Opened, 'root' | 'owner'>) {
    this.#to = to
  }

  putMeta(key: string, value: Buffer): void {
    void this.#to.meta.put(checked(key), value)
  }
  removeMeta(key: string): void {
    void this.#to.meta.remove(checked(key))
  }
  putLedger(key: string, value: Buffer): void {
    void this.#to.ledger.put(checked(key), value)
  }
  removeLedger(key: string): void {
    void this.#to.ledger.remove(checked(key))
  }
  putRow(key: Buffer, value: Buffer): void {
    void this.#to.rows.put(key, value)
  }
  removeRow(key: Buffer): void {
    void this.#to.rows.remove(key)
  }
  put(to: Kept, key: Buffer, value: Buffer): void {
    void this.#to.kept[to]!.put(key, value)
  }
  remove(from: Kept, key: Buffer): void {
    void this.#to.kept[from]!.remove(key)
  }
  removeRange(from: Kept, start: Buffer, end: Buffer): void {
    for (const key of [...this.#to.kept[from]!.getKeys({ start, end })]) this.remove(from, key)
  }
}

function checked(key: string): string {
  if (key === '' || key.includes('\0') || Buffer.byteLength(key) > STRING_KEY_BYTES_MAX) {
    throw new RangeError(`not a key for the store: ${JSON.stringify(key)}`)
  }
  return key
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
