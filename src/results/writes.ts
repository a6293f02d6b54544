// What a commit does to the databases of a store.

import type { Databases, Kept } from './environment.ts'

const STRING_KEY_BYTES_MAX = 1024

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

/** Done at once, in the transaction that is open. */
export class Writes implements StoreBatch {
  readonly #to: Databases
  /** Something was put: the transaction changes the store for certain. */
  changed = false

  constructor(to: Databases) {
    this.#to = to
  }

  putMeta(key: string, value: Buffer): void {
    this.changed = true
    void this.#to.meta.put(checked(key), value)
  }
  removeMeta(key: string): void {
    void this.#to.meta.remove(checked(key))
  }
  putLedger(key: string, value: Buffer): void {
    this.changed = true
    void this.#to.ledger.put(checked(key), value)
  }
  removeLedger(key: string): void {
    void this.#to.ledger.remove(checked(key))
  }
  putRow(key: Buffer, value: Buffer): void {
    this.changed = true
    void this.#to.rows.put(key, value)
  }
  removeRow(key: Buffer): void {
    void this.#to.rows.remove(key)
  }
  put(to: Kept, key: Buffer, value: Buffer): void {
    this.changed = true
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
