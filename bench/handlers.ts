// `npm run bench:handlers`: a measure of the configuration beside a handler that reads two fields and emits to one like it.
// Both take the same load in turn; the ratio is what a handler leaves of the throughput.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { describeMachine, machineLine } from './machine.ts'
import { daemonRound, line, plain, type Round } from './round.ts'
import { markdown, ratios, spread } from './spread.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '2.5' } },
})
const rounds = Number(values.rounds)
const pace = { warmupSeconds: 1.5, seconds: Number(values.seconds) }

const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
try {
  const path = join(folder, 'by-subject.mjs')
  await writeFile(
    path,
    `import { defineHandler } from 'millrace'
export default defineHandler({
  name: 'by-subject',
  match: {},
  measures: [{ name: 'by-subject', by: ['subject'], window: '1m', quantiles: true }],
  map: (event, emit) => emit.measure('by-subject', event.subject, event.value),
})
`,
  )
  const measure = line('a measure', 'handlers')
  const handler = line('a handler', 'handlers', { set: plain(['measures=[]', `handlers=[${path}]`]) })
  console.log(`${machineLine(await describeMachine())}\n${rounds} alternating rounds of ${pace.seconds} s\n`)
  const measured: Round[] = []
  const handled: Round[] = []
  for (let n = 0; n < rounds; n++) {
    const order = [
      [measure, measured],
      [handler, handled],
    ] as const
    for (const [one, into] of n % 2 === 0 ? order : [order[1], order[0]])
      into.push(await daemonRound(one, pace))
  }
  const of = (all: Round[], name: 'sustained' | 'cpuUs' | 'p99') => all.map((round) => round[name])
  const row = (what: string, name: 'sustained' | 'cpuUs' | 'p99', digits = 1) => [
    what,
    spread(of(measured, name), digits),
    spread(of(handled, name), digits),
    spread(ratios(of(handled, name), of(measured, name)), 2),
  ]
  console.log(
    markdown(
      ['100 events a request, 32 connections', 'measure', 'handler', 'handler / measure'],
      [
        row('events/s acked and processed', 'sustained'),
        row('CPU us/event', 'cpuUs', 2),
        row('ack p99 ms', 'p99'),
      ],
    ),
  )
} finally {
  await rm(folder, { recursive: true, force: true })
}
