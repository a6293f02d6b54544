// `make bench`: what the started daemon does on this machine, with the generator on the same cores, and beside it the
// floor, a pipeline without features. docs/performance.md says how to read it.

import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { type CatchUp, catchUp } from './catchup.ts'
import { Daemon } from './daemon.ts'
import { describeMachine, machineLine } from './machine.ts'
import { chosen } from './matrix.ts'
import { cpuOf, processesOf } from './processes.ts'
import { queryableAfterAck } from './queryable.ts'
import { measured } from './round.ts'
import { median, short, spread } from './spread.ts'
import { methodLine, resultTable, runLines } from './table.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2.5' },
    warmup: { type: 'string', default: '1.5' },
    rounds: { type: 'string', default: '3' },
    /** A line's name or an axis; may come more than once. Also: catch-up, queryable, idle. */
    only: { type: 'string', multiple: true },
    'no-floor': { type: 'boolean', default: false },
    /** A file for everything that was measured. */
    json: { type: 'string' },
  },
})
const options = {
  seconds: Number(values.seconds),
  warmupSeconds: Number(values.warmup),
  rounds: Number(values.rounds),
  floor: !values['no-floor'],
}
const IDLE_SECONDS = 10
const BACKLOG_SECONDS = 4
/** Requests a second of 100 events for ack to queryable, where the line that tells the half was not run. */
const HALF_DEFAULT = 8000

const extras = ['catch-up', 'queryable', 'idle'] as const
const names = values.only?.filter((name) => !(extras as readonly string[]).includes(name))
const wanted = (extra: (typeof extras)[number]) => values.only === undefined || values.only.includes(extra)

async function idle(): Promise<string> {
  const daemon = await Daemon.start([measured])
  try {
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const before = cpuOf(daemon.pid)
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000))
    const percent = ((cpuOf(daemon.pid) - before) / IDLE_SECONDS) * 100
    const mb = processesOf(daemon.pid).map((process) => process.privateMb)
    const total = mb.reduce((sum, one) => sum + one, 0)
    return `${percent.toFixed(1)} % of one core over ${IDLE_SECONDS} s; private MB ${total.toFixed(0)} (${mb.map((one) => one.toFixed(0)).join(' + ')})`
  } finally {
    await daemon.stop()
  }
}

async function queryable(half: number): Promise<string> {
  const daemon = await Daemon.start([measured])
  try {
    return await queryableAfterAck(daemon.http, half, Math.max(5, options.seconds))
  } finally {
    await daemon.stop()
  }
}

const lines = names?.length === 0 ? [] : chosen(names)
const machine = await describeMachine()
console.log(`${machineLine(machine)}\n${methodLine(options)}\n`)
const results = await runLines(lines, options)
if (results.length > 0) console.log(resultTable(results))

const notes: Record<string, string> = {}
const caughtUp: CatchUp[] = []
if (wanted('catch-up')) {
  for (let n = 0; n < options.rounds; n++) caughtUp.push(await catchUp(BACKLOG_SECONDS))
  const backlog = short(median(caughtUp.map((one) => one.backlog)))
  notes['catch-up'] =
    `${spread(caughtUp.map((one) => one.eventsPerSecond))} events/s of a backlog of ${backlog}, nothing coming in`
}
if (wanted('queryable')) {
  const hundred = results.find(({ line }) => line.name === '100 events')
  const half =
    hundred === undefined ? HALF_DEFAULT : median(hundred.rounds.map(({ requests }) => requests)) / 2
  notes['ack to queryable'] =
    `100 events a request at ${Math.round(half)} requests/s (half): ${await queryable(half)}`
}
if (wanted('idle')) notes.idle = await idle()
for (const [name, said] of Object.entries(notes)) console.log(`\n${name}: ${said}`)
if (values.json !== undefined) {
  await writeFile(
    values.json,
    `${JSON.stringify({ machine, options, results, caughtUp, notes }, undefined, 1)}\n`,
  )
}
