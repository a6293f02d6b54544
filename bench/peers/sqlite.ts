// SQLite: one row an entry. One thread commits the entries of all requests that wait in one transaction, while the
// process reads the next requests.

import { Worker } from 'node:worker_threads'
import { requirePeer } from './packages.ts'
import { Group, type Store } from './store.ts'

export interface Database {
  pragma(text: string): unknown
  exec(sql: string): void
  prepare(sql: string): { run(...values: unknown[]): unknown; get(): { n: number | null } }
  transaction(run: (entries: Buffer[]) => void): (entries: Buffer[]) => void
}

/** What the thread is given at its start; `sums`: it keeps aggregates by key in the same transactions. */
export interface Work {
  file: string
  sums: boolean
}

/** Entries end to end, with the length of each. */
export interface Batch {
  bytes: ArrayBuffer
  lengths: ArrayBuffer
}

export function openDatabase(file: string, options: { readonly?: boolean } = {}): Database {
  const Constructor = requirePeer('better-sqlite3') as {
    new (file: string, options: { readonly?: boolean }): Database
  }
  return new Constructor(file, options)
}

export function openSqlite(file: string, sums: boolean): Store {
  const work: Work = { file, sums }
  const thread = new Worker(new URL('./sqlite-thread.js', import.meta.url), { workerData: work })
  let settle: { resolve(): void; reject(error: Error): void } | undefined
  thread.on('message', (error: Error | undefined) => {
    if (error === undefined) settle?.resolve()
    else settle?.reject(error)
  })
  const group = new Group((entries) => {
    const batch = pack(entries)
    return new Promise<void>((resolve, reject) => {
      settle = { resolve, reject }
      thread.postMessage(batch, [batch.bytes, batch.lengths])
    })
  })
  return {
    add: (entries, done) => group.add(entries, done),
    // Rows are numbered from 1 and never deleted; to count them would read the whole table.
    async count() {
      const rows = openDatabase(file, { readonly: true }).prepare('select max(id) as n from events').get()
      return rows.n ?? 0
    },
  }
}

/** Copied into memory of its own, which the thread takes over. */
function pack(entries: Buffer[]): Batch {
  const lengths = Uint32Array.from(entries, (entry) => entry.length)
  const bytes = Buffer.allocUnsafeSlow(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  for (const entry of entries) at += entry.copy(bytes, at)
  return { bytes: bytes.buffer, lengths: lengths.buffer }
}
