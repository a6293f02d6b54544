// What was acknowledged and not processed is told as waiting, also when whoever took it is gone: whoever waits until nothing
// waits must not be told so too early.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../until.ts'
import { atEnd, Daemon, frame, killQuietly, type Status, temporaryFolder } from './daemon.ts'
import { Scrape } from './scrape.ts'

const BODIES = 20
const BODY_EVENTS = 100
const EVENTS = BODIES * BODY_EVENTS

async function post(daemon: Daemon): Promise<void> {
  const body = frame(...Array.from({ length: BODY_EVENTS }, () => ({ subject: 's' })))
  for (let n = 0; n < BODIES; n++) assert.equal((await daemon.post(body)).status, 202)
}

test('a daemon that is started after one that was killed tells at once what that one has left', async (t) => {
  const folder = await temporaryFolder(t)
  const [handler, gate] = [join(folder, 'waiting.mjs'), join(folder, 'gate')]
  await writeFile(
    handler,
    `import { existsSync } from 'node:fs'
     import { defineHandler } from 'millrace'
     const sleeping = new Int32Array(new SharedArrayBuffer(4))
     export default defineHandler({
       name: 'waiting', timeLimit: '10s',
       map() { while (!existsSync('${gate}')) Atomics.wait(sleeping, 0, 0, 5) },
     })`,
  )
  const daemon = await Daemon.start(t, { config: { handlers: [handler], log: { partitions: 2 } } })
  await post(daemon)
  await daemon.killAll()
  await daemon.launch()
  const { accepted, processed, lag } = await daemon.status()
  assert.deepEqual([accepted.events, processed.events, lag.events], [EVENTS, 0, EVENTS])
  assert.ok(lag.bytes > EVENTS * 10)
  const scrape = await Scrape.of(daemon)
  assert.equal(scrape.total('millrace_events_accepted_total'), EVENTS)
  assert.equal(scrape.total('millrace_lag_events'), EVENTS)
  await writeFile(gate, '')
  const after = await daemon.until((status) => status.lag.events === 0)
  assert.deepEqual(
    [after.accepted.events, after.processed.events],
    [EVENTS, EVENTS],
    'when nothing waits, all is counted',
  )

  await daemon.stop()
  await daemon.launch()
  const again = await daemon.status()
  assert.deepEqual(
    [again.accepted.events, again.lag.events],
    [EVENTS, 0],
    'what is kept as history does not wait',
  )
})

test('what a killed listener took last waits in every answer from its end on', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const { roles } = await daemon.status()
  const pidOf = (role: string) => roles.find((one) => one.role === role)!.pid
  const processor = pidOf('processor')
  process.kill(processor, 'SIGSTOP')
  atEnd(t, () => process.kill(processor, 'SIGCONT'))
  await post(daemon)
  const listener = pidOf('listener')
  killQuietly(listener)
  await daemon.line(({ ended }) => ended === listener)
  let status: Status | undefined
  await until(async () => {
    const scrape = await Scrape.of(daemon)
    assert.equal(scrape.total('millrace_lag_events'), EVENTS)
    status = await daemon.status().catch(() => undefined)
    return status !== undefined
  }, 'the next listener')
  assert.deepEqual([status!.accepted.events, status!.lag.events], [EVENTS, EVENTS])
  process.kill(processor, 'SIGCONT')
  const after = await daemon.until(({ lag }) => lag.events === 0)
  assert.equal(after.processed.events, EVENTS)
})
