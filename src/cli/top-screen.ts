// What `millrace top` shows: a sample as a line, or all of it as a screen. Text only; nothing here knows of a terminal.

import type { Latency, LiveRole, Sample } from '../api/live.ts'
import { formatBytes, formatNumber, formatRate, printable } from './table.ts'
import type { HotKey, KeysView } from './top-keys.ts'

export interface View {
  /** The newest last; there is one at least. */
  samples: readonly Sample[]
  keys: KeysView
  /** Why there is no newer one. */
  away: string | undefined
}

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'
/** A part of a line. */
type Span = string | [text: string, style: Style]

/** Select Graphic Rendition (ECMA-48). */
const codes: Record<Style, string> = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' }
const bars = '▁▂▃▄▅▆▇█'

/** In one line, for where there is no terminal. */
export function lineOf(sample: Sample): string {
  const { at, rates, lag, latency, totals, backpressure, reason } = sample
  const parts = [
    at.slice(11, 19),
    reason === undefined ? 'ready' : `not ready (${reason})`,
    `accepted ${formatRate(rates.accepted)}/s`,
    `processed ${formatRate(rates.processed)}/s`,
    `requests ${formatRate(rates.requests)}/s`,
    `refused ${formatRate(rates.refused)}/s`,
    `lag ${formatNumber(lag.events)} events`,
    `ack p50 ${ms(latency.ack?.p50)} p95 ${ms(latency.ack?.p95)} p99 ${ms(latency.ack?.p99)}`,
    `queryable p95 ${ms(latency.queryable?.p95)}`,
    `total ${formatNumber(totals.processed)}`,
  ]
  if (backpressure.length > 0) parts.push(`back-pressure ${backpressure.join(', ')}`)
  return printable(parts.join('  '))
}

/** Lines for so many columns and rows, at most. */
export function screenOf(view: View, columns: number, rows: number, colours: boolean): string[] {
  const sample = view.samples.at(-1)!
  const lines: Span[][] = [
    ...head(sample, view.away),
    [],
    ...flow(view.samples, columns),
    [],
    ...latencies(sample),
    ...rest(sample),
    [],
    ...rolesOf(sample.roles),
    [],
  ]
  const room = Math.max(0, rows - lines.length - 2)
  lines.push(...hottest(view.keys, room))
  return lines.slice(0, rows).map((line) => painted(line, columns, colours))
}

function head({ ready, reason, version, log, at }: Sample, away: string | undefined): Span[][] {
  const state: Span = ready ? ['ready', 'green'] : [reason ?? 'not ready', 'red']
  const line: Span[] = [['millrace', 'bold'], ` ${version}  `, state, `  ${log.kind}, ${log.durability}  `]
  line.push([at.slice(0, 19).replace('T', ' '), 'dim'], ['   q ends', 'dim'])
  return away === undefined ? [line] : [line, [[away, 'red']]]
}

/** What goes through, with the last minute of it. */
function flow(samples: readonly Sample[], columns: number): Span[][] {
  const { rates, totals, lag } = samples.at(-1)!
  const width = Math.max(0, Math.min(60, columns - 24))
  const row = (name: string, rate: string, values: number[]): Span[] => {
    return [name.padEnd(11), rate.padStart(10), '  ', [sparkline(values.slice(-width)), 'cyan']]
  }
  const of = (name: keyof Sample['rates']) => samples.map((sample) => sample.rates[name])
  const waiting = samples.map((sample) => sample.lag.events)
  const lagging: Span[] = [
    'lag'.padEnd(11),
    [formatRate(lag.events).padStart(10), lag.events > 0 ? 'yellow' : 'green'],
    '  ',
    [sparkline(waiting.slice(-width)), 'cyan'],
  ]
  const counts = [
    `accepted ${formatNumber(totals.accepted)}`,
    `processed ${formatNumber(totals.processed)}`,
    `duplicates ${formatNumber(totals.duplicates)}`,
  ]
  const lost = [
    `dead letters ${formatNumber(totals.deadLetters)}`,
    `dropped ${formatNumber(totals.dropped)}`,
    `damaged ${formatNumber(totals.damaged)}`,
  ]
  return [
    row('accepted', `${formatRate(rates.accepted)}/s`, of('accepted')),
    row('processed', `${formatRate(rates.processed)}/s`, of('processed')),
    row('requests', `${formatRate(rates.requests)}/s`, of('requests')),
    row('received', `${formatBytes(Math.round(rates.bytes))}/s`, of('bytes')),
    row('refused', `${formatRate(rates.refused)}/s`, of('refused')),
    lagging,
    [['total'.padEnd(11), 'dim'], counts.join('  ')],
    [['apart'.padEnd(11), 'dim'], lost.join('  ')],
  ]
}

