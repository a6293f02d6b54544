// The tables of the side by side, and the ratios within one class of durability.

import { cpus, totalmem } from 'node:os'
import type { Shape, System } from './load.ts'

/** One load of one round. */
export interface Measured {
  /** Events. */
  acked: number
  /** Events a second, acked and processed; latencies in milliseconds. */
  rate: number
  processed: number | undefined
  p50: number
  p99: number
  /** Of all processes together. */
  privateMb: number
  /** Processor time of all processes for each event. */
  cpuUs: number
  refused: number
}

export interface Report {
  shapes: Shape[]
  results: Map<System, Map<Shape, Measured[]>>
  leftOut: Map<System, string>
  rounds: number
  seconds: number
}

/** Times the best peer that syncs as well. */
const TARGETS = new Map([
  ['1 64', 2],
  ['1 256', 3],
  ['100 64', 12],
])

const NOTES = `
- \`fsync\`: an ack means that the event is flushed to disk. \`write\`: it is with the operating system and would be lost
  in a power cut. Ratios compare within one class only.
- millrace also processes: while it takes the events it folds them into counts, sums and quantiles by key that can be
  queried (column processed), within the processor time and memory shown. The peers only store: their events cannot be
  queried as aggregates, and what a consumer would cost comes on top. The exception is "with sums by key": the thread that
  commits decodes the events (protobufjs), and keeps count, sum, least and greatest for each subject and minute in the
  same transactions; no quantiles.
- An event takes about 175 bytes. Peers get the same bytes as millrace. Their consumers need single events, so of a request
  with 100 they make 100 stream entries, rows or messages, by splitting the body without decoding (a JSON array costs
  more); "whole bodies" is what they do when they leave that to their consumers: one entry of 17.5 kB a request.
- Group commit for all: requests that wait share one script call, transaction or segment.
- Fastify runs a process for each core before Redis, reached by a Unix socket; before SQLite it is one with a thread that commits.
- NATS is published to without HTTP, from the process of the load itself, whose processor time and memory are not
  counted, as the load generator's are not for the others. It keeps no identities for duplicates here.
- Redis keeps its streams in memory, so its memory grows with what it was sent in the run.
- millrace on NATS: \`log.kind=jetstream\`, the server with its default sync; processor time and memory with the server's.`

export function printTables(report: Report): void {
  const machine = `${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB`
  const { rounds, seconds } = report
  console.log(
    `Node ${process.versions.node}, ${machine}; ${rounds} rounds of ${seconds} s after a warm-up, median (least-greatest); ` +
      'the load comes from the same cores',
  )
  for (const shape of report.shapes) printTable(report, shape)
  printRatios(report)
  for (const [system, reason] of report.leftOut) console.log(`\nLeft out: ${system.name}: ${reason}`)
  console.log(NOTES)
}

/** Lines of one load. Whole bodies are for peers: millrace takes the same load, whatever they store. */
function linesOf({ results, shapes }: Report, shape: Shape): Line[] {
  const same = shapes.find(({ events, connections }) => {
    return events === shape.events && connections === shape.connections
  })!
  return [...results].flatMap(([system, byShape]) => {
    const all = byShape.get(system.processes ? same : shape) ?? []
    return all.length === 0 ? [] : [[system, all] as Line]
  })
}

const title = ({ events, connections, whole }: Shape) =>
  `${events} event${events > 1 ? 's' : ''} a request, ${connections} connections${whole ? ', peers store whole bodies' : ''}`

function printTable(report: Report, shape: Shape): void {
  const head = ['ack after', 'system', 'events/s acked', 'processed', 'p50 ms', 'p99 ms', 'private MB']
  console.log(`\n**${title(shape)}**\n\n| ${[...head, 'CPU us/event', 'refused'].join(' | ')} |`)
  console.log(`|${'---|'.repeat(head.length + 2)}`)
  for (const [system, all] of linesOf(report, shape)) {
    const cell = (field: 'rate' | 'p50' | 'p99' | 'privateMb' | 'cpuUs', digits = 1) =>
      spread(
        all.map((one) => one[field]),
        digits,
      )
    const processed = all.flatMap((one) => one.processed ?? [])
    const cells = [
      system.durability,
      system.name,
      cell('rate'),
      processed.length > 0 ? spread(processed) : 'no',
    ]
    cells.push(cell('p50'), cell('p99'), cell('privateMb', 0), cell('cpuUs', 2))
    cells.push(String(all.reduce((sum, { refused }) => sum + refused, 0)))
    console.log(`| ${cells.join(' | ')} |`)
  }
}

/** millrace against the peer of its class with the greatest median, round by round. */
function printRatios(report: Report): void {
  console.log('\n**millrace against the best peer that acks after the same, events/s acked**\n')
  console.log('| ack after | load | best peer | ratio | target |\n|---|---|---|---|---|')
  for (const durability of ['fsync', 'write'] as const) {
    for (const shape of report.shapes) {
      const lines = linesOf(report, shape).filter(([system]) => system.durability === durability)
      const ours = lines.find(([system]) => system.millrace)
      if (ours === undefined) continue
      const peers = lines.filter(([system]) => !system.millrace)
      const wanted = durability === 'fsync' ? TARGETS.get(`${shape.events} ${shape.connections}`) : undefined
      printRatio([durability, title(shape)], ours, peers, wanted)
      if (shape.whole) continue
      const processing = peers.filter(([system]) => system.processes)
      printRatio([durability, `${title(shape)}, peers that process too`], ours, processing, wanted)
    }
  }
}

type Line = [System, Measured[]]

function printRatio(row: string[], ours: Line, peers: Line[], wanted: number | undefined): void {
  if (peers.length === 0) return
  const middle = ([, all]: Line) => median(all.map(({ rate }) => rate))
  const best = peers.reduce((one, other) => (middle(other) > middle(one) ? other : one))
  const ratios = ours[1].map(({ rate }, n) => rate / best[1][n].rate)
  const verdict = median(ratios) >= (wanted ?? 0) ? 'met' : 'missed'
  const target = wanted === undefined ? '-' : `${wanted}: ${verdict}`
  console.log(`| ${[...row, best[0].name, spread(ratios, 2), target].join(' | ')} |`)
}

function median(numbers: number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

function spread(numbers: number[], digits = 1): string {
  const show = (n: number) => {
    if (n >= 999_500) return `${(n / 1e6).toFixed(2)}M`
    if (n >= 1000) return `${(n / 1000).toFixed(n >= 99_950 ? 0 : 1)}k`
    return n.toFixed(n >= 100 ? 0 : digits)
  }
  return `${show(median(numbers))} (${show(Math.min(...numbers))}-${show(Math.max(...numbers))})`
}
