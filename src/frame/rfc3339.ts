// Times as RFC 3339 writes them.

import { Problem } from '../errors.ts'

const form = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/

/**
 * Seconds since 1970 and nanoseconds of that second. Digits past the nanosecond are cut off. A leap second
 * (23:59:60 UTC) is the first second of the next day, as in Unix time. Throws a Problem `malformed` where the
 * text is no such time, and where it is not after 1970-01-01T00:00:00Z: 0 on the wire means no time at all.
 */
export function parseTime(text: string): { seconds: number; nanos: number } {
  const match = form.exec(text)
  if (match === null) {
    throw refusal(text, 'is not RFC 3339: write it like 2026-05-01T12:30:00.25Z or 2026-05-01T14:30:00+02:00')
  }
  const year = Number(match[1])
  const month = Number(match[2])
  const day = Number(match[3])
  const hour = Number(match[4])
  const minute = Number(match[5])
  const second = Number(match[6])
  const offsetHour = Number(match[9] ?? 0)
  const offsetMinute = Number(match[10] ?? 0)
  if (hour > 23 || minute > 59 || second > 60 || offsetHour > 23 || offsetMinute > 59) {
    throw refusal(text, 'is no time of day')
  }
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) {
    throw refusal(text, 'is no date of the calendar')
  }
  const offset = (offsetHour * 60 + offsetMinute) * (match[8] === '-' ? -60 : 60)
  const days = year < 1969 ? Number.NEGATIVE_INFINITY : Date.UTC(year, month - 1, day) / 86_400_000
  const seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
  const nanos = match[7] === undefined ? 0 : Number(match[7].slice(0, 9).padEnd(9, '0'))
  if (seconds < 0 || (seconds === 0 && nanos === 0)) throw refusal(text, 'is not after 1970-01-01T00:00:00Z')
  if (second === 60 && seconds % 86_400 !== 0) {
    throw refusal(text, 'is no time of day: a leap second is at 23:59:60 UTC')
  }
  return { seconds, nanos }
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

function refusal(text: string, what: string): Problem {
  return new Problem('malformed', `time ${JSON.stringify(text.slice(0, 64))} ${what}`)
}
