// `npm run bench:peers`: millrace beside what users would pick instead, in one run on the same cores.
//
// Each round starts each system afresh and puts the loads to it one after the other; each round begins with another
// system, and medians are printed with least and greatest. A system that cannot run here is left out, and the output
// says why.

import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { bodies } from '../events.ts'
import { cpuOf, processesOf, sumOf } from '../processes.ts'
import type { Running, Shape, System } from './load.ts'
import { installPeers } from './packages.ts'
import { type Measured, printTables } from './report.ts'
import { systems } from './systems.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', multiple: true },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
/** A process that is just started compiles its code first. */
const FRESH_WARMUP_SECONDS = 2
const WARMUP_SECONDS = 1
/** The looks at the processes lie within the measured seconds by so much at either end. */
const MARGIN_SECONDS = 0.2
const SUBJECTS = 1000
/** Bytes of `data` in an event: it takes about 175 then. */
const PADDING = 120

const ENTRIES: Shape[] = [
  { events: 1, connections: 64, whole: false },
  { events: 1, connections: 256, whole: false },
  { events: 100, connections: 64, whole: false },
]
/** What a peer may do that leaves the events in a body to its consumers. */
const WHOLE: Shape[] = [{ events: 100, connections: 64, whole: true }]

const sent = new Map([1, 100].map((events) => [events, bodies(events, SUBJECTS, PADDING)]))

async function measure(running: Running, shape: Shape, warmupSeconds: number): Promise<Measured> {
  const look = async () => ({
    at: performance.now(),
    cpu: running.pids.reduce((sum, pid) => sum + cpuOf(pid), 0),
    processed: await running.processed?.(),
    processes: running.pids.flatMap(processesOf),
  })
  const watch = async () => {
    await wait((warmupSeconds + MARGIN_SECONDS) * 1000)
    const before = await look()
    await wait((seconds - 2 * MARGIN_SECONDS) * 1000)
    return { before, after: await look() }
  }
  const load = { ...shape, bodies: sent.get(shape.events)!, warmupSeconds, seconds }
  const [outcome, { before, after }] = await Promise.all([running.load(load), watch()])
  const rate = outcome.events / outcome.seconds
  const span = (after.at - before.at) / 1000
  return {
    acked: outcome.events,
    rate,
    p50: outcome.latency.quantile(0.5),
    p99: outcome.latency.quantile(0.99),
    privateMb: sumOf(after.processes, 'privateMb'),
    cpuUs: ((after.cpu - before.cpu) / span / rate) * 1e6,
    processed: after.processed === undefined ? undefined : (after.processed - before.processed!) / span,
    refused: [...outcome.others.values()].reduce((sum, n) => sum + n, 0),
  }
}

/** One start of a system, with these loads on it. Throws where it keeps less than it acked. */
async function round(system: System, shapes: Shape[], note: (shape: Shape, one: Measured) => void) {
  const running = await system.open(shapes[0].whole)
  try {
    let entries = 0
    for (const shape of shapes) {
      if (process.stderr.isTTY) console.error(`${system.name}: ${JSON.stringify(shape)}`)
      const one = await measure(running, shape, shape === shapes[0] ? FRESH_WARMUP_SECONDS : WARMUP_SECONDS)
      entries += shape.whole ? one.acked / shape.events : one.acked
      note(shape, one)
    }
    const stored = await running.stored()
    if (stored < entries) throw new Error(`${entries} entries were acked and ${stored} are stored`)
  } finally {
    await running.stop()
  }
}

/** What processes has to come to the single events, in whatever form it takes them. */
function shapesOf(system: System): Shape[] {
  return system.processes ? ENTRIES : [...ENTRIES, ...WHOLE]
}

await installPeers()
const chosen = systems.filter(({ name }) => values.only?.some((word) => name.includes(word)) ?? true)
const results = new Map<System, Map<Shape, Measured[]>>()
for (const system of chosen) {
  results.set(system, new Map(shapesOf(system).map((shape) => [shape, []])))
}
const leftOut = new Map<System, string>()
for (let n = 0; n < rounds; n++) {
  const first = Math.floor((n * chosen.length) / rounds)
  for (const system of [...chosen.slice(first), ...chosen.slice(0, first)]) {
    if (leftOut.has(system)) continue
    const note = (shape: Shape, one: Measured) => results.get(system)!.get(shape)!.push(one)
    try {
      await round(system, ENTRIES, note)
      if (!system.processes) await round(system, WHOLE, note)
    } catch (error) {
      leftOut.set(system, (error as Error).message)
      results.delete(system)
      console.error(`${system.name} is left out: ${(error as Error).message}`)
    }
  }
}
printTables({ shapes: [...ENTRIES, ...WHOLE], results, leftOut, rounds, seconds })
if ([...leftOut.keys()].some(({ millrace }) => millrace)) process.exitCode = 1
