// How throughput and memory grow: with cores, with keys, with windows that are kept, with a store larger than memory, and
// with a backlog. docs/performance.md has the table.

import { execFileSync } from 'node:child_process'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodiesOf } from './events.ts'
import { generate, type Outcome } from './generator.ts'
import { describeMachine, machineLine } from './machine.ts'
import { cpuOf, processesOf, sumOf } from './processes.ts'
import { type Line, line, measured } from './round.ts'
import { markdown, median, short } from './spread.ts'

const parts = ['cores', 'keys', 'windows', 'memory', 'backlog'] as const
const { values } = parseArgs({
  options: {
    /** Of `parts`; may come more than once. */
    only: { type: 'string', multiple: true },
    /** The most keys. */
    keys: { type: 'string', default: '10000000' },
    /** What the daemon may have for "memory", its page cache included. */
    megabytes: { type: 'string', default: '1024' },
    /** Events that wait, for "backlog". */
    backlog: { type: 'string', default: '100000000' },
  },
})
const wanted = (part: (typeof parts)[number]) => values.only === undefined || values.only.includes(part)

const SECONDS_MAX = 300
const SECONDS = 5
const QUERIES = 50
/** Few events a request would measure the generator. */
const EVENTS = 500

function load(daemon: Daemon, shape: Line, events: number): Promise<Outcome> {
  return generate({
    url: daemon.http,
    connections: shape.connections,
    bodies: bodiesOf(shape),
    eventsPerBody: shape.events,
    warmupSeconds: 0,
    seconds: SECONDS_MAX,
    requestsMax: Math.ceil(events / shape.events),
  })
}

/** Sends so many events and waits until all of them are processed: events a second over all of that. */
async function processed(daemon: Daemon, shape: Line, events: number): Promise<number> {
  const before = (await daemon.status()).processed.events
  const started = performance.now()
  const outcome = await load(daemon, shape, events)
  await daemon.caughtUp()
  const seconds = (performance.now() - started) / 1000
  if (outcome.others.size > 0) console.error(`refused meanwhile: ${[...outcome.others].join(' ')}`)
  return ((await daemon.status()).processed.events - before) / seconds
}

const MEMORY = ['private MB', 'of it anonymous, MB']

/** For the columns of MEMORY. */
function memoryOf(daemon: Daemon): string[] {
  const processes = processesOf(daemon.pid)
  return (['privateMb', 'anonymousMb'] as const).map((field) => sumOf(processes, field).toFixed(0))
}

/** What the files of the results take on disk, megabytes. */
function storeMb(daemon: Daemon): number {
  return Number(execFileSync('du', ['-sm', `${daemon.folder}/results`], { encoding: 'utf8' }).split('\t')[0])
}

/** Milliseconds of one query, the median of many of different keys. */
async function queryMs(daemon: Daemon, subjects: number, search = ''): Promise<number> {
  const took: number[] = []
  for (let n = 0; n < QUERIES; n++) {
    const started = performance.now()
    const key = `s${(n * 104_729) % subjects}`
    const answer = await fetch(`${daemon.http}/v1/measures/by-subject?key=${key}${search}`)
    if (((await answer.json()) as { rows: unknown[] }).rows.length === 0) throw new Error(`no rows of ${key}`)
    took.push(performance.now() - started)
  }
  return median(took)
}

/** The daemon on the first core alone, with the generator on the second; then both on both. */
async function cores(): Promise<string> {
  const rows: string[][] = []
  const shape = line('cores', 'cores')
  for (const [name, ours, theirs] of [
    ['1, generator on another', '0', '1'],
    [`${availableParallelism()}, generator on the same`, '0-1', '0-1'],
  ] as const) {
    const all = `0-${availableParallelism() - 1}`
    const daemon = await Daemon.start([measured], undefined, ['taskset', '-c', ours])
    try {
      execFileSync('taskset', ['-a', '-p', '-c', theirs, `${process.pid}`], { stdio: 'ignore' })
      await processed(daemon, shape, 3_000_000)
      const cpu = cpuOf(daemon.pid)
      const before = (await daemon.status()).processed.events
      const outcome = await load(daemon, shape, 1_500_000 * SECONDS)
      await daemon.caughtUp()
      const events = (await daemon.status()).processed.events - before
      const us = ((cpuOf(daemon.pid) - cpu) / events) * 1e6
      rows.push([
        name,
        short(outcome.events / outcome.seconds),
        outcome.latency.quantile(0.99).toFixed(1),
        us.toFixed(2),
        ...memoryOf(daemon),
      ])
    } finally {
      execFileSync('taskset', ['-a', '-p', '-c', all, `${process.pid}`], { stdio: 'ignore' })
      await daemon.stop()
    }
  }
  return markdown(['cores', 'events/s', 'ack p99 ms', 'CPU us/event', ...MEMORY], rows)
}

