// The LMDB environment of a store: made, opened and its databases, once it is sure that lmdb-js can bear what it is given.

import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import { STORE_READERS_MAX } from '../limits.ts'

export const FORMAT = 'millrace results 3'
/** Of stores without runs: their owner makes them this one. */
const FORMER_FORMAT = 'millrace results 2'
const FILE = 'data.mdb'
/** At the head of the file, behind the header of its first page (MDB_MAGIC in LMDB's mdb.c). */
const LMDB_MAGIC = 0xbeefc0de
const LMDB_MAGIC_AT = 24
/** The last of its processes has closed it at the same moment, and destroyed its locks; here too until the process ends. */
const LOCKS_GONE = 'Invalid argument'

/** The store cannot be used: damaged, or of another version. */
export class StoreError extends Error {
  override name = 'StoreError'
}

/** Databases with keys and values of their own kind: see handler-results.ts, dead-letters.ts and runs.ts. */
export type Kept = 'results' | 'letters' | 'letterEvents' | 'runs'
const names: readonly Kept[] = ['results', 'letters', 'letterEvents', 'runs']

export type Root = RootDatabase<Buffer, string>

export interface Databases {
  owner: Database<Buffer, string>
  meta: Database<Buffer, string>
  ledger: Database<Buffer, string>
  rows: Database<Buffer, Buffer>
  /** Of a store opened for reading some may be missing until its owner has made them. */
  kept: Partial<Record<Kept, Database<Buffer, Buffer>>>
}

export interface EnvironmentOptions {
  readOnly?: boolean
  /** Trust only what was flushed, as after a power cut: for data directories copied from a running system. */
  safeRestore?: boolean
}

/** Whether there is a file, be it that its owner is still making what is in it. */
export function isThere(path: string): boolean {
  return existsSync(join(path, FILE))
}

/** Of the file; 0 while there is none. */
export function fileBytes(path: string): number {
  return statSync(join(path, FILE), { throwIfNoEntry: false })?.size ?? 0
}

/** Aside, and moved into place when it is whole: LMDB cannot bear a reader that opens what is just being made. */
export async function makeEnvironment(path: string): Promise<void> {
  const aside = join(dirname(path), `new-${basename(path)}`)
  rmSync(aside, { recursive: true, force: true }) // of an owner that died meanwhile
  const root = openEnvironment(aside)!
  openDatabases(root, aside)
  await root.close()
  sync(join(aside, FILE))
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

/** Those that readers have done with, by path: a reader that closes one destroys the locks of whoever is just opening it. */
const kept = new Map<string, { root: Root; inode: number }>()

/** The end of using one that was opened. */
export async function closeEnvironment(path: string, root: Root, readOnly: boolean): Promise<void> {
  const inode = inodeOf(path)
  if (!readOnly || inode === undefined || kept.has(path)) {
    await root.close()
    return
  }
  root.resetReadTxn()
  kept.set(path, { root, inode })
}

/** Closes what readers of this process have done with: a process opens an environment once, for reading or for writing. */
export async function closeKept(path: string): Promise<void> {
  const root = kept.get(path)?.root
  kept.delete(path)
  await root?.close()
}

function inodeOf(path: string): number | undefined {
  return statSync(join(path, FILE), { throwIfNoEntry: false })?.ino
}

/**
 * Throws StoreError where it is damaged. Undefined for a reader, where there is nothing in the file yet. To be called while
 * nobody commits to it (gate.ts).
 */
export function openEnvironment(
  path: string,
  { readOnly = false, safeRestore = false }: EnvironmentOptions = {},
): Root | undefined {
  const file = join(path, FILE)
  const bytes = fileBytes(path)
  if (readOnly && bytes === 0) return undefined
  const former = kept.get(path)
  if (readOnly && former !== undefined && former.inode === inodeOf(path)) {
    kept.delete(path)
    return former.root
  }
  const damaged = (what: string, cause?: unknown) =>
    new StoreError(
      `the results store ${path} is damaged (${what}): restore a copy of it, or start with another dataDir`,
      { cause },
    )
  if (bytes > 0 && !isLmdb(file)) throw damaged('it is not an LMDB file')
  let root: Root
  try {
    root = open<Buffer, string>({
      path,
      readOnly,
      encoding: 'binary',
      maxDbs: 8,
      maxReaders: STORE_READERS_MAX,
      separateFlushed: true,
      ...(safeRestore ? { safeRestore } : {}),
    } as Parameters<typeof open>[0]) as Root
  } catch (error) {
    const { message } = error as Error
    if (!message.startsWith(LOCKS_GONE)) throw damaged(message, error)
    throw new Error(`the results store ${path} was closed while it was opened (${message}): start again`, {
      cause: error,
    })
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

/**
 * Makes those that there are not, but for a reader. Throws StoreError, and closes the environment, where they are of another
 * version. Undefined for a reader, while its owner is still making them.
 */
export function openDatabases(root: Root, path: string, readOnly = false): Databases | undefined {
  const strings = { encoding: 'binary', create: !readOnly } as const
  const meta = root.openDB<Buffer, string>('meta', strings)
  const format = meta?.get('format')?.toString()
  if (meta === undefined || (readOnly && format === undefined)) return undefined
  if (format !== undefined && format !== FORMAT && format !== FORMER_FORMAT) {
    void root.close()
    throw new StoreError(
      `the results store ${path} is of another version (${format}; this is ${FORMAT}): use the version ` +
        'that made it, or start with another dataDir',
    )
  }
  const databases: Databases = {
    meta,
    owner: root.openDB<Buffer, string>('owner', { ...strings, useVersions: true }),
    ledger: root.openDB<Buffer, string>('ledger', strings),
    rows: root.openDB<Buffer, Buffer>('rows', { ...strings, keyEncoding: 'binary' }),
    kept: {},
  }
  openKept(root, databases, readOnly)
  // Last: it says that all is there.
  if (format !== FORMAT && !readOnly) meta.putSync('format', Buffer.from(FORMAT))
  return databases
}

/** Opens those that were not there yet. */
export function openKept(root: Root, databases: Databases, readOnly: boolean, which = names): void {
  const options = { encoding: 'binary', keyEncoding: 'binary', create: !readOnly } as const
  for (const name of which) databases.kept[name] ??= root.openDB<Buffer, Buffer>(name, options)
}
