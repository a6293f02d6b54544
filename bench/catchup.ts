// How fast a backlog is processed with nothing coming in: the processor is stopped while events are accepted, then let go.

import { Daemon } from './daemon.ts'
import { bodiesOf } from './events.ts'
import { generate } from './generator.ts'
import { line, measured } from './round.ts'

/** Milliseconds between two looks at what is left. */
const LOOK_MS = 10

export interface CatchUp {
  backlog: number
  seconds: number
  eventsPerSecond: number
}

/** `seconds`: how long the backlog is built up. The processor is warm: it has processed for a second before. */
export async function catchUp(seconds: number, tree?: string): Promise<CatchUp> {
  const shape = line('catch-up', 'catch-up')
  const bodies = bodiesOf(shape)
  const daemon = await Daemon.start([measured], tree)
  try {
    const load = { url: daemon.http, connections: shape.connections, bodies, eventsPerBody: shape.events }
    await generate({ ...load, warmupSeconds: 0, seconds: 1.5 })
    await daemon.caughtUp()
    const processor = (await daemon.status()).roles?.find(({ role }) => role === 'processor')
    if (processor === undefined) throw new Error('the status names no processor')
    process.kill(processor.pid, 'SIGSTOP')
    let backlog = 0
    try {
      const outcome = await generate({ ...load, warmupSeconds: 0, seconds })
      if (outcome.others.size > 0) throw new Error('the backlog was refused: choose fewer seconds')
      backlog = (await daemon.status()).lag.events
    } finally {
      process.kill(processor.pid, 'SIGCONT')
    }
    const started = performance.now()
    let left = backlog
    while (left > 0) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
      left = (await daemon.status()).lag.events
    }
    const took = (performance.now() - started) / 1000
    return { backlog, seconds: took, eventsPerSecond: backlog / took }
  } finally {
    await daemon.stop()
  }
}