async function keys(most: number): Promise<string> {
  const rows: string[][] = []
  for (let subjects = 1000; subjects <= most; subjects *= 10) {
    const shape = line('keys', 'keys', { subjects, events: EVENTS, connections: 16 })
    const daemon = await Daemon.start([measured])
    try {
      const first = await processed(daemon, shape, Math.max(subjects, 2_000_000))
      const again = await processed(daemon, shape, Math.max(subjects, 2_000_000))
      rows.push([
        short(subjects, 0),
        short(first),
        short(again),
        ...memoryOf(daemon),
        `${storeMb(daemon)}`,
        (await queryMs(daemon, subjects)).toFixed(2),
      ])
      console.error(`${subjects} keys: ${rows.at(-1)?.join(' ')}`)
    } finally {
      await daemon.stop()
    }
  }
  return markdown(
    ['keys', 'first time, events/s', 'again, events/s', ...MEMORY, 'store MB', 'query ms'],
    rows,
  )
}

async function windows(): Promise<string> {
  const rows: string[][] = []
  const subjects = 1000
  for (const minutes of [1, 60, 1440]) {
    const shape = line('windows', 'windows', { subjects, minutes, events: EVENTS, connections: 16 })
    const daemon = await Daemon.start([measured])
    try {
      const events = Math.max(subjects * minutes, 2_000_000)
      const first = await processed(daemon, shape, events)
      const again = await processed(daemon, shape, events)
      const started = performance.now()
      await (await fetch(`${daemon.http}/v1/measures/by-subject/top?limit=10`)).json()
      const topMs = performance.now() - started
      rows.push([
        `${minutes}`,
        short(first),
        short(again),
        ...memoryOf(daemon),
        `${storeMb(daemon)}`,
        (await queryMs(daemon, subjects, '&limit=10')).toFixed(2),
        (await queryMs(daemon, subjects, '&merge=true')).toFixed(2),
        topMs.toFixed(0),
      ])
      console.error(`${minutes} windows: ${rows.at(-1)?.join(' ')}`)
    } finally {
      await daemon.stop()
    }
  }
  return markdown(
    [
      'windows of 1000 keys',
      'first time, events/s',
      'again, events/s',
      ...MEMORY,
      'store MB',
      'query of 10 rows, ms',
      'of a key merged, ms',
      'top of all, ms',
    ],
    rows,
  )
}

/** Under a limit of memory (a control group of version 1; needs root): pages of the store have to come from the disk. */
async function memory(megabytes: number, subjects: number): Promise<string> {
  const group = `/sys/fs/cgroup/memory/millrace-${process.pid}`
  await mkdir(group)
  const shape = line('memory', 'memory', { subjects, events: EVENTS, connections: 16 })
  const rows: string[][] = []
  try {
    for (const limit of [undefined, megabytes]) {
      await writeFile(`${group}/memory.limit_in_bytes`, limit === undefined ? '-1' : `${limit}M`)
      const into = ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$0" "$@"`]
      const daemon = await Daemon.start([measured], undefined, into)
      try {
        const first = await processed(daemon, shape, subjects)
        const again = await processed(daemon, shape, subjects)
        rows.push([
          limit === undefined ? 'all' : `${limit} MB`,
          `${storeMb(daemon)}`,
          short(first),
          short(again),
          ...memoryOf(daemon),
          (await queryMs(daemon, subjects)).toFixed(2),
        ])
        console.error(`memory ${limit}: ${rows.at(-1)?.join(' ')}`)
      } finally {
        await daemon.stop()
      }
    }
  } finally {
    await rmdir(group)
  }
  return markdown(
    ['memory', 'store MB', 'first time, events/s', 'again, events/s', ...MEMORY, 'query ms'],
    rows,
  )
}

/** The processor is stopped while events come in, then let go. */
async function backlog(events: number): Promise<string> {
  const shape = line('backlog', 'backlog', { events: EVENTS, connections: 16 })
  const daemon = await Daemon.start([measured, 'log.retention.maxBytes=20GiB'])
  try {
    await processed(daemon, shape, 2_000_000)
    const processor = (await daemon.status()).roles?.find(({ role }) => role === 'processor')
    if (processor === undefined) throw new Error('the status names no processor')
    process.kill(processor.pid, 'SIGSTOP')
    const outcome = await load(daemon, shape, events)
    const { lag } = await daemon.status()
    process.kill(processor.pid, 'SIGCONT')
    const took = (await daemon.caughtUp()) / 1000
    const columns = [
      short(lag.events),
      (lag.bytes / 2 ** 30).toFixed(1),
      short(outcome.events / outcome.seconds),
      took.toFixed(1),
      short(lag.events / took),
      ...memoryOf(daemon),
    ]
    return markdown(
      ['events that wait', 'GiB', 'taken in at, events/s', 'seconds to catch up', 'events/s', ...MEMORY],
      [columns],
    )
  } finally {
    await daemon.stop()
  }
}

console.log(machineLine(await describeMachine()))
if (wanted('cores')) console.log(`\n${await cores()}`)
if (wanted('keys')) console.log(`\n${await keys(Number(values.keys))}`)
if (wanted('windows')) console.log(`\n${await windows()}`)
if (wanted('memory')) console.log(`\n${await memory(Number(values.megabytes), Number(values.keys))}`)
if (wanted('backlog')) console.log(`\n${await backlog(Number(values.backlog))}`)
