// One round of a line: a fresh server under one load, and what it did.

import { Daemon } from './daemon.ts'
import { bodiesOf, EVENT_BYTES_MIN } from './events.ts'
import { generate } from './generator.ts'
import { cpuOf, processesOf, sumOf } from './processes.ts'

/** A load, and the configuration that is under it. */
export interface Line {
  name: string
  /** What this line varies; `--only` takes it as well as the name. */
  axis: string
  events: number
  connections: number
  subjects: number
  eventBytes: number
  json: boolean
  /** Over which the times of events are spread; the newest one when absent. */
  minutes?: number
  /** Requests a second for an open loop. */
  rate?: number
  /** Measured for so long at least: what comes in large steps needs more than a few of them. */
  secondsMin?: number
  /** The configuration, once what it needs is started. */
  set(): Promise<Setting>
}

/** A configuration, and the servers that belong to it. */
export interface Setting {
  sets: string[]
  /** Process ids of brokers, whose processor time is told beside the daemon's. */
  brokers: number[]
  stop(): Promise<void>
}

/** A line that needs nothing but the daemon. */
export function plain(sets: string[]): Line['set'] {
  return async () => ({ sets, brokers: [], stop: async () => {} })
}

export const measured = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}]'

/** One event, or many, of 1000 subjects under one measure with quantiles, unless told otherwise. */
export function line(name: string, axis: string, change: Partial<Line> = {}): Line {
  return {
    name,
    axis,
    events: 100,
    connections: 32,
    subjects: 1000,
    eventBytes: EVENT_BYTES_MIN,
    json: false,
    set: plain([measured]),
    ...change,
  }
}

/** How long a round waits for what is not processed at its end. */
const CAUGHT_UP_MS_MAX = 3000

export interface Round {
  requests: number
  /** Events a second. */
  accepted: number
  processed: number
  /** The lesser of both: what can go on for ever. */
  sustained: number
  /** Milliseconds. */
  p50: number
  p95: number
  p99: number
  lagEvents: number
  catchUpMs: number
  privateMb: number
  anonymousMb: number
  residentMb: number
  /** Microseconds of processor time, of the server for each event, and of the generator for each request. */
  cpuUs: number
  generatorUs: number
  /** Of one core, percent. */
  daemonCpu: number
  brokerCpu: number
  others: string
}

export interface Pace {
  /** Metrics are asked for each second. */
  scrape?: boolean
  warmupSeconds: number
  seconds: number
}

/** `tree`: where the daemon is built, this tree when absent. */
export async function daemonRound(line: Line, pace: Pace, tree?: string): Promise<Round> {
  const { sets, brokers, stop } = await line.set()
  try {
    return await roundOf(line, pace, () => Daemon.start(sets, tree), brokers)
  } finally {
    await stop()
  }
}

/** The same load on the pipeline without features. */
export function floorRound(line: Line, pace: Pace): Promise<Round> {
  return roundOf(line, pace, () => Daemon.floor(), [])
}

async function roundOf(
  line: Line,
  pace: Pace,
  start: () => Promise<Daemon>,
  brokers: number[],
): Promise<Round> {
  const bodies = bodiesOf(line) // before the server starts, which would idle meanwhile
  const daemon = await start()
  const stopScraping = pace.scrape ? daemon.scrape() : () => {}
  try {
    return await measure(line, pace, bodies, daemon, brokers)
  } finally {
    stopScraping()
    await daemon.stop()
  }
}

async function measure(
  line: Line,
  pace: Pace,
  bodies: Buffer[],
  daemon: Daemon,
  brokers: number[],
): Promise<Round> {
  const seconds = Math.max(pace.seconds, line.secondsMin ?? 0)
  const look = async () => ({
    status: await daemon.status(),
    at: performance.now(),
    cpu: cpuOf(daemon.pid),
    brokerCpu: brokers.reduce((sum, pid) => sum + cpuOf(pid), 0),
  })
  let begun = () => {}
  const measuring = new Promise<void>((resolve) => {
    begun = resolve
  })
  const loading = generate({
    url: daemon.http,
    connections: line.connections,
    bodies,
    eventsPerBody: line.events,
    warmupSeconds: pace.warmupSeconds,
    seconds,
    ...(line.rate === undefined ? {} : { rate: line.rate }),
    ...(line.json ? { contentType: 'application/json' } : {}),
    onMeasuring: begun,
  })
  await Promise.race([measuring, loading])
  const before = await look()
  await Promise.race([wait(seconds * 1000 - 100), loading])
  const after = await look()
  const processes = processesOf(daemon.pid)
  const outcome = await loading
  const catchUpMs = await daemon.caughtUp(CAUGHT_UP_MS_MAX)
  const span = (after.at - before.at) / 1000
  const processed = (after.status.processed.events - before.status.processed.events) / span
  const seen = after.status.accepted.events - before.status.accepted.events
  const accepted = outcome.events / outcome.seconds
  return {
    requests: outcome.requests / outcome.seconds,
    accepted,
    processed,
    sustained: Math.min(accepted, processed),
    p50: outcome.latency.quantile(0.5),
    p95: outcome.latency.quantile(0.95),
    p99: outcome.latency.quantile(0.99),
    lagEvents: after.status.lag.events,
    catchUpMs,
    privateMb: sumOf(processes, 'privateMb'),
    anonymousMb: sumOf(processes, 'anonymousMb'),
    residentMb: sumOf(processes, 'residentMb'),
    cpuUs: ((after.cpu - before.cpu) / seen) * 1e6,
    generatorUs: outcome.cpuUs,
    daemonCpu: ((after.cpu - before.cpu) / span) * 100,
    brokerCpu: ((after.brokerCpu - before.brokerCpu) / span) * 100,
    others: [...outcome.others].map(([status, n]) => `${n} x ${status}`).join(' '),
  }
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
