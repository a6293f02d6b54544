// `npm run bench:generator`: the generator against a server that drops what it gets, so that its share of the other
// figures is known. `node --cpu-prof build/bench/generator-alone.js` profiles it.

import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodies } from './events.ts'
import { generate } from './generator.ts'
import { cpuOf } from './processes.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '3' } } })
const seconds = Number(values.seconds)

console.log('| load | requests/s | generator CPU us/request | server CPU us/request |\n|---|---|---|---|')
for (const [name, events, connections] of [
  ['1 event', 1, 16],
  ['1 event', 1, 64],
  ['1 event', 1, 256],
  ['1 event', 1, 1000],
  ['100 events', 100, 32],
  ['500 events', 500, 16],
] as const) {
  const server = await Daemon.drop()
  try {
    const load = { url: server.http, connections, bodies: bodies(events, 1000, 100), eventsPerBody: events }
    let before = 0
    const outcome = await generate({
      ...load,
      warmupSeconds: 1,
      seconds,
      onMeasuring: () => {
        before = cpuOf(server.pid)
      },
    })
    const cpu = ((cpuOf(server.pid) - before) / outcome.requests) * 1e6
    const cells = [`${name}, ${connections} connections`, Math.round(outcome.requests / outcome.seconds)]
    console.log(`| ${[...cells, outcome.cpuUs.toFixed(1), cpu.toFixed(1)].join(' | ')} |`)
  } finally {
    await server.stop()
  }
}
