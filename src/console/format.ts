// Numbers, sizes and times as people read them. Counts are written out, so that they can be compared with the API's.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const hundredths = new Intl.NumberFormat('en', { maximumFractionDigits: 2 })
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const digits = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 })
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })

/** All digits of it. */
export function count(n: number): string {
  return whole.format(n)
}

/** A rate: exact while it is short. */
export function rate(n: number): string {
  if (n > 0 && n < 10) return tenths.format(n)
  return n < 1_000_000 ? whole.format(n) : compact.format(n)
}

/** For the axis of a chart. */
export function short(n: number): string {
  return compact.format(n)
}

/** A number of a measure, its whole part in full; text where JSON has no number for it. */
export function measured(n: number | string | undefined): string {
  if (n === undefined) return '–'
  if (typeof n === 'string') return n
  return Math.abs(n) >= 10 ? hundredths.format(n) : digits.format(n)
}

/** `seconds` with the unit that suits them; a dash where there is none. */
export function duration(seconds: number | undefined): string {
  if (seconds === undefined) return '–'
  if (seconds === 0) return '0 s'
  if (seconds < 0.001) return `${three(seconds * 1e6)} µs`
  if (seconds < 1) return `${three(seconds * 1e3)} ms`
  if (seconds < 120) return `${three(seconds)} s`
  return seconds < 7200 ? `${whole.format(seconds / 60)} min` : `${whole.format(seconds / 3600)} h`
}

/** In units of 1024. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1024
  return `${unit === 0 ? whole.format(n) : three(n)} ${units[unit]}`
}

/** Local time of day of an RFC 3339 time; with the date where that is another day's. */
export function time(text: string, now = new Date()): string {
  const at = new Date(text)
  if (Number.isNaN(at.getTime())) return text
  const clock = at.toLocaleTimeString('en-GB', { hour12: false })
  return at.toDateString() === now.toDateString() ? clock : `${day(at)} ${clock}`
}

function day(at: Date): string {
  const two = (n: number) => String(n).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
}

function three(n: number): string {
  if (n >= 100) return whole.format(n)
  return n.toFixed(n >= 10 ? 1 : 2)
}

/** A key of one part or several, on one line; an empty part is told as such. */
export function keyText(key: readonly string[]): string {
  return key.map((part) => (part === '' ? '(empty)' : part)).join(' · ')
}
