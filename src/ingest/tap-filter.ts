// Which events a tap wants, looked at as bytes: most events are not wanted, and for those no string is made.

import { EVENT_TAG, SOURCE_TAG, SUBJECT_TAG, TYPE_TAG } from '../frame/tags.ts'
import { ended, skip, varint } from '../frame/wire.ts'

/** Patterns with `*` at either end, as in measures. A field that an event does not have is the empty string. */
export interface TapFilter {
  type?: string
  source?: string
  subject?: string
}

interface Pattern {
  tag: number
  bytes: Uint8Array
  /** Anything may stand before it, and after it. */
  open: boolean
  openEnd: boolean
}

const fieldTags = { type: TYPE_TAG, source: SOURCE_TAG, subject: SUBJECT_TAG } as const

export class Matcher {
  readonly #patterns: Pattern[] = []

  constructor(filter: TapFilter) {
    for (const name of ['type', 'source', 'subject'] as const) {
      const text = filter[name]
      if (text === undefined || text === '*' || text === '**') continue
      const open = text.startsWith('*')
      const openEnd = text.endsWith('*')
      const bytes = Buffer.from(text.slice(open ? 1 : 0, openEnd ? -1 : undefined))
      this.#patterns.push({ tag: fieldTags[name], bytes, open, openEnd })
    }
  }

  /** Of the event whose fields are in bytes[start, end), which scan has passed. */
  matches(bytes: Uint8Array, start: number, end: number): boolean {
    for (const pattern of this.#patterns) {
      const fieldEnd = find(bytes, start, end, pattern.tag)
      if (!isMatch(pattern, bytes, fieldEnd - fieldBytes, fieldEnd)) return false
    }
    return true
  }
}

/**
 * Calls `found` with the place of each event's fields in a frame, which scan has passed. Returns how many there are.
 */
export function walk(
  bytes: Uint8Array,
  start: number,
  end: number,
  found: (start: number, end: number) => void,
): number {
  let events = 0
  for (let at = start; at < end; ) {
    let tag = bytes[at++]
    if (tag > 127) {
      tag = varint(bytes, at - 1)
      at = ended
    }
    if (tag !== EVENT_TAG) {
      at = skip(bytes, at, tag)
      continue
    }
    let size = bytes[at++]
    if (size > 127) {
      size = varint(bytes, at - 1)
      at = ended
    }
    at += size
    events++
    found(at - size, at)
  }
  return events
}

/** Bytes of the field that `find` found. */
let fieldBytes = 0

/** The end of the last field with this tag; where there is none, its bytes are 0. */
function find(bytes: Uint8Array, start: number, end: number, wanted: number): number {
  let fieldEnd = end
  fieldBytes = 0
  for (let at = start; at < end; ) {
    let tag = bytes[at++]
    if (tag > 127) {
      tag = varint(bytes, at - 1)
      at = ended
    }
    if ((tag & 7) !== 2) {
      at = skip(bytes, at, tag)
      continue
    }
    let size = bytes[at++]
    if (size > 127) {
      size = varint(bytes, at - 1)
      at = ended
    }
    at += size
    if (tag !== wanted) continue
    fieldEnd = at
    fieldBytes = size
  }
  return fieldEnd
}

function isMatch({ bytes: pattern, open, openEnd }: Pattern, bytes: Uint8Array, start: number, end: number) {
  const spare = end - start - pattern.length
  if (spare < 0) return false
  if (!open) return (openEnd || spare === 0) && same(pattern, bytes, start)
  if (!openEnd) return same(pattern, bytes, start + spare)
  for (let at = start; at <= start + spare; at++) if (same(pattern, bytes, at)) return true
  return false
}

function same(pattern: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < pattern.length; i++) if (pattern[i] !== bytes[at + i]) return false
  return true
}
