// Handlers that go wrong, in the real daemon: every event is counted exactly once, and the dead letters are exactly the
// events at fault.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { heads } from '../../src/results/dead-letters.ts'
import { openStore } from '../../src/results/store.ts'
import { killRole } from './counted.ts'
import { Daemon, frame, temporaryFolder } from './daemon.ts'

const EVENTS = 10_000
const BODY_EVENTS = 250

/** A daemon with one handler, whose `map` is this text after what counts each event. */
async function daemonWith(t: TestContext, map: string, config: Record<string, unknown> = {}) {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'data'))
  const path = join(folder, 'handler.mjs')
  await writeFile(
    path,
    `import { deadLetter, defineHandler, drop } from 'millrace'
     const kept = []
     export default defineHandler({
       name: 'tried', timeLimit: 500, measures: [{ name: 'tried', by: ['subject'], window: 'all' }],
       map({ id, subject, value, type }, emit) {
         emit.measure('tried', subject, value)
         emit.result(subject, id)
         ${map}
       },
     })`,
  )
  const dataDir = join(folder, 'data')
  return Daemon.start(t, {
    dataDir,
    config: { handlers: [path], measures: [{ name: 'all', by: ['subject'], window: 'all' }], ...config },
  })
}

/** Sends `EVENTS` events of ten subjects. Those with these numbers are of another type. */
async function sendAll(daemon: Daemon, others: Record<number, string>, during?: () => Promise<void>) {
  for (let from = 0; from < EVENTS; from += BODY_EVENTS) {
    const events = Array.from({ length: BODY_EVENTS }, (_, i) => {
      const n = from + i
      return { id: String(n), type: others[n] ?? 'good', subject: `s${n % 10}`, value: n }
    })
    const response = await daemon.post(frame(...events), { 'x-correlation-id': `body-${from / BODY_EVENTS}` })
    assert.equal(response.status, 202)
    if (from === EVENTS / 2) await during?.()
  }
}

interface HandlerStatus {
  handlers: { name: string; handled: number; dropped: Record<string, number>; deadLettered: number }[]
}

/** Waits until all is counted; the daemon is stopped then. Returns the dead letters. */
async function settle(daemon: Daemon, without: readonly number[], dropped: Record<string, number> = {}) {
  await daemon.processed(EVENTS, 120_000)
  const rows = async (measure: string) => {
    const answer = await daemon.get(`/v1/measures/${measure}?merge=true`)
    return answer.rows.map(({ key, count, sum }: { key: string[]; count: number; sum: number }) => [
      key[0],
      count,
      sum,
    ])
  }
  const expected = (left: readonly number[]) =>
    Array.from({ length: 10 }, (_, subject) => {
      const all = Array.from({ length: EVENTS / 10 }, (_, i) => i * 10 + subject).filter(
        (n) => !left.includes(n),
      )
      return [`s${subject}`, all.length, all.reduce((a, b) => a + b, 0)]
    })
  assert.deepEqual(await rows('all'), expected([]), 'measures count events whatever handlers make of them')
  assert.deepEqual(await rows('tried'), expected(without))
  const { handlers } = (await daemon.status()) as unknown as HandlerStatus
  const drops = Object.values(dropped).reduce((a, b) => a + b, 0)
  const deadLettered = without.length - drops
  assert.deepEqual(handlers, [{ name: 'tried', handled: EVENTS - without.length, dropped, deadLettered }])
  await daemon.stop()
  const store = await openStore(daemon.dataDir, 0, { readOnly: true })
  const snapshot = store.snapshot()
  const letters = [...heads(snapshot)].map(({ handler, reason, subject, type, correlationId }) => {
    return { handler, reason, subject, type, correlationId }
  })
  snapshot.done()
  // In the order of their bodies: those of different listeners may be read in any order.
  letters.sort((a, b) => a.correlationId.localeCompare(b.correlationId, 'en', { numeric: true }))
  const last = store.get('results', Buffer.from('s7'))!.subarray(8).toString()
  await store.close()
  return { letters, last }
}

const letter = (n: number, type: string, reason: string) => ({
  handler: 'tried',
  reason,
  subject: `s${n % 10}`,
  type,
  correlationId: `body-${Math.floor(n / BODY_EVENTS)}`,
})

test('one event in 10,000 at which a handler throws is a dead letter, and all others count', async (t) => {
  const daemon = await daemonWith(
    t,
    `if (type === 'bad') throw new Error('cannot do ' + id)
                                     if (type === 'useless') return drop('of no use')`,
  )
  await sendAll(daemon, { 6543: 'bad', 9997: 'useless' })
  const { letters, last } = await settle(daemon, [6543, 9997], { 'of no use': 1 })
  assert.deepEqual(letters, [letter(6543, 'bad', 'cannot do 6543')])
  assert.equal(last, '9987', 'a result is that of the last event that was handled')
})

test('an event at which a handler loops for ever is found, also when the processor is killed meanwhile', async (t) => {
  const daemon = await daemonWith(t, `if (type === 'bad') for (;;);`)
  await sendAll(daemon, { 1234: 'bad', 8000: 'bad' }, async () => {
    await daemon.line(({ msg }) => msg?.includes('has cost a thread') === true)
    await killRole(daemon, 'processor', ([first]) => first)
  })
  const { letters } = await settle(daemon, [1234, 8000])
  const reason = 'it took longer than 500ms'
  assert.deepEqual(letters, [letter(1234, 'bad', reason), letter(8000, 'bad', reason)])
})

test('an event at which a handler ends its thread is found, also when all is killed meanwhile', async (t) => {
  const daemon = await daemonWith(t, `if (type === 'bad') process.exit(9)`)
  await sendAll(daemon, { 0: 'bad', 9999: 'bad' }, async () => {
    await daemon.line(({ msg }) => msg?.includes('has cost a thread') === true)
    await daemon.killAll()
    await daemon.launch()
  })
  const { letters } = await settle(daemon, [0, 9999])
  const reason = 'it ended its thread with exit code 9'
  assert.deepEqual(letters, [letter(0, 'bad', reason), letter(9999, 'bad', reason)])
})

test('a handler that leaks costs threads, and no event', async (t) => {
  const daemon = await daemonWith(t, 'kept.push(new Array(1500).fill(value))', {
    pool: { heap: '64MiB', threads: 1 },
  })
  await sendAll(daemon, {})
  const { letters } = await settle(daemon, [])
  assert.deepEqual(letters, [])
  assert.ok(daemon.lines.some(({ msg }) => msg?.includes('it used up the memory of its thread')))
})

test('a module that does not load ends the start with exit code 2, its path and why', async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'bad.mjs')
  await writeFile(path, 'export default {\n  name: oops oops\n}\n')
  const { code, daemon } = await Daemon.run(t, { config: { handlers: [path] } })
  assert.equal(code, 2)
  assert.equal(daemon.lines.at(-1)?.msg, `${path}: does not load: SyntaxError: Unexpected identifier 'oops'`)
})
