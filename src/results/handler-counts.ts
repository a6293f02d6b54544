// How many events each handler has handled, dropped and found wrong, since the data directory was made: JSON in meta, by
// the handler's name.

import { DROP_REASONS_MAX } from '../limits.ts'
import type { MetaBatch, MetaReader } from './progress.ts'

const HANDLER = 'handler:'
export const OTHER_REASONS = '(other reasons)'

export interface HandlerCounts {
  handled: number
  /** By reason. */
  dropped: Record<string, number>
  /** Events that became dead letters. */
  deadLettered: number
}

export function readHandlerCounts(store: MetaReader, handler: string): HandlerCounts {
  const value = store.getMeta(HANDLER + handler)
  return value === undefined ? { handled: 0, dropped: {}, deadLettered: 0 } : JSON.parse(value.toString())
}

/** Of all handlers that there were, by name. */
export function allHandlerCounts(store: MetaReader): Map<string, HandlerCounts> {
  const counts = new Map<string, HandlerCounts>()
  for (const [key, value] of store.metaRange(HANDLER)) {
    counts.set(key.slice(HANDLER.length), JSON.parse(value.toString()))
  }
  return counts
}

export function putHandlerCounts(batch: MetaBatch, handler: string, counts: HandlerCounts): void {
  batch.putMeta(HANDLER + handler, Buffer.from(JSON.stringify(counts)))
}

/** Adds dropped events. The reasons that came first are counted each by itself, and the rest together. */
export function addDropped(dropped: Record<string, number>, reason: string, events: number): void {
  // A name that objects do not keep as a member of theirs.
  const known =
    reason !== '__proto__' &&
    (Object.hasOwn(dropped, reason) || Object.keys(dropped).length < DROP_REASONS_MAX)
  const counted = known ? reason : OTHER_REASONS
  dropped[counted] = (Object.hasOwn(dropped, counted) ? dropped[counted] : 0) + events
}

/** Of one handler in several partitions. */
export function addHandlerCounts(
  sum: HandlerCounts,
  { handled, dropped, deadLettered }: HandlerCounts,
): void {
  sum.handled += handled
  sum.deadLettered += deadLettered
  for (const [reason, events] of Object.entries(dropped)) addDropped(sum.dropped, reason, events)
}
