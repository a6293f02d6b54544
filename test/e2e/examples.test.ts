// The examples on three million real flights, compared with DuckDB.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { DuckDBInstance } from '@duckdb/node-api'
import { getResult, listResults } from '../../src/results/handler-results.ts'
import { openStore } from '../../src/results/store.ts'
import { Daemon, entry, root, temporaryFolder } from './daemon.ts'

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

/** A daemon with these handlers that has all flights. */
async function withFlights(t: TestContext, names: string[], env: Record<string, string>) {
  const handlers = names.map((name) => join(root, 'examples', `${name}.mjs`))
  const log = { retention: { maxBytes: '512MiB' } }
  const daemon = await Daemon.start(t, { config: { handlers, measures: [], log }, env })
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
  await daemon.processed(JSON.parse(stdout).acked, 600_000)
  return daemon
}

async function rowsOf(daemon: Daemon, measure: string): Promise<string[]> {
  const all: Row[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const answer = await daemon.get(`/v1/measures/${measure}?limit=10000${cursor && `&cursor=${cursor}`}`)
    all.push(...answer.rows)
    cursor = answer.cursor
  }
  return all
    .map(({ key, windowStart, count, sum }) => `${key.join('/')} ${windowStart} ${count} ${sum}`)
    .sort()
}

async function duckDb() {
  const database = await (await DuckDBInstance.create()).connect()
  return async (sql: string) => (await database.runAndReadAll(sql)).getRows().map(String).sort()
}

/** Of each route with 30 flights, beyond which delay it breaks out. */
const usual = `
  SELECT origin, destination, ceil(mean + 3 * sqrt(greatest(0, squares / flights - mean * mean)))::BIGINT AS usual FROM (
    SELECT origin, destination, count(*)::DOUBLE AS flights, sum(delay)::DOUBLE / count(*) AS mean,
      sum(delay::BIGINT * delay)::DOUBLE AS squares
    FROM '${flights}' GROUP BY origin, destination HAVING count(*) >= 30)`

test('the examples come to what DuckDB says, and flights are judged by the table that is made of it', async (t) => {
  const folder = await temporaryFolder(t)
  const table = join(folder, 'baselines.json')
  const first = await withFlights(t, ['alerts', 'enrich'], { BASELINES: table })
  const byState = await rowsOf(first, 'delays-by-state')
  assert.deepEqual(
    await rowsOf(first, 'break-outs'),
    [],
    'nothing is judged before it is known what is usual',
  )
  const { handlers: counts } = (await first.status()) as unknown as { handlers: unknown[] }
  const script = join(root, 'examples', 'baselines.mjs')
  const { stdout } = await promisify(execFile)(process.execPath, [script, first.http])
  await writeFile(table, stdout)
  await first.stop()

  const ask = await duckDb()
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
  const baselines = Object.entries(JSON.parse(stdout)).map(([route, minutes]) => `${route} ${minutes}`)
  assert.ok(baselines.length > 100, `${baselines.length} routes`)
  assert.deepEqual(
    baselines.sort(),
    await ask(`SELECT origin || '-' || destination || ' ' || usual FROM (${usual})`),
  )

  const second = await withFlights(t, ['alerts'], { BASELINES: table })
  const breakOuts = await rowsOf(second, 'break-outs')
  await second.stop()
  assert.deepEqual(
    breakOuts,
    await ask(`
      SELECT origin || '/' || destination || ' ' || strftime(date_trunc('day', date), '%Y-%m-%dT00:00:00.000Z')
        || ' ' || count(*) || ' ' || sum(delay)
      FROM '${flights}' JOIN (${usual}) USING (origin, destination) WHERE delay > usual
      GROUP BY origin, destination, date_trunc('day', date)`),
  )
  // A result is the last such flight of its route in the log, which is one of them.
  const store = await openStore(second.dataDir, 0, { readOnly: true })
  t.after(() => store.close())
  const snapshot = store.snapshot()
  const { results } = listResults(snapshot, { prefix: 'break-out/', limit: 100_000 })!
  snapshot.done()
  const routes = await ask(`
    SELECT DISTINCT 'break-out/' || origin || '-' || destination
    FROM '${flights}' JOIN (${usual}) USING (origin, destination) WHERE delay > usual`)
  assert.deepEqual(
    results.map(({ key }) => key),
    routes,
  )
  const one = getResult(store, routes[0])!
  const { delay, departure } = JSON.parse(one.bytes.toString())
  const [origin, destination] = routes[0].slice('break-out/'.length).split('-')
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
