// What was acknowledged and not processed is told as waiting, also when whoever took it is gone: whoever waits until nothing
// waits must not be told so too early.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { atEnd, Daemon, frame, killQuietly, temporaryFolder } from './daemon.ts'
import { Scrape } from './scrape.ts'

const BODIES = 20
const BODY_EVENTS = 100
const EVENTS = BODIES * BODY_EVENTS
/** Of a handler, for an event: so long that nothing is processed before it is asked what waits. */
const EVENT_MS = 1

async function post(daemon: Daemon): Promise<void> {
  const body = frame(...Array.from({ length: BODY_EVENTS }, () => ({ subject: 's' })))
  for (let n = 0; n < BODIES; n++) assert.equal((await daemon.post(body)).status, 202)
}

test('a daemon that is started after one that was killed tells at once what that one has left', async (t) => {
  const handler = join(await temporaryFolder(t), 'slow.mjs')
  await writeFile(
    handler,
    `import { defineHandler } from 'millrace'
     export default defineHandler({
       name: 'slow', timeLimit: '10s',
       map() { for (const began = performance.now(); performance.now() - began < ${EVENT_MS}; ); },
     })`,
  )
  const daemon = await Daemon.start(t, { config: { handlers: [handler], log: { partitions: 2 } } })
  await post(daemon)
  await daemon.killAll()
  await daemon.launch()
  const { accepted, processed, lag } = await daemon.status()
  assert.equal(accepted.events, EVENTS)
  assert.equal(lag.events, EVENTS - processed.events)
  assert.ok(lag.events > 0, 'it is asked before all is processed')
  assert.ok(lag.bytes > 0)
  const scrape = await Scrape.of(daemon)
  assert.equal(scrape.total('millrace_events_accepted_total'), EVENTS)
  assert.ok(scrape.total('millrace_lag_events') > 0)

  const after = await daemon.until((status) => status.lag.events === 0)
  assert.equal(after.processed.events, EVENTS, 'nothing waits, and all is counted')
  assert.equal(after.accepted.events, EVENTS)
})

test('what a killed listener took last is told as waiting while the processor stands still', async (t) => {
  const daemon = await Daemon.start(t, { config: { cluster: { listeners: 1 } } })
  const { roles } = await daemon.status()
  const pidOf = (role: string) => roles.find((one) => one.role === role)!.pid
  const processor = pidOf('processor')
  process.kill(processor, 'SIGSTOP')
  atEnd(t, () => process.kill(processor, 'SIGCONT'))
  await post(daemon)
  killQuietly(pidOf('listener'))
  const { accepted, processed } = await daemon.until(({ lag }) => lag.events === EVENTS)
  assert.deepEqual([accepted.events, processed.events], [EVENTS, 0])
  process.kill(processor, 'SIGCONT')
  const after = await daemon.until((status) => status.lag.events === 0)
  assert.equal(after.processed.events, EVENTS)
})
