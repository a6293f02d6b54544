// `npm run bench:restart`: requests at a fixed rate while every worker is replaced, one after another (SIGHUP). Open loop:
// latency counts from when a request was due. A connection that breaks ends the bench with exit code 1, and so does an
// answer other than 202, or a count that is not exact.

import { parseArgs } from 'node:util'
import { Daemon } from './daemon.ts'
import { bodiesOf } from './events.ts'
import { generate } from './generator.ts'
import { describeMachine, machineLine } from './machine.ts'
import { line, measured } from './round.ts'

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '20000' },
    seconds: { type: 'string', default: '15' },
    connections: { type: 'string', default: '256' },
  },
})
const rate = Number(values.rate)
const seconds = Number(values.seconds)
const connections = Number(values.connections)
const WARMUP_SECONDS = 2
const LOOK_MS = 100

const { bodies, eventsPerBody } = (() => {
  const shape = line('restart', 'restart', { events: 1 })
  return { bodies: bodiesOf(shape), eventsPerBody: shape.events }
})()
const daemon = await Daemon.start([measured])
try {
  const before = await workers()
  let reloading: Promise<number> | undefined
  const load = {
    url: daemon.http,
    connections,
    bodies,
    eventsPerBody,
    rate,
    warmupSeconds: WARMUP_SECONDS,
    seconds,
  }
  const outcome = await generate({ ...load, onMeasuring: () => (reloading = reload()) })
  const reloadSeconds = await reloading!
  await daemon.caughtUp()
  const { accepted, processed } = await daemon.status()
  const after = await workers()
  const replaced = before.every((pid) => !after.includes(pid))
  const others = [...outcome.others].map(([status, times]) => `${times} x ${status}`).join(', ') || 'none'
  const { latency } = outcome
  const ms = (part: number) => latency.quantile(part).toFixed(1)
  console.log(machineLine(await describeMachine()))
  console.log(
    `${(outcome.requests / outcome.seconds).toFixed()} requests/s for ${outcome.seconds.toFixed(1)} s, ` +
      `of which the reload took ${reloadSeconds.toFixed(1)} s; ${outcome.reconnects} connections were made anew\n` +
      `answers other than 202: ${others}; broken connections: none\n` +
      `acked ${outcome.accepted}, accepted ${accepted.events}, processed ${processed.events}\n` +
      `p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms, p99.9 ${ms(0.999)} ms, most ${latency.max.toFixed()} ms`,
  )
  const isExact = outcome.accepted === processed.events && accepted.events === processed.events
  if (outcome.others.size > 0 || !isExact || !replaced) process.exitCode = 1
} finally {
  await daemon.stop()
}

async function workers(): Promise<number[]> {
  const { roles = [] } = await daemon.status()
  return roles.filter(({ role }) => role !== 'primary').map(({ pid }) => pid)
}

/** Resolves with the seconds that it took. */
async function reload(): Promise<number> {
  process.kill(daemon.pid, 'SIGHUP')
  for (;;) {
    const { reload: receipt } = await daemon.status()
    if (receipt !== undefined && receipt.outcome !== 'running') {
      if (receipt.outcome !== 'applied') throw new Error(`the reload: ${receipt.outcome}`)
      return receipt.seconds
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
