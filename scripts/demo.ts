// `make demo`: three million real flights through the daemon, and the same questions put to DuckDB.
//
// The flights come from the vega-datasets package (US domestic flights, January to June 2001, from the US Bureau of
// Transportation Statistics). Exits 0 only when nothing was lost, nothing counted twice, and all answers agree.
//
// `npm run demo -- --set log.kind=kafka` (or jetstream, dual, memory) takes another log; a broker that it needs is
// started for it, unless MILLRACE_NATS or MILLRACE_KAFKA names one that is running.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Client, type Status } from '../src/client/index.ts'
import { brokersFor } from './brokers/for-kind.ts'
import { type Answers, askDuckDb, askMillrace, compare } from './demo-questions.ts'
import { reservePort } from './ports.ts'

const root = resolve(import.meta.dirname, '../..')
const entry = join(root, 'dist', 'index.js')
const flights = join(root, 'node_modules', 'vega-datasets', 'data', 'flights-3m.parquet')
const { values } = parseArgs({ options: { set: { type: 'string', multiple: true, default: [] } } })
const interactive = process.stdout.isTTY === true

const measures = [
  '{ name: by-airport, by: [subject], window: all, quantiles: true }',
  '{ name: by-route, by: [subject, attributes.destination], window: all, quantiles: true }',
  '{ name: by-day, by: [type], window: 1d, quantiles: true }',
]

interface Running {
  child: ChildProcess
  http: string
  admin: string
}

async function startDaemon(dataDir: string, more: string[]): Promise<Running> {
  const settings = [`dataDir=${dataDir}`, `measures=[${measures.join(', ')}]`, ...more]
  if (!interactive) {
    for (const door of ['http', 'grpc', 'admin'])
      settings.push(`${door}.listen=127.0.0.1:${await reservePort()}`)
  }
  const child = spawn(
    process.execPath,
    [entry, 'start', ...settings.flatMap((setting) => ['--set', setting])],
    { cwd: dataDir, stdio: ['ignore', 'inherit', 'pipe'], detached: interactive },
  )
  for await (const line of createInterface({ input: child.stderr! })) {
    const said = JSON.parse(line)
    if (said.msg === 'ready') {
      child.stderr!.resume()
      return { child, http: said.http, admin: said.admin }
    }
    if (said.level >= 50) console.error(said.msg)
  }
  throw new Error('the daemon did not start')
}

interface Summary {
  sent: number
  acked: number
  seconds: number
}

/** Replays the file with the command line, as a user would; its progress bar goes to the terminal. */
async function send(http: string): Promise<Summary> {
  const columns = ['--subject', 'origin', '--time', 'date', '--value', 'delay']
  const attributes = ['--attribute', 'destination', '--attribute', 'distance']
  const child = spawn(
    process.execPath,
    [
      entry,
      'send',
      flights,
      '--url',
      http,
      '--type',
      'flight',
      '--source',
      'bts',
      ...columns,
      ...attributes,
      '--json',
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`millrace send ended with exit code ${code}`)
  return JSON.parse(text)
}

async function caughtUp(client: Client): Promise<Status> {
  for (;;) {
    const status = await client.status()
    if (status.lag.events === 0) return status
    await wait(20)
  }
}

function verdict(summary: Summary, status: Status, equal: boolean, seconds: number): boolean {
  const lost = Math.max(0, summary.acked - status.processed.events)
  const twice = Math.max(0, status.processed.events - summary.acked)
  const parts = [
    `sent ${summary.sent}`,
    `acked ${summary.acked}`,
    `processed ${status.processed.events}`,
    `lost ${lost}`,
    `double-counted ${twice}`,
    `answers ${equal ? 'equal' : 'NOT EQUAL'}`,
    `${Math.round(summary.acked / seconds)} events/s`,
  ]
  const good = equal && lost === 0 && twice === 0 && summary.sent === summary.acked && summary.acked > 0
  console.log(`\n${good ? 'GOOD' : 'BAD'}: ${parts.join(', ')}`)
  return good
}

async function main(): Promise<number> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-demo-'))
  const { sets, stopBrokers } = await brokersFor(values.set)
  const { child, http, admin } = await startDaemon(dataDir, sets)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const stop = () => child.kill('SIGTERM')
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  try {
    console.log(`millrace is running: ${http}\nsending ${flights.slice(flights.lastIndexOf('/') + 1)}`)
    const started = performance.now()
    const summary = await send(http)
    const client = new Client({ url: http })
    const status = await caughtUp(client)
    const seconds = (performance.now() - started) / 1000
    const expected: Answers = await askDuckDb(flights)
    const equal = compare(await askMillrace(client), expected, console.log)
    await client.close()
    const good = verdict(summary, status, equal, seconds)
    if (interactive) {
      console.log(`\nThe daemon stays up until Ctrl-C: ${http}/v1/measures/by-airport/top, ${admin}/readyz`)
      await exited
    }
    return good ? 0 : 1
  } finally {
    stop()
    await exited
    await stopBrokers()
    await rm(dataDir, { recursive: true, force: true })
  }
}

process.exitCode = await main()