function latencies({ latency }: Sample): Span[][] {
  const row = (name: string, of: Latency | null): Span[] => {
    return [name.padEnd(11), ...[of?.p50, of?.p95, of?.p99].map((value) => ms(value).padStart(10))]
  }
  const title = `${'latency'.padEnd(11)}${['p50', 'p95', 'p99'].map((name) => name.padStart(10)).join('')}`
  return [[[title, 'dim']], row('ack', latency.ack), row('queryable', latency.queryable)]
}

function rest({ pool, lag, backpressure }: Sample): Span[][] {
  const pressed: Span =
    backpressure.length === 0 ? ['no back-pressure', 'green'] : [backpressure.join(', '), 'red']
  const threads = `${formatNumber(pool.busy)} of ${formatNumber(pool.threads)} threads busy`
  const parts = [threads, `${formatNumber(pool.queue)} tasks wait`, `${formatBytes(lag.bytes)} behind`]
  return [['pool'.padEnd(11), `${parts.join(', ')}   `, pressed]]
}

function rolesOf(roles: readonly LiveRole[]): Span[][] {
  const columns = ['pid', 'ready', 'restarts', 'cpu', 'memory', 'loop p99'].map((name) => name.padStart(10))
  const lines: Span[][] = [[[`${'role'.padEnd(14)}${columns.join('')}`, 'dim']]]
  for (const one of roles) {
    const name = one.role === 'primary' ? one.role : `${one.role} ${one.worker}`
    const numbers = [
      formatNumber(one.restarts),
      one.cpu.toFixed(2),
      formatBytes(one.memoryBytes),
      ms(one.eventLoopP99),
    ]
    const ready: Span = one.ready ? 'yes'.padStart(10) : ['no'.padStart(10), 'red']
    const line: Span[] = [name.padEnd(14), String(one.pid || '-').padStart(10), ready]
    line.push(numbers.map((text) => text.padStart(10)).join(''))
    if (one.stale) line.push(['  silent', 'yellow'])
    lines.push(line)
  }
  return lines
}

/** As many as there is room for below two lines of titles. */
function hottest({ measure, by, keys, problem }: KeysView, room: number): Span[][] {
  const title: Span[] = [[`hottest of ${printable(measure ?? 'the first measure')}, by ${by}`, 'bold']]
  if (problem !== undefined) return [title, [[printable(problem), 'yellow']]]
  const shown = keys.slice(0, room)
  const names = shown.map(nameOf)
  const width = Math.min(40, Math.max(3, ...names.map(widthOf)))
  const lines = shown.map(({ rate, count }, i): Span[] => {
    const name = clipped(names[i], width)
    const numbers = [rate === undefined ? '-' : `${formatRate(rate)}/s`, formatNumber(count)]
    return [name + ' '.repeat(width - widthOf(name)), numbers.map((text) => text.padStart(14)).join('')]
  })
  const heads = `${'key'.padEnd(width)}${['rate', 'count'].map((text) => text.padStart(14)).join('')}`
  return [title, [[heads, 'dim']], ...lines]
}

function nameOf({ key }: HotKey): string {
  return printable(key.map((part) => (part === '' ? '""' : part)).join(' · ')).replaceAll('\n', '\\n')
}

/** A character for each value, the tallest for the most. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(...values)
  return values.map((value) => bars[most > 0 ? Math.ceil((value / most) * (bars.length - 1)) : 0]).join('')
}

/** Seconds, as milliseconds. */
function ms(seconds: number | undefined): string {
  if (seconds === undefined) return '-'
  const value = seconds * 1000
  return `${value < 10 ? value.toFixed(1) : formatNumber(Math.round(value))} ms`
}

/** What fits into the columns. */
function painted(line: readonly Span[], columns: number, colours: boolean): string {
  let room = columns
  let text = ''
  for (const span of line) {
    const [part, style] = typeof span === 'string' ? [span, undefined] : span
    const fits = clipped(part, room)
    room -= widthOf(fits)
    text += style === undefined || !colours || fits === '' ? fits : `\u001b[${codes[style]}m${fits}\u001b[0m`
  }
  return text
}

function clipped(text: string, columns: number): string {
  let room = columns
  let fits = ''
  for (const character of text) {
    room -= widthOf(character)
    if (room < 0) break
    fits += character
  }
  return fits
}

const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uff00-\uff60]/u
const none = /\p{M}|\u200d/u

/** Columns of a terminal that it takes. */
function widthOf(text: string): number {
  let width = 0
  for (const character of text) width += none.test(character) ? 0 : wide.test(character) ? 2 : 1
  return width
}
