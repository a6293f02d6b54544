// Walks rows of a measure under one snapshot, skipping windows outside a span, and letting others have their turn.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { QUERY_ROWS_PER_TURN } from '../limits.ts'
import { after, stemOf, windowOf, withWindow } from './keys.ts'
import type { Snapshot } from './store.ts'

/** Rows outside the span that are read in passing before it is worth looking for the next one inside. */
const PASSED_MAX = 8

/** Which rows. */
export interface Span {
  /** start <= key < end. */
  start: Buffer
  end: Buffer
  /** Unix milliseconds: a window counts when it starts within [from, to). */
  from: number
  to: number
}

/**
 * The rows of a span in the order of their keys, until `visit` returns false. Rejects with the signal's reason when
 * it is aborted: the client is gone.
 */
export async function scan(
  snapshot: Snapshot,
  { start, end, from, to }: Span,
  signal: AbortSignal | undefined,
  visit: (key: Buffer, value: Buffer) => boolean,
): Promise<void> {
  let next: Buffer | undefined = start
  let read = 0
  while (next !== undefined) {
    let passed = 0
    const rows = snapshot.range(next, end)
    next = undefined
    for (const { key, value } of rows) {
      if (++read % QUERY_ROWS_PER_TURN === 0) await nextTurn()
      signal?.throwIfAborted()
      const window = windowOf(key)
      if (window >= from && window < to) {
        passed = 0
        if (!visit(key, value)) return
      } else if (++passed > PASSED_MAX) {
        const stem = stemOf(key)
        next = window < from ? withWindow(stem, from) : after(withWindow(stem, 0xffffffffffff))
        break
      }
    }
    if (next !== undefined && next.compare(end) >= 0) return
  }
}
