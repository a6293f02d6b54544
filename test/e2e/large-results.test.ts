// A handler that stores far more than fits into memory, in the real daemon.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { killRole } from './counted.ts'
import { Daemon, frame, type Status, temporaryFolder } from './daemon.ts'

const MB_MAX = 500
const EVENTS = 900
const BODY_EVENTS = 300
const RESULT_BYTES = 2 ** 20

type WithHandlers = Status & { handlers?: { handled: number; deadLettered: number }[] }

const handledOf = (status: Status) => (status as WithHandlers).handlers?.[0]?.handled ?? 0

/** A daemon with a handler that stores 1 MiB for every event, and all events sent to it. */
async function daemonWithAll(t: TestContext): Promise<Daemon> {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'handler.mjs')
  await writeFile(
    path,
    `export default { name: 'large', measures: [{ name: 'seen', by: ['subject'], window: 'all' }],
       map({ id, subject, value }, emit) {
         emit.measure('seen', subject, value)
         emit.result(id, Buffer.alloc(${RESULT_BYTES}, id + ' '))
       } }`,
  )
  await mkdir(join(folder, 'data'))
  const measures = [{ name: 'all', by: ['subject'], window: 'all' }]
  const daemon = await Daemon.start(t, {
    dataDir: join(folder, 'data'),
    config: { handlers: [path], measures },
  })
  for (let from = 0; from < EVENTS; from += BODY_EVENTS) {
    const numbers = Array.from({ length: BODY_EVENTS }, (_, i) => from + i)
    const body = frame(...numbers.map((n) => ({ id: String(n), subject: `s${n % 3}`, value: n })))
    assert.equal((await daemon.post(body)).status, 202)
  }
  return daemon
}

/** Memory of a process that is not a file's, MB; 0 when it has just ended. */
function ownMb(pid: number): number {
  try {
    return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

/** Waits for a state of the daemon. Returns the most memory that a process had meanwhile, MB. */
async function watch(daemon: Daemon, until: (status: Status) => boolean): Promise<number> {
  let most = 0
  await daemon.until((status) => {
    most = Math.max(most, ...status.roles.map(({ pid }) => ownMb(pid)))
    return until(status)
  }, 120_000)
  return most
}

async function assertExact(daemon: Daemon) {
  const expected = [0, 1, 2].map((subject) => {
    const numbers = Array.from({ length: EVENTS / 3 }, (_, i) => i * 3 + subject)
    return [`s${subject}`, numbers.length, numbers.reduce((a, b) => a + b, 0)]
  })
  for (const measure of ['all', 'seen']) {
    const { rows } = await daemon.get(`/v1/measures/${measure}?merge=true`)
    const counted = rows.map(({ key, count, sum }: { key: string[]; count: number; sum: number }) => {
      return [key[0], count, sum]
    })
    assert.deepEqual(counted, expected, measure)
  }
  const status = await daemon.status()
  assert.equal(status.processed.events, EVENTS)
  assert.equal(status.processed.redelivered.events, 0)
  assert.equal(handledOf(status), EVENTS)
  assert.equal((status as WithHandlers).handlers![0].deadLettered, 0)
  for (let n = 0; n < EVENTS; n += 7) {
    const result = Buffer.from(await (await fetch(`${daemon.http}/v1/results/${n}`)).arrayBuffer())
    assert.ok(result.equals(Buffer.alloc(RESULT_BYTES, `${n} `)), `the result of event ${n}`)
  }
}

test('1 MiB stored for every event: memory stays bounded, and counts are exact', async (t) => {
  const daemon = await daemonWithAll(t)
  const most = await watch(daemon, ({ processed, lag }) => processed.events === EVENTS && lag.events === 0)
  await assertExact(daemon)
  assert.ok(most < MB_MAX, `a process had ${most.toFixed()} MB`)
  console.log(`# ${most.toFixed()} MB at most`)
})

test('a processor that is killed in the middle of such a body goes on where it was committed', async (t) => {
  const daemon = await daemonWithAll(t)
  for (const share of [0.1, 0.4, 0.7]) {
    await watch(daemon, (status) => handledOf(status) > EVENTS * share)
    await killRole(daemon, 'processor', (all) => all[0])
  }
  await daemon.processed(EVENTS, 120_000)
  await assertExact(daemon)
})
