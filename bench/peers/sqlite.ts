// SQLite: one row an entry. One thread commits the entries of all requests that wait in one transaction, while the
// process reads the next requests.

import { Worker } from 'node:worker_threads'
import { requirePeer } from './packages.ts'
import { Group, type Store } from './store.ts'

export interface Database {
  pragma(text: string): unknown
  exec(sql: string): void
  prepare(sql: string): { run(...values: unknown[]): unknown; get(): Record<string, number> }
  transaction(run: (entries: Buffer[]) => void): (entries: Buffer[]) => void
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

export function openSqlite(file: string): Store {
  const thread = new Worker(new URL('./sqlite-thread.js', import.meta.url), { workerData: file })
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
    count: async () =>
      openDatabase(file, { readonly: true }).prepare('select count(*) as n from events').get().n,
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
