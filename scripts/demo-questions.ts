// The demo's questions, put to millrace over HTTP and to DuckDB in SQL, and their answers side by side.

import { DuckDBInstance } from '@duckdb/node-api'
import type { Client } from '../src/client/index.ts'
import { RELATIVE_ERROR } from '../src/results/sketch.ts'

/** What both sides say of one key (an airport, a route, a day). */
interface Row {
  key: string
  count: number
  sum: number
  min: number
  max: number
  p50: number
  p95: number
  p99: number
}

/** All rows of each measure, by key. */
export type Answers = Record<'by-airport' | 'by-route' | 'by-day', Map<string, Row>>

const QUANTILES = [0.5, 0.95, 0.99]
/** The stated error, and the rounding of one division. */
const QUANTILE_ERROR = RELATIVE_ERROR * (1 + 1e-12)
const keys = {
  'by-airport': 'origin',
  'by-route': `origin || '-' || destination`,
  'by-day': `strftime(date, '%Y-%m-%d')`,
}

/** Quantiles are elements of the sorted values, by rank floor(q * (n - 1)), as the sketch defines them. */
export async function askDuckDb(parquet: string): Promise<Answers> {
  const connection = await (await DuckDBInstance.create()).connect()
  const ask = async (key: string) => {
    const ranked = QUANTILES.map(
      (q, i) => `list_sort(list(delay))[1 + floor(${q} * (count(*) - 1))::BIGINT] AS q${i}`,
    )
    const sql = `SELECT ${key} AS key, count(*), sum(delay), min(delay), max(delay), ${ranked.join(', ')}
      FROM '${parquet}' GROUP BY 1`
    const rows = (await connection.runAndReadAll(sql)).getRowsJson()
    return new Map(
      rows.map(([name, ...numbers]) => {
        const [count, sum, min, max, p50, p95, p99] = numbers.map(Number)
        return [String(name), { key: String(name), count, sum, min, max, p50, p95, p99 }]
      }),
    )
  }
  return {
    'by-airport': await ask(keys['by-airport']),
    'by-route': await ask(keys['by-route']),
    'by-day': await ask(keys['by-day']),
  }
}

type Answer = Omit<Row, 'key'> & { key: string[]; windowStart: string | null }

export async function askMillrace(client: Client): Promise<Answers> {
  const named = async (measure: string, name: (row: Answer) => string) => {
    const rows = new Map<string, Row>()
    for await (const row of client.rows(measure) as AsyncIterable<Answer>) {
      rows.set(name(row), { ...row, key: name(row) })
    }
    return rows
  }
  return {
    'by-airport': await named('by-airport', (row) => row.key[0]),
    'by-route': await named('by-route', (row) => row.key.join('-')),
    'by-day': await named('by-day', (row) => row.windowStart!.slice(0, 10)),
  }
}

/** Prints both sides of what people ask first; compares all rows. Counts, sums, min and max exactly. */
export function compare(ours: Answers, theirs: Answers, print: (line: string) => void): boolean {
  const mean = (row: Row) => row.sum / row.count
  const show = (title: string, measure: keyof Answers, order: (row: Row) => number, least = 0) => {
    const top = (rows: Map<string, Row>) =>
      [...rows.values()]
        .filter((row) => row.count >= least)
        .sort((a, b) => order(b) - order(a) || (a.key < b.key ? -1 : 1))
        .slice(0, 5)
    const [left, right] = [top(ours[measure]), top(theirs[measure])]
    print(`\n${title}\n  ${'millrace'.padEnd(60)}DuckDB`)
    left.forEach((row, i) => {
      print(`  ${describe(row).padEnd(60)}${right[i] === undefined ? '-' : describe(right[i])}`)
    })
  }
  const describe = (row: Row) =>
    `${row.key.padEnd(11)}${String(row.count).padStart(7)} flights  mean ${mean(row).toFixed(2).padStart(6)}  p95 ${row.p95.toFixed(1)}`

  show('busiest airports', 'by-airport', (row) => row.count)
  show('worst mean delay in minutes, by airport (1,000 flights or more)', 'by-airport', mean, 1000)
  show('worst mean delay, by route (500 flights or more)', 'by-route', mean, 500)
  show('worst mean delay, by day', 'by-day', mean)

  let wrong = 0
  let rows = 0
  for (const measure of Object.keys(theirs) as (keyof Answers)[]) {
    if (ours[measure].size !== theirs[measure].size) {
      print(`${measure}: ${ours[measure].size} keys, DuckDB has ${theirs[measure].size}`)
      wrong++
    }
    for (const [key, their] of theirs[measure]) {
      rows++
      const difference = differs(ours[measure].get(key), their)
      if (difference === undefined) continue
      if (wrong++ < 10) print(`${measure} ${key}: ${difference}`)
    }
  }
  const error = (RELATIVE_ERROR * 100).toFixed(2)
  print(
    `\n${rows} rows compared: counts, sums, min and max exactly, quantiles within ${error} %: ${wrong} differ`,
  )
  return wrong === 0
}

function differs(our: Row | undefined, their: Row): string | undefined {
  if (our === undefined) return 'is missing'
  for (const field of ['count', 'sum', 'min', 'max'] as const) {
    if (our[field] !== their[field]) return `${field} ${our[field]}, DuckDB says ${their[field]}`
  }
  for (const field of ['p50', 'p95', 'p99'] as const) {
    if (Math.abs(our[field] - their[field]) > Math.abs(their[field]) * QUANTILE_ERROR) {
      return `${field} ${our[field]}, DuckDB says ${their[field]}`
    }
  }
  return undefined
}
