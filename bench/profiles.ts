// `npm run bench:profiles`: what it costs while a profile is taken. One daemon under one load; windows of some seconds
// with and without a profile come in turn, and each is compared with its neighbour.

import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodiesOf } from './events.ts'
import { generate } from './generator.ts'
import { describeMachine, machineLine } from './machine.ts'
import { cpuOf } from './processes.ts'
import { tell } from './progress.ts'
import { line, measured } from './round.ts'
import { markdown, ratios, spread } from './spread.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '5' },
  },
})
const seconds = Number(values.seconds)
const kinds = ['none', 'profile', 'allocs'] as const
const WARMUP_SECONDS = 0.5

const load = line('100 events', 'base')
const bodies = bodiesOf(load)
const daemon = await Daemon.start([measured])
const figures = new Map(kinds.map((kind) => [kind, { events: [] as number[], cpuUs: [] as number[] }]))

async function window(kind: (typeof kinds)[number]): Promise<void> {
  // It begins with the warm-up, and outlasts the window.
  const profiling =
    kind === 'none'
      ? undefined
      : fetch(`${daemon.admin}/debug/pprof/${kind}?seconds=${Math.ceil(WARMUP_SECONDS + seconds)}`)
  let cpu = 0
  const { events, seconds: took } = await generate({
    url: daemon.http,
    connections: load.connections,
    bodies,
    eventsPerBody: load.events,
    warmupSeconds: WARMUP_SECONDS,
    seconds,
    onMeasuring: () => {
      cpu = cpuOf(daemon.pid)
    },
  })
  const cpuUs = ((cpuOf(daemon.pid) - cpu) * 1e6) / events
  const answer = await profiling
  if (answer !== undefined && !answer.ok) throw new Error(await answer.text())
  await answer?.arrayBuffer()
  await daemon.caughtUp()
  figures.get(kind)!.events.push(events / took)
  figures.get(kind)!.cpuUs.push(cpuUs)
}

try {
  await window('none') // until what runs is compiled
  for (const { events, cpuUs } of figures.values()) {
    events.pop()
    cpuUs.pop()
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    tell(`round ${round + 1} of ${values.rounds}`)
    for (const kind of round % 2 === 0 ? kinds : kinds.toReversed()) await window(kind)
  }
  tell('')
  const none = figures.get('none')!
  const rows = kinds.map((kind) => {
    const { events, cpuUs } = figures.get(kind)!
    return [
      kind,
      spread(events),
      spread(ratios(events, none.events), 2),
      spread(cpuUs, 2),
      spread(ratios(cpuUs, none.cpuUs), 2),
    ]
  })
  console.log(machineLine(await describeMachine()))
  console.log(markdown(['profile', 'events/s', 'to none', 'CPU us/event', 'to none'], rows))
} finally {
  await daemon.stop()
}
