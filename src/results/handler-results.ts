// What handlers store under keys of their own.
//
//   key     its UTF-8, so that keys are in the order of their bytes
//   value   f64  time of receipt of the event, Unix milliseconds, little endian
//           u8[] the bytes
//
// In a partition what is stored last stands. Events of several partitions may store under the same key: then each
// partition has a value of its own, and what was received last is what is read.

import { RESULT_BYTES_MAX, RESULT_KEY_BYTES_MAX, RESULTS_ANSWER_BYTES_MAX } from '../limits.ts'
import type { Kept } from './environment.ts'
import { after } from './keys.ts'
import type { Snapshot } from './store.ts'

const HEADER_BYTES = 8

export interface HandlerResult {
  key: string
  /** Unix milliseconds at which the event that it was stored for was received. */
  at: number
  bytes: Buffer
}

/** The part of a commit, and of one store or several, that is needed here. */
export interface ResultBatch {
  put(to: Kept, key: Buffer, value: Buffer): void
}
export interface ResultSource {
  get(from: Kept, key: Buffer): Buffer | Buffer[] | undefined
}

/** Why this cannot be stored, or undefined where it can: a handler's mistake. */
export function unstorable(key: string, bytes: Uint8Array): string | undefined {
  const keyBytes = Buffer.byteLength(key)
  if (keyBytes === 0) return 'the key of a result is empty'
  if (keyBytes > RESULT_KEY_BYTES_MAX) {
    return `the key of a result is ${keyBytes} bytes, ${RESULT_KEY_BYTES_MAX} at most`
  }
  if (bytes.length > RESULT_BYTES_MAX) {
    return `the result ${JSON.stringify(key.slice(0, 40))} is ${bytes.length} bytes, ${RESULT_BYTES_MAX} at most`
  }
  return undefined
}

/** `at`: Unix milliseconds. `unstorable` says what may be stored. */
export function putResult(write: ResultBatch, key: string, bytes: Uint8Array, at: number): void {
  const value = Buffer.allocUnsafe(HEADER_BYTES + bytes.length)
  value.writeDoubleLE(at)
  value.set(bytes, HEADER_BYTES)
  write.put('results', Buffer.from(key), value)
}

/** What is stored under a key. */
export function getResult(source: ResultSource, key: string): HandlerResult | undefined {
  // LMDB has no key that is empty, and none that is too long.
  if (key === '' || Buffer.byteLength(key) > RESULT_KEY_BYTES_MAX) return undefined
  const values = [source.get('results', Buffer.from(key)) ?? []].flat()
  return values.length === 0 ? undefined : resultOf(key, newest(values))
}

export interface ResultsQuery {
  /** Of keys. */
  prefix: string
  limit: number
  /** Of the answer before. */
  cursor?: string | undefined
}

/**
 * Results in the order of their keys' bytes, in pages of so many, or of RESULTS_ANSWER_BYTES_MAX. `cursor` is given
 * when there are more. Undefined where the query's cursor is none of such a query.
 */
export function listResults(
  snapshot: Snapshot,
  { prefix, limit, cursor }: ResultsQuery,
): { results: HandlerResult[]; cursor?: string } | undefined {
  const first = Buffer.from(prefix)
  if (first.length > RESULT_KEY_BYTES_MAX) return { results: [] } // LMDB takes no bound that is no key
  let start: Buffer = first.length === 0 ? Buffer.of(0) : first
  const end = first.length === 0 ? Buffer.alloc(RESULT_KEY_BYTES_MAX + 1, 0xff) : after(first)
  if (cursor !== undefined) {
    const last = Buffer.from(cursor, 'base64url')
    const isOne =
      last.length > 0 && last.length <= RESULT_KEY_BYTES_MAX && last.toString('base64url') === cursor
    if (!isOne || last.compare(first) < 0 || last.compare(end) >= 0) return undefined
    start = Buffer.concat([last, Buffer.of(0)]) // the least key after it
  }
  const results: HandlerResult[] = []
  let bytes = 0
  let lastKey = start
  for (const { key, value } of snapshot.kept('results', start, end)) {
    bytes += value.length
    if (results.length === limit || (results.length > 0 && bytes > RESULTS_ANSWER_BYTES_MAX)) {
      return { results, cursor: lastKey.toString('base64url') }
    }
    results.push(resultOf(key.toString(), value))
    lastKey = key
  }
  return { results }
}

/** Of values under one key, the one that was received last; of several the first. */
export function newest(values: readonly Buffer[]): Buffer {
  return values.reduce((a, b) => (b.readDoubleLE() > a.readDoubleLE() ? b : a))
}

function resultOf(key: string, value: Buffer): HandlerResult {
  return { key, at: value.readDoubleLE(), bytes: value.subarray(HEADER_BYTES) }
}
