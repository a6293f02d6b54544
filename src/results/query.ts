// Questions to the results store, answered as the HTTP routes answer them.

import type { Measure } from '../config/config.ts'
import { nearest } from '../config/nearest.ts'
import { Problem } from '../errors.ts'
import { QUERY_ROWS_DEFAULT, QUERY_ROWS_MAX } from '../limits.ts'
import type { Entry } from './catalogue.ts'
import {
  after,
  decodeParts,
  encodeParts,
  keyStem,
  MEASURE_BYTES,
  partsOf,
  prefixStem,
  stemOf,
  WINDOW_BYTES,
  windowOf,
} from './keys.ts'
import { heldKey, Row } from './row.ts'
import { type Span, scan } from './scan.ts'
import type { Snapshot } from './store.ts'

/** The part of one store, or of several, that is asked. */
export interface Queried {
  measures(): Entry[]
  snapshot(): Snapshot
}

import { Top } from './top.ts'

/** Bounds of windows' starts in Unix milliseconds: from <= start < to. A window of `all` starts at 0. */
export interface TimeSpan {
  from?: number | undefined
  to?: number | undefined
}

export interface RowsQuery extends TimeSpan {
  /** The parts of a key, in the order of the measure's `by`; fewer of them ask for all keys that begin so. */
  key?: string[] | undefined
  /** Folds the windows of a key into one row. */
  merge?: boolean | undefined
  limit?: number | undefined
  /** Of the answer before. */
  cursor?: string | undefined
}

export const topBy = ['count', 'sum', 'mean', 'max', 'min'] as const
export type TopBy = (typeof topBy)[number]

export interface TopQuery extends TimeSpan {
  by?: TopBy | undefined
  limit?: number | undefined
}

/** A number; as text where JSON has no number for it, like the JSON of protobuf: Infinity, -Infinity, NaN. */
export type JsonNumber = number | 'Infinity' | '-Infinity' | 'NaN'

/** Members that the measure does not have are left out: numbers where it only counts, quantiles unless configured. */
export interface AnswerRow {
  key: string[]
  /** RFC 3339; of rows folded into one, the first one's start and the last one's end. null where it is `all`. */
  windowStart: string | null
  windowEnd: string | null
  count: number
  sum?: JsonNumber
  min?: JsonNumber
  max?: JsonNumber
  mean?: JsonNumber
  /** sketch.ts says of which rank; off by sketch.RELATIVE_ERROR at most. */
  p50?: JsonNumber
  p95?: JsonNumber
  p99?: JsonNumber
}

export interface RowsAnswer {
  rows: AnswerRow[]
  /** Given when there are more rows. */
  cursor?: string
}

const WINDOW_MAX = 0xffffffffffff
const TOP_DEFAULT = 10

/** One key's windows, folded. */
interface Found {
  row: Row
  stem: Buffer
  key: Buffer
  first: number
  last: number
  rank: number
}

export class Query {
  readonly #store: Queried

  constructor(store: Queried) {
    this.#store = store
  }

  /** The measures that are counted, in the order of the configuration. */
  measures(): Measure[] {
    return this.#store.measures().map(({ measure }) => measure)
  }

  /**
   * Rows in the order of key and window. Throws Problem: unknown-route for a measure that there is not, malformed
   * for parameters that cannot be.
   */
  async rows(name: string, query: RowsQuery, signal?: AbortSignal): Promise<RowsAnswer> {
    const entry = this.#find(name)
    const limit = checkedLimit(query.limit ?? QUERY_ROWS_DEFAULT)
    const { span, prefix } = spanOf(entry, query)
    if (query.cursor !== undefined) span.start = startOf(query.cursor, entry, span)
    const found: Found[] = []
    let more = false
    const snapshot = this.#store.snapshot()
    try {
      await scan(snapshot, span, signal, (key, value) => {
        const parts = partsOf(key) ?? heldKey(value)
        if (prefix !== undefined && !startsWith(parts, prefix)) return true
        const same = query.merge ? sameKey(found.at(-1), key) : undefined
        if (same === undefined && found.length === limit) {
          more = true
          return false
        }
        if (same === undefined) found.push(fold(undefined, key, value, parts, true))
        else fold(same, key, value, parts, true)
        return true
      })
    } finally {
      snapshot.done()
    }
    const rows = found.map((one) => answer(entry.measure, one))
    if (!more) return { rows }
    const { stem, last } = found[found.length - 1]
    return { rows, cursor: cursorOf(stem, query.merge ? WINDOW_MAX : last) }
  }

  /** The keys that come first by `by` (min: smallest first), windows merged. Keys that tie are in key order. */
  async top(name: string, query: TopQuery, signal?: AbortSignal): Promise<{ rows: AnswerRow[] }> {
    const entry = this.#find(name)
    const by = query.by ?? 'count'
    const limit = checkedLimit(query.limit ?? TOP_DEFAULT)
    if (by !== 'count' && entry.measure.value === 'none') {
      throw new Problem(
        'malformed',
        `measure ${name} only counts (value: none), so it has no ${by}: use by=count`,
      )
    }
    const { span } = spanOf(entry, query)
    const top = new Top<Found>(limit, (a, b) => b.rank - a.rank || a.stem.compare(b.stem))
    const snapshot = this.#store.snapshot()
    try {
      let current: Found | undefined
      const offer = () => {
        if (current === undefined) return
        current.rank = rankOf(current.row, by)
        top.offer(current)
      }
      await scan(snapshot, span, signal, (key, value) => {
        const same = sameKey(current, key)
        if (same === undefined) offer()
        const parts = same?.key ?? partsOf(key) ?? heldKey(value)
        current = fold(same, key, value, parts, false)
        return true
      })
      offer()
      const rows: AnswerRow[] = []
      for (const found of top.sorted()) {
        const whole = entry.measure.quantiles ? await withSketch(snapshot, span, found, signal) : found
        rows.push(answer(entry.measure, whole))
      }
      return { rows }
    } finally {
      snapshot.done()
    }
  }

