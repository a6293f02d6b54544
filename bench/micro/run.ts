// `npm run bench:micro`: each step of the road by itself, in one thread, per event. `--only WORD` picks some by name.

import { parseArgs } from 'node:util'
import { do_not_optimize, measure } from 'mitata'
import { describeMachine, machineLine } from '../machine.ts'
import { tell } from '../progress.ts'
import { markdown, short } from '../spread.ts'
import { append } from './append.ts'
import type { Case } from './case.ts'
import { codecs } from './codecs.ts'
import { metrics } from './metrics.ts'
import { results } from './results.ts'

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } })

/** Nanoseconds that a case is measured for, at least. */
const MEASURED_NS = 500e6

async function row({ name, count, unit, run }: Case): Promise<string[]> {
  const asynchronous = run() instanceof Promise
  const timed = asynchronous ? async () => do_not_optimize(await run()) : () => do_not_optimize(run())
  const { p25, p50, p75, p99 } = await measure(timed, { min_cpu_time: MEASURED_NS })
  const each = (ns: number) => short(ns / count)
  return [name, unit, `${each(p50)} (${each(p25)}-${each(p75)})`, each(p99), short((count / p50) * 1e9)]
}

const cases: Case[] = [...codecs(), ...(await append()), ...(await results()), ...(await metrics())]
const rows: string[][] = []
try {
  for (const one of cases) {
    if (!one.name.includes(values.only)) continue
    tell(`${one.name}`)
    rows.push(await row(one))
  }
} finally {
  for (const { close } of cases) await close?.()
}
tell('')
console.log(machineLine(await describeMachine()))
console.log(`median of calls (first to third quarter), of ${MEASURED_NS / 1e6} ms at least, in one thread\n`)
console.log(markdown(['step', 'per', 'ns', 'p99 ns', 'a second'], rows))
