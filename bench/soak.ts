// The daemon at a part of its ceiling for a long time: memory, disk and latency have to stay where they were, and every
// acknowledged event has to be counted at the end.
//
// The measure has one window without end, and the log a budget that is full at once: what grows then is a leak.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodiesOf } from './events.ts'
import { flatness, type Look } from './flat.ts'
import { generate } from './generator.ts'
import { describeMachine, machineLine } from './machine.ts'
import { processesOf, sumOf } from './processes.ts'
import { line } from './round.ts'
import { short } from './spread.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '120' },
    /** Of the ceiling that is found at the beginning. */
    share: { type: 'string', default: '0.5' },
    /** Seconds between two looks. */
    every: { type: 'string', default: '15' },
    /** Others use the machine meanwhile: latencies are shown, and not held to anything. */
    shared: { type: 'boolean', default: false },
  },
})
const minutes = Number(values.minutes)
const every = Number(values.every)
const share = Number(values.share)

/** Until the compiled code is what it will be. */
const WARMUP_SECONDS = 60
const CEILING_SECONDS = 4
const LOG_BYTES = 256 * 2 ** 20
/** Every so many looks, one is printed. */
const PRINTED = Math.max(1, Math.round((minutes * 60) / every / 24))

const sets = [
  'measures=[{name: by-subject, by: [subject], window: all, quantiles: true}]',
  `log.retention.maxBytes=${LOG_BYTES}`,
  'cluster.listeners=2',
]

async function diskMb(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true })
  // A file may go between its name and its size: the log uses its chunks again under other names.
  const sizes = names.map((name) =>
    stat(join(folder, name)).then(
      ({ blocks }) => blocks * 512,
      () => 0,
    ),
  )
  return (await Promise.all(sizes)).reduce((sum, one) => sum + one, 0) / 2 ** 20
}

const shape = line('soak', 'soak')
const bodies = bodiesOf(shape)
const daemon = await Daemon.start(sets)
const load = { url: daemon.http, connections: shape.connections, bodies, eventsPerBody: shape.events }
let acked = 0
const run = async (seconds: number, rate?: number) => {
  const outcome = await generate({
    ...load,
    warmupSeconds: 0,
    seconds,
    ...(rate === undefined ? {} : { rate }),
  })
  if (outcome.others.size > 0) throw new Error(`refused: ${[...outcome.others].join(' ')}`)
  acked += outcome.events
  return outcome
}

try {
  console.log(machineLine(await describeMachine()))
  await run(CEILING_SECONDS)
  const ceiling = await run(CEILING_SECONDS)
  const rate = Math.round((ceiling.requests / ceiling.seconds) * share)
  console.log(
    `${minutes} minutes at ${rate} requests/s of ${shape.events} events, ${share} of the ceiling\n\n` +
      'minute  private MB  disk MB  p50 ms  p99 ms  waiting events',
  )
  const warmed = performance.now() + WARMUP_SECONDS * 1000
  // The log is to have been around once; listeners do not get the same of it, so half as much again. Where that takes long,
  // the end is no later.
  while ((acked / shape.events) * bodies[0].length < 1.5 * LOG_BYTES) {
    if (performance.now() > warmed + minutes * 30_000) {
      throw new Error(`${short(acked)} events in half of the time: too few to have filled the log`)
    }
    await daemon.caughtUp(minutes * 60_000)
    await run(CEILING_SECONDS)
  }
  await daemon.caughtUp()
  await run(Math.max(CEILING_SECONDS, (warmed - performance.now()) / 1000), rate)
  const looks: Look[] = []
  const began = performance.now()
  for (let n = 0; performance.now() < warmed + minutes * 60_000; n++) {
    const { latency } = await run(every, rate)
    const look: Look = {
      at: (performance.now() - began) / 1000,
      privateMb: sumOf(processesOf(daemon.pid), 'privateMb'),
      diskMb: await diskMb(daemon.folder),
      p50: latency.quantile(0.5),
      p99: latency.quantile(0.99),
      lagEvents: (await daemon.status()).lag.events,
    }
    looks.push(look)
    if (n % PRINTED !== 0) continue
    const columns = [look.at / 60, look.privateMb, look.diskMb, look.p50, look.p99]
    console.log([...columns.map((one) => one.toFixed(1).padStart(8)), look.lagEvents].join('  '))
  }
  await daemon.caughtUp()
  const { ratios, problems } = flatness(looks, rate * shape.events, values.shared)
  const { accepted, processed } = await daemon.status()
  const inResults = await counted()
  if (accepted.events !== processed.events || inResults !== processed.events) {
    problems.push(`${accepted.events} accepted, ${processed.events} processed, ${inResults} in the results`)
  }
  // Requests that were in flight when a part of the load ended are acknowledged and not in `acked`.
  if (processed.events < acked) problems.push(`${acked} acknowledged and ${processed.events} processed`)
  const flat = Object.entries(ratios).map(([name, ratio]) => `${name} ${ratio.toFixed(2)}`)
  console.log(`\nlast third over first: ${flat.join(', ')}; ${short(processed.events)} events processed`)
  for (const problem of problems) console.log(`NOT FLAT: ${problem}`)
  process.exitCode = problems.length === 0 ? 0 : 1
} finally {
  await daemon.stop()
}

/** Counted by the measure, over all its keys. */
async function counted(): Promise<number> {
  const answer = await fetch(`${daemon.http}/v1/measures/by-subject/top?by=count&limit=${shape.subjects}`)
  const { rows } = (await answer.json()) as { rows: { count: number }[] }
  return rows.reduce((sum, { count }) => sum + count, 0)
}
