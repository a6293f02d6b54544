// One line of a bench: a fresh daemon under one load, what it did, and the table of all lines.

import { cpus, totalmem } from 'node:os'
import { Daemon } from './daemon.ts'
import { bodies } from './events.ts'
import { generate } from './generator.ts'
import { cpuOf, processesOf } from './processes.ts'

const SUBJECTS = 1000

export interface Line {
  name: string
  events: number
  connections: number
  padding: number
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

export interface Round {
  requests: number
  accepted: number
  processed: number
  p50: number
  p95: number
  p99: number
  lagEvents: number
  catchUpMs: number
  privateMb: number
  residentMb: number
  cpuUs: number
  /** Of one core, percent. */
  daemonCpu: number
  brokerCpu: number
  others: string
}

async function round(line: Line, seconds: number): Promise<Round> {
  const { sets, brokers, stop } = await line.set()
  try {
    const daemon = await Daemon.start(sets)
    try {
      return await measure(line, daemon, brokers, seconds)
    } finally {
      await daemon.stop()
    }
  } finally {
    await stop()
  }
}

async function measure(line: Line, daemon: Daemon, brokers: number[], seconds: number): Promise<Round> {
  const look = async () => ({
    status: await daemon.status(),
    at: performance.now(),
    cpu: cpuOf(daemon.pid),
    brokerCpu: brokers.reduce((sum, pid) => sum + cpuOf(pid), 0),
  })
  const sent = bodies(line.events, SUBJECTS, line.padding)
  const loading = generate({
    url: daemon.http,
    connections: line.connections,
    bodies: sent,
    eventsPerBody: line.events,
    warmupSeconds: 2,
    seconds,
  })
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = await look()
  await new Promise((resolve) => setTimeout(resolve, (seconds - 0.5) * 1000))
  const after = await look()
  const processes = processesOf(daemon.pid)
  const outcome = await loading
  const catchUpMs = await daemon.caughtUp()
  const span = (after.at - before.at) / 1000
  const processed = after.status.processed.events - before.status.processed.events
  const accepted = after.status.accepted.events - before.status.accepted.events
  return {
    requests: outcome.requests / outcome.seconds,
    accepted: outcome.events / outcome.seconds,
    processed: processed / span,
    p50: outcome.latency.quantile(0.5),
    p95: outcome.latency.quantile(0.95),
    p99: outcome.latency.quantile(0.99),
    lagEvents: after.status.lag.events,
    catchUpMs,
    privateMb: processes.reduce((sum, process) => sum + process.privateMb, 0),
    residentMb: processes.reduce((sum, process) => sum + process.residentMb, 0),
    cpuUs: ((after.cpu - before.cpu) / accepted) * 1e6,
    daemonCpu: ((after.cpu - before.cpu) / span) * 100,
    brokerCpu: ((after.brokerCpu - before.brokerCpu) / span) * 100,
    others: [...outcome.others].map(([status, n]) => `${n} x ${status}`).join(' '),
  }
}

export function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function spread(all: Round[], field: Exclude<keyof Round, 'others'>, digits = 1): string {
  const numbers = all.map((one) => one[field])
  const show = (n: number) => (n >= 10_000 ? `${Math.round(n / 1000)}k` : n.toFixed(n >= 100 ? 0 : digits))
  return `${show(median(numbers))} (${show(Math.min(...numbers))}-${show(Math.max(...numbers))})`
}

/** Alternates rounds of all lines, and prints the medians. */
export async function table(lines: Line[], rounds: number, seconds: number): Promise<Map<string, Round[]>> {
  console.log(
    `Node ${process.versions.node}, ${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB; ` +
      `${rounds} rounds of ${seconds} s, median (least-greatest); generator on the same cores\n`,
  )
  const results = new Map<string, Round[]>(lines.map((line) => [line.name, []]))
  for (let n = 0; n < rounds; n++) {
    for (const line of lines) results.get(line.name)!.push(await round(line, seconds))
  }
  console.log(
    '| line | requests/s | events/s acked | events/s processed | ack p50 ms | p95 | p99 | lag, events | catch-up ms | private MB | resident MB | CPU us/event | daemon CPU % | broker CPU % | refused |',
  )
  console.log(`|${'---|'.repeat(15)}`)
  for (const [name, all] of results) {
    const cells = [
      name,
      spread(all, 'requests'),
      spread(all, 'accepted'),
      spread(all, 'processed'),
      spread(all, 'p50'),
      spread(all, 'p95'),
      spread(all, 'p99'),
      spread(all, 'lagEvents', 0),
      spread(all, 'catchUpMs', 0),
      spread(all, 'privateMb', 0),
      spread(all, 'residentMb', 0),
      spread(all, 'cpuUs', 2),
      spread(all, 'daemonCpu', 0),
      spread(all, 'brokerCpu', 0),
      all
        .map((one) => one.others)
        .join(' ')
        .trim() || '-',
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  return results
}
