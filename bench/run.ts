// `make bench`: what the started daemon does on this machine, with the generator on the same cores.
//
// Each line is a fresh daemon. Rounds of all lines alternate, and the median of a line's rounds is printed with its
// least and greatest, since machines are noisy.

import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { cpuOf, processesOf } from './processes.ts'
import { queryableAfterAck } from './queryable.ts'
import { type Line, median, plain, table } from './round.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const IDLE_SECONDS = 10

const measured = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}]'
const noQuantiles = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: false}]'
const none = 'measures=[]'
const memory = 'log.kind=memory'

const one = (name: string, ...sets: string[]): Line => {
  return { name, events: 1, connections: 256, padding: 100, set: plain(sets) }
}
const many = (name: string, events: number, connections: number, ...sets: string[]): Line => {
  return { name, events, connections, padding: 0, set: plain(sets) }
}
const lines = [
  one('1 event', measured),
  many('100 events', 100, 32, measured),
  many('500 events', 500, 16, measured),
  many('100 events, no quantiles', 100, 32, noQuantiles),
  many('100 events, no measure', 100, 32, none),
  one('1 event, memory log', measured, memory),
  many('100 events, memory log', 100, 32, measured, memory),
].filter((line) => values.only === undefined || line.name === values.only)

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

const results = await table(lines, rounds, seconds)
const hundred = results.get('100 events')
if (hundred !== undefined && hundred.length > 0) {
  const half = median(hundred.map(({ requests }) => requests)) / 2
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
