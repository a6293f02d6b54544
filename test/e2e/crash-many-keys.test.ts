// The promise under test: numbers are exactly right after any crash, also where commits change so many rows that these
// are put into runs, and into their places later.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { decodeParts, measureKey, partsOf, windowOf } from '../../src/results/keys.ts'
import { readCounters } from '../../src/results/progress.ts'
import { heldKey, Row } from '../../src/results/row.ts'
import { decodeRuns, type Runs, runsKey } from '../../src/results/runs.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { until } from '../until.ts'
import { killRole, untilAcked } from './counted.ts'
import { atEnd, Daemon } from './daemon.ts'
import { random } from './random.ts'
import {
  type Answered,
  assertExact,
  assertInOrder,
  by,
  bySubject,
  MINUTE_MS,
  type Numbers,
  nameOf,
  SUBJECTS,
  Subjects,
  subjectOf,
  type Table,
  walk,
} from './subjects.ts'

const CLIENTS = 16
/** Acknowledged events that clients let wait for a commit: enough for runs, and no more to be counted than is needed. */
const AHEAD_MAX = 6000
/**
 * Runs that a processor has made when it is killed. From the ninth on a checkpoint goes on, and from the seventeenth on
 * the first ones are not needed any more.
 */
const RUNS_AT_KILLS = [1, 3, 9, 11, 17, 2]
const KILLED_LISTENER_AFTER = 3
/** That are read before others have their turn. */
const ROWS_AT_ONCE = 500
/** Of ending in time. */
const ROUNDS_MAX = 10
const measures = [{ name: 'by-subject', by, value: 'value', window: '1m', quantiles: true }]

interface Flow {
  daemon: Daemon
  store: Store
  /** What was acknowledged. */
  table: Table
  clients: Subjects[]
  /** Has the clients send. */
  start(): void
  /** Every body that was begun is acknowledged. */
  stop(): Promise<void>
  acked(): number
}

/** A daemon, its results store opened for reading, and clients that send to it. */
async function flow(t: TestContext, seed: number): Promise<Flow> {
  const daemon = await Daemon.start(t, { config: { measures } })
  const store = await openStore(daemon.dataDir, 0, { readOnly: true })
  atEnd(t, () => store.close())
  const table: Table = new Map()
  const acked = (): number => clients.reduce((sum, { ackedEvents }) => sum + ackedEvents, 0)
  const waiting = () => acked() - readCounters(store).events
  const room = () => until(() => daemon.ended || waiting() < AHEAD_MAX, 'commits to go on')
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new Subjects(daemon, `client-${i}`, seed + i, table, room),
  )
  let sending: Promise<unknown>
  const start = () => {
    sending = Promise.all(clients.map((client) => client.run()))
    sending.catch(() => {}) // told by `stop`
  }
  const stop = async () => {
    for (const client of clients) client.stop()
    await sending
  }
  start()
  return { daemon, store, table, clients, start, stop, acked }
}

/** What the store has told of runs last: undefined where there are none. */
function runsOf(store: Store): Runs | undefined {
  const [measure] = store.measures()
  const stored = measure === undefined ? undefined : store.getMeta(runsKey(measure.id))
  return stored === undefined ? undefined : decodeRuns(stored)
}

async function untilRuns(store: Store, made: number): Promise<void> {
  const there = () => {
    const runs = runsOf(store)
    return runs !== undefined && runs.first < runs.next && runs.next >= made
  }
  await until(there, `${made} runs to be made, and one to be there`)
}

const untilNoRuns = (store: Store) => until(() => runsOf(store) === undefined, 'runs to go')

/** All rows as of one moment, and how many events are counted by then. */
async function rowsOf(store: Store): Promise<{ table: Table; events: number }> {
  const [{ id }] = store.measures()
  const table: Table = new Map()
  const snapshot = store.snapshot()
  try {
    for (const { key, value } of snapshot.range(measureKey(id), measureKey(id + 1))) {
      const { count, total: sum, min, max } = new Row().merge(value, false)
      const [subject] = decodeParts(partsOf(key) ?? heldKey(value))
      table.set(`${subject} ${windowOf(key) / MINUTE_MS}`, { count, sum, min, max })
      if (table.size % ROWS_AT_ONCE === 0) await setImmediate()
    }
    const { events } = readCounters({ getMeta: snapshot.getMeta, metaRange: () => [] })
    return { table, events }
  } finally {
    snapshot.done()
  }
}

const countOf = (table: Table) => [...table.values()].reduce((sum, { count }) => sum + count, 0)

