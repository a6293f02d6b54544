// Aggregates by key beside the rows, in the same transaction: what a peer needs so that its events can be queried as
// millrace's can. Count, sum, least and greatest for each subject and minute; no quantiles.

import { millrace } from '#proto'
import type { Database } from './sqlite.ts'

const MINUTE_NANO = 60_000_000_000

interface Sum {
  subject: string
  window: number
  count: number
  sum: number
  min: number
  max: number
}

export function openSums(database: Database): { add(entries: Buffer[]): void } {
  database.exec(`create table sums (subject text not null, minute integer not null,
    count integer not null, sum real not null, min real not null, max real not null,
    primary key (subject, minute)) without rowid`)
  const upsert = database.prepare(`insert into sums values (?, ?, ?, ?, ?, ?)
    on conflict do update set count = count + excluded.count, sum = sum + excluded.sum,
    min = min(min, excluded.min), max = max(max, excluded.max)`)
  return {
    /** Folds the entries of a transaction first, so that each key is written once. */
    add(entries) {
      const sums = new Map<string, Sum>()
      for (const entry of entries) fold(sums, entry)
      for (const { subject, window, count, sum, min, max } of sums.values()) {
        upsert.run(subject, window, count, sum, min, max)
      }
    },
  }
}

function fold(sums: Map<string, Sum>, entry: Buffer): void {
  const { subject, timeUnixNano, value } = millrace.v1.Event.decode(entry)
  if (value === null || value === undefined) return
  const { low, high } = timeUnixNano as unknown as { low: number; high: number }
  const window = minuteOf(low, high)
  const key = `${window} ${subject}`
  const known = sums.get(key)
  if (known === undefined) {
    sums.set(key, { subject, window, count: 1, sum: value, min: value, max: value })
    return
  }
  known.count++
  known.sum += value
  if (value < known.min) known.min = value
  if (value > known.max) known.max = value
}

/** Of two halves of nanoseconds since 1970, the minutes. Doubles are exact enough: events lie on milliseconds. */
function minuteOf(low: number, high: number): number {
  return Math.floor(((high >>> 0) * 2 ** 32 + (low >>> 0)) / MINUTE_NANO)
}
