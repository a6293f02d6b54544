// The examples on three million real flights, compared with DuckDB.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { DuckDBInstance } from '@duckdb/node-api'
import { getResult, listResults } from '../../src/results/handler-results.ts'
import { openStore } from '../../src/results/store.ts'
import { Daemon, entry, root } from './daemon.ts'

const data = join(root, 'node_modules', 'vega-datasets', 'data')
const flights = join(data, 'flights-3m.parquet')
const columns = [
  '--type',
  'flight',
  '--source',
  'bts',
  '--subject',
  'origin',
  '--time',
  'date',
  '--value',
  'delay',
]

interface Row {
  key: string[]
  windowStart: string | null
  count: number
  sum: number
}

test('the examples come to what DuckDB says', async (t) => {
  const handlers = ['alerts', 'enrich'].map((name) => join(root, 'examples', `${name}.mjs`))
  const daemon = await Daemon.start(t, {
    config: { handlers, measures: [], log: { retention: { maxBytes: '512MiB' } } },
  })
  const words = [
    entry,
    'send',
    flights,
    ...columns,
    '--attribute',
    'destination',
    '--url',
    daemon.http,
    '--json',
  ]
  const { stdout } = await promisify(execFile)(process.execPath, words)
  await daemon.processed(JSON.parse(stdout).acked, 120_000)

  const rows = async (measure: string): Promise<Row[]> => {
    const all: Row[] = []
    for (let cursor: string | undefined = ''; cursor !== undefined; ) {
      const answer = await daemon.get(`/v1/measures/${measure}?limit=10000${cursor && `&cursor=${cursor}`}`)
      all.push(...answer.rows)
      cursor = answer.cursor
    }
    return all
  }
  const told = (all: Row[]) =>
    all.map(({ key, windowStart, count, sum }) => `${key.join('/')} ${windowStart} ${count} ${sum}`).sort()
  const late = told(await rows('late-flights'))
  const byState = told(await rows('delays-by-state'))
  const { handlers: counts } = (await daemon.status()) as unknown as { handlers: unknown[] }
  await daemon.stop()

  const database = await (await DuckDBInstance.create()).connect()
  const ask = async (sql: string) => (await database.runAndReadAll(sql)).getRows().map(String).sort()
  assert.deepEqual(
    late,
    await ask(`
      SELECT origin || '/' || destination || ' ' || strftime(date_trunc('day', date), '%Y-%m-%dT00:00:00.000Z')
        || ' ' || count(*) || ' ' || sum(delay)
      FROM '${flights}' WHERE delay >= 120 GROUP BY origin, destination, date_trunc('day', date)`),
  )
  const airports = `read_csv('${join(data, 'airports.csv')}', all_varchar = true)`
  assert.deepEqual(
    byState,
    await ask(`
      SELECT state || '/' || city || ' null ' || count(*) || ' ' || sum(delay)
      FROM '${flights}' JOIN ${airports} ON origin = iata WHERE delay IS NOT NULL GROUP BY state, city`),
  )
  const [unknown] = await ask(
    `SELECT count(*) FROM '${flights}' WHERE origin NOT IN (SELECT iata FROM ${airports})`,
  )
  const [lines] = await ask(`SELECT count(*) FROM '${flights}'`)
  const dropped = unknown === '0' ? {} : { 'unknown airport': Number(unknown) }
  assert.deepEqual(counts, [
    { name: 'alerts', handled: Number(lines), dropped: {}, deadLettered: 0 },
    { name: 'enrich', handled: Number(lines) - Number(unknown), dropped, deadLettered: 0 },
  ])

  // A result is the last late flight of its route in the log, which is one of them.
  const store = await openStore(daemon.dataDir, 0, { readOnly: true })
  t.after(() => store.close())
  const snapshot = store.snapshot()
  const { results } = listResults(snapshot, { prefix: 'late/', limit: 100_000 })!
  snapshot.done()
  const routes = await ask(
    `SELECT DISTINCT 'late/' || origin || '-' || destination FROM '${flights}' WHERE delay >= 120`,
  )
  assert.deepEqual(
    results.map(({ key }) => key),
    routes,
  )
  const one = getResult(store, routes[0])!
  const { delay, departure } = JSON.parse(one.bytes.toString())
  const [origin, destination] = routes[0].slice('late/'.length).split('-')
  const [found] = await ask(`
    SELECT count(*) > 0 FROM '${flights}' WHERE origin = '${origin}' AND destination = '${destination}'
      AND delay = ${delay} AND strftime(date, '%Y-%m-%dT%H:%M') = '${departure.slice(0, 16)}'`)
  assert.equal(found, 'true')
})

test('check shows what the examples would do', async () => {
  const words = [
    entry,
    'check',
    'examples/flights.yaml',
    '--events',
    flights,
    ...columns,
    '--attribute',
    'destination',
  ]
  const { stdout } = await promisify(execFile)(process.execPath, [...words, '--show', '3'], { cwd: root })
  assert.match(stdout, /^row 1 {2}alerts$/m)
  assert.match(stdout, /^ {2}measure delays-by-state \["[A-Z]{2}","[^"]+"\] {2}count 1 {2}sum -?\d+$/m)
  assert.match(stdout, /^# enrich: of 3000000 events /m)
})
