// `make bench`: what the started daemon does on this machine, with the generator on the same cores.
//
// Each line is a fresh daemon. Rounds of all lines alternate, and the median of a line's rounds is printed with its
// least and greatest, since machines are noisy.

import { cpus, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodies } from './events.ts'
import { generate } from './generator.ts'
import { cpuOf, processesOf } from './processes.ts'
import { queryableAfterAck } from './queryable.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const SUBJECTS = 1000
const IDLE_SECONDS = 10

interface Line {
  name: string
  events: number
  connections: number
  padding: number
  sets: string[]
}
interface Round {
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
  others: string
}

const measured = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}]'
const plain = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: false}]'
const none = 'measures=[]'
const lines: Line[] = [
  { name: '1 event', events: 1, connections: 256, padding: 100, sets: [measured] },
  { name: '100 events', events: 100, connections: 32, padding: 0, sets: [measured] },
  { name: '500 events', events: 500, connections: 16, padding: 0, sets: [measured] },
  { name: '100 events, no quantiles', events: 100, connections: 32, padding: 0, sets: [plain] },
  { name: '100 events, no measure', events: 100, connections: 32, padding: 0, sets: [none] },
  {
    name: '1 event, memory log',
    events: 1,
    connections: 256,
    padding: 100,
    sets: [measured, 'log.kind=memory'],
  },
  {
    name: '100 events, memory log',
    events: 100,
    connections: 32,
    padding: 0,
    sets: [measured, 'log.kind=memory'],
  },
].filter((line) => values.only === undefined || line.name === values.only)

async function round(line: Line): Promise<Round> {
  const daemon = await Daemon.start(line.sets)
  try {
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
    const before = { status: await daemon.status(), at: performance.now(), cpu: cpuOf(daemon.pid) }
    await new Promise((resolve) => setTimeout(resolve, (seconds - 0.5) * 1000))
    const after = { status: await daemon.status(), at: performance.now(), cpu: cpuOf(daemon.pid) }
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
      others: [...outcome.others].map(([status, n]) => `${n} x ${status}`).join(' '),
    }
  } finally {
    await daemon.stop()
  }
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function spread(all: Round[], field: Exclude<keyof Round, 'others'>, digits = 1): string {
  const numbers = all.map((one) => one[field])
  const show = (n: number) => (n >= 10_000 ? `${Math.round(n / 1000)}k` : n.toFixed(n >= 100 ? 0 : digits))
  return `${show(median(numbers))} (${show(Math.min(...numbers))}-${show(Math.max(...numbers))})`
}

async function table(): Promise<Map<string, Round[]>> {
  const results = new Map<string, Round[]>(lines.map((line) => [line.name, []]))
  for (let n = 0; n < rounds; n++) {
    for (const line of lines) results.get(line.name)!.push(await round(line))
  }
  console.log(
    '| line | requests/s | events/s acked | events/s processed | ack p50 ms | p95 | p99 | lag, events | catch-up ms | private MB | resident MB | CPU us/event | refused |',
  )
  console.log(`|${'---|'.repeat(13)}`)
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
      all
        .map((one) => one.others)
        .join(' ')
        .trim() || '-',
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
  return results
}

async function idle(): Promise<void> {
  const daemon = await Daemon.start([measured])
  try {
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const before = cpuOf(daemon.pid)
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000))
    const percent = ((cpuOf(daemon.pid) - before) / IDLE_SECONDS) * 100
    const processes = processesOf(daemon.pid)
    const mb = processes.map((process) => process.residentMb.toFixed(0)).join(', ')
    console.log(
      `\nidle: ${percent.toFixed(1)} % of one core over ${IDLE_SECONDS} s; resident MB of each process: ${mb}`,
    )
  } finally {
    await daemon.stop()
  }
}

console.log(
  `Node ${process.versions.node}, ${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB; ` +
    `${rounds} rounds of ${seconds} s, median (least-greatest); generator on the same cores\n`,
)
const results = await table()
const hundred = results.get('100 events')
if (hundred !== undefined && hundred.length > 0) {
  const half = median(hundred.map((one) => one.requests)) / 2
  const daemon = await Daemon.start([measured])
  try {
    console.log(
      `\nack to queryable, 100 events a request at ${Math.round(half)} requests/s (half): ${await queryableAfterAck(daemon.http, half, seconds)}`,
    )
  } finally {
    await daemon.stop()
  }
}
await idle()