  #find(name: string): Entry {
    const entries = this.#store.measures()
    const entry = entries.find(({ measure }) => measure.name === name)
    if (entry !== undefined) return entry
    const names = entries.map(({ measure }) => measure.name)
    throw new Problem(
      'unknown-route',
      `there is no measure ${JSON.stringify(name)}; ${suggestion(name, names)}`,
    )
  }
}

/** Where the rows asked for are; `prefix` where they have to be looked at more closely. */
function spanOf({ id, measure }: Entry, query: RowsQuery): { span: Span; prefix: Buffer | undefined } {
  const { key = [], from = 0, to = WINDOW_MAX + 1 } = query
  if (key.length > measure.by.length) {
    throw new Problem(
      'malformed',
      `key is given ${key.length} times; the keys of measure ${measure.name} have ` +
        `${measure.by.length} ${measure.by.length === 1 ? 'part' : 'parts'}: ${measure.by.join(', ')}`,
    )
  }
  if (measure.window === 'all' && (query.from !== undefined || query.to !== undefined)) {
    const detail = `measure ${measure.name} has one window without end (window: all): from and to do not apply to it`
    throw new Problem('malformed', detail)
  }
  const parts = encodeParts(key)
  const whole = key.length === measure.by.length
  const start = whole ? keyStem(id, parts) : prefixStem(id, parts)
  const cut = !whole && start.length - MEASURE_BYTES < parts.length
  const span = { start, end: after(start), from: Math.max(0, from), to: Math.min(WINDOW_MAX + 1, to) }
  return { span, prefix: cut ? parts : undefined }
}

/** Adds a row to what was found of its key, or begins with it. */
function fold(found: Found | undefined, key: Buffer, value: Buffer, parts: Buffer, sketches: boolean): Found {
  const window = windowOf(key)
  const to = found ?? { row: new Row(), stem: stemOf(key), key: parts, first: window, last: window, rank: 0 }
  to.row.merge(value, sketches)
  to.last = window
  return to
}

function sameKey(found: Found | undefined, key: Buffer): Found | undefined {
  return found?.stem.equals(stemOf(key)) ? found : undefined
}

/** What `found` is, folded again with its sketches, which are not read for all the keys that do not come first. */
async function withSketch(
  snapshot: Snapshot,
  span: Span,
  found: Found,
  signal: AbortSignal | undefined,
): Promise<Found> {
  let whole: Found | undefined
  const only = { ...span, start: found.stem, end: after(found.stem) }
  await scan(snapshot, only, signal, (key, value) => {
    whole = fold(whole, key, value, found.key, true)
    return true
  })
  return whole ?? found
}

/** The greater the number, the earlier the place. NaN comes last. */
function rankOf(row: Row, by: TopBy): number {
  let rank: number
  if (by === 'count') rank = row.count
  else if (by === 'sum') rank = row.total
  else if (by === 'mean') rank = row.mean
  else if (by === 'max') rank = row.max
  else rank = -row.min
  return Number.isNaN(rank)
    ? -Number.MAX_VALUE
    : Math.min(Number.MAX_VALUE, Math.max(-Number.MAX_VALUE, rank))
}

function answer(measure: Measure, { row, key, first, last }: Found): AnswerRow {
  const { window } = measure
  const answered: AnswerRow = {
    key: decodeParts(key),
    windowStart: window === 'all' ? null : new Date(first).toISOString(),
    windowEnd: window === 'all' ? null : new Date(last + window).toISOString(),
    count: row.count,
  }
  if (row.numbers) {
    answered.sum = json(row.total)
    answered.min = json(row.min)
    answered.max = json(row.max)
    answered.mean = json(row.mean)
  }
  if (row.sketch !== undefined) {
    answered.p50 = json(row.sketch.quantile(0.5, row.min, row.max))
    answered.p95 = json(row.sketch.quantile(0.95, row.min, row.max))
    answered.p99 = json(row.sketch.quantile(0.99, row.min, row.max))
  }
  return answered
}

function json(n: number): JsonNumber {
  return Number.isFinite(n) ? n : (String(n) as JsonNumber)
}

function checkedLimit(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= QUERY_ROWS_MAX) return limit
  throw new Problem('malformed', `limit=${limit}: a whole number from 1 to ${QUERY_ROWS_MAX} is expected`)
}

/** Opaque to clients: the key after which to go on. */
function cursorOf(stem: Buffer, window: number): string {
  const bytes = Buffer.allocUnsafe(stem.length + WINDOW_BYTES)
  bytes.set(stem)
  bytes.writeUIntBE(window, stem.length, WINDOW_BYTES)
  return bytes.toString('base64url')
}

function startOf(cursor: string, { measure }: Entry, span: Span): Buffer {
  const bytes = Buffer.from(cursor, 'base64url')
  const within = bytes.compare(span.start) >= 0 && bytes.compare(span.end) < 0
  if (!within || bytes.length < MEASURE_BYTES + WINDOW_BYTES || bytes.toString('base64url') !== cursor) {
    throw new Problem(
      'malformed',
      `cursor: not one that a query like this of ${measure.name} has answered with`,
    )
  }
  return Buffer.concat([bytes, Buffer.of(0)]) // the least key after it
}

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
}

function suggestion(name: string, names: string[]): string {
  if (names.length === 0) return 'none are configured'
  const near = nearest(name, names)
  if (near !== undefined) return `did you mean ${near}?`
  return `there are ${names.slice(0, 20).join(', ')}${names.length > 20 ? ' and others' : ''}`
}
