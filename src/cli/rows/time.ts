// Times as files have them.

import type { Instant } from '../../frame/instant.ts'
import { parseTime } from '../../frame/rfc3339.ts'

export const timeUnits = ['s', 'ms', 'us', 'ns'] as const
export type TimeUnit = (typeof timeUnits)[number]

const digitsBelowSecond: Record<TimeUnit, number> = { s: 0, ms: 3, us: 6, ns: 9 }
const plainNumber = /^\+?([0-9]+)(?:\.([0-9]*))?$/
const withoutZone = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)?$/
const spaced = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\S*)$/

/**
 * RFC 3339, `2001-02-03`, `2001-02-03 04:05[:06]` (both UTC), or a Unix time. Without a unit, that of a number is
 * taken from its magnitude: what has 12 digits or more before the point is milliseconds, from 15 on microseconds,
 * from 18 on nanoseconds. Throws Error with what is wrong.
 */
export function timeOf(text: string, unit: TimeUnit | undefined): Instant {
  const trimmed = text.trim()
  const number = plainNumber.exec(trimmed)
  if (number !== null) return unixTime(number[1], number[2] ?? '', unit)
  const local = withoutZone.exec(trimmed)
  if (local !== null) return parseTime(`${local[1]}T${local[2] ?? '00:00'}${local[3] ?? ':00'}Z`)
  return parseTime(trimmed.replace(spaced, '$1T$2'))
}

function unixTime(whole: string, fraction: string, unit: TimeUnit | undefined): Instant {
  const digits = whole.replace(/^0+/, '')
  const below = unit === undefined ? guessed(digits.length) : digitsBelowSecond[unit]
  // By the digits, for nanoseconds are past what a number holds exactly.
  const cut = Math.max(0, digits.length - below)
  const seconds = Number(digits.slice(0, cut))
  const nanos = Number((digits.slice(cut).padStart(below, '0') + fraction).slice(0, 9).padEnd(9, '0'))
  if (seconds === 0 && nanos === 0) throw new RangeError(`time ${whole} is not after 1970-01-01T00:00:00Z`)
  if (seconds >= 2 ** 38) throw new RangeError(`time ${whole} is too far ahead${unit ? ` in ${unit}` : ''}`)
  return { seconds, nanos }
}

function guessed(digits: number): number {
  if (digits < 12) return 0
  return digits < 15 ? 3 : digits < 18 ? 6 : 9
}