/** Takes note of what was answered: none of it may go back. */
class Noted {
  readonly #last: Table = new Map()

  add(name: string, now: Numbers): void {
    const last = this.#last.get(name)
    this.#last.set(name, now)
    if (last === undefined) return
    const on = now.count >= last.count && now.min <= last.min && now.max >= last.max
    assert.ok(on, `${name}: ${JSON.stringify(last)} and then ${JSON.stringify(now)}`)
  }
  addAll(rows: readonly Answered[]): void {
    for (const row of rows) this.add(nameOf(row), row)
  }
}

test(`${SUBJECTS} subjects are exactly as sent through kills while their rows are in runs`, async (t) => {
  const { seed, pick, between } = random(t)
  const { daemon, store, table, clients, stop, acked } = await flow(t, seed)
  for (const [n, made] of RUNS_AT_KILLS.entries()) {
    await untilRuns(store, made)
    await untilAcked(clients, between(0, 20))
    await killRole(daemon, 'processor', pick)
    if (n === KILLED_LISTENER_AFTER) await killRole(daemon, 'listener', pick)
  }
  await untilRuns(store, 1)
  await stop()
  const { accepted, processed } = await daemon.processed(acked())
  assert.equal(processed.events, acked())
  assert.equal(accepted.events, acked())
  assert.equal(countOf(table), acked())
  assert.equal(bySubject(table).size, SUBJECTS, 'every subject was sent')
  await assertExact(daemon, table)
  await untilNoRuns(store)
  await assertExact(daemon, table)
  console.log(`# ${acked()} events of ${SUBJECTS} subjects`)
})

test('whoever asks while commits go on and processors die sees every number only grow', async (t) => {
  const { seed, pick } = random(t)
  const { daemon, store, table, clients, stop, acked } = await flow(t, seed)
  await untilRuns(store, 1)
  let over = false
  const answers = { key: 0, page: 0, walk: 0, moment: 0 }
  const asking = async (what: keyof typeof answers, ask: (noted: Noted) => unknown) => {
    for (const noted = new Noted(); !over && !daemon.ended; answers[what]++) await ask(noted)
  }
  const { cursor } = await daemon.get('/v1/measures/by-subject?limit=1234')
  const readers = Promise.all([
    asking('key', async (noted) => {
      const { rows } = await daemon.get(`/v1/measures/by-subject?key=${subjectOf(7)}&merge=true`)
      for (const row of rows) noted.add(row.key[0], row)
    }),
    asking('page', async (noted) => {
      const { rows } = await daemon.get(`/v1/measures/by-subject?limit=1000&cursor=${cursor}`)
      assertInOrder(rows)
      noted.addAll(rows)
    }),
    asking('walk', async (noted) => noted.addAll(await walk(daemon, { limit: 4000 }))),
    asking('moment', async (noted) => {
      const moment = await rowsOf(store)
      assert.equal(countOf(moment.table), moment.events, 'rows and counters of one commit')
      for (const [name, row] of moment.table) noted.add(name, row)
    }),
  ])
  readers.catch(() => {}) // told below
  for (const made of [2, 10]) {
    await untilRuns(store, made)
    await killRole(daemon, 'processor', pick)
  }
  await untilAcked(clients, 1)
  await stop()
  await untilNoRuns(store)
  over = true
  await readers
  await daemon.processed(acked())
  await assertExact(daemon, table)
  for (const [what, times] of Object.entries(answers))
    assert.ok(times > 1, `${what}: answered ${times} times`)
  console.log(`# ${JSON.stringify(answers)}`)
})

test('a daemon that is ended while rows are in runs has them when it starts again', async (t) => {
  const { seed } = random(t)
  const { daemon, store, table, start, stop, acked } = await flow(t, seed)
  const ends = [3, 11] // runs that were made by then
  for (let rounds = 1; ends.length > 0; rounds++) {
    await untilRuns(store, ends[0])
    await stop()
    await daemon.processed(acked())
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    if (runsOf(store) !== undefined) ends.shift()
    assert.ok(rounds < ROUNDS_MAX, 'it ends before all rows are in their places')
    assert.deepEqual((await rowsOf(store)).table, table)
    await daemon.launch()
    assert.equal(runsOf(store), undefined, 'its processor has put them into their places')
    const { accepted, processed } = await daemon.status()
    assert.deepEqual([accepted.events, processed.events], [acked(), acked()])
    await assertExact(daemon, table)
    start()
  }
  await untilRuns(store, 1)
  await stop()
  await daemon.processed(acked())
  await assertExact(daemon, table)
})
