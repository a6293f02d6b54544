import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Piscina } from 'piscina'
import { millrace } from '#proto'
import type { Config } from '../../src/config/config.ts'
import { withPlans } from '../../src/processor/handler-check.ts'
import type { Skip } from '../../src/processor/handling.ts'
import { eventsOf } from '../../src/processor/places.ts'
import { openPool } from '../../src/processor/pool.ts'
import type { Done } from '../../src/processor/runner.ts'
import { processSeed } from '../../src/processor/seed.ts'
import { folder } from '../results/folder.ts'
import { RECEIVED_AT, rowsOf } from './handlers.ts'

const MiB = 2 ** 20

/** A pool with one handler, whose `map` is this text. */
async function pool(t: TestContext, map: string, { threads = 1, timeLimit = 100, heap = 32 * MiB } = {}) {
  const path = join(folder(t), 'handler.mjs')
  // Where the package is found, a thread starts sooner: it needs no other one that resolves its name.
  const found = join(path, '../node_modules/millrace')
  mkdirSync(found, { recursive: true })
  writeFileSync(join(found, 'index.js'), '')
  writeFileSync(
    path,
    `import { appendFileSync, statSync } from 'node:fs'
     const kept = []
     /** True for the first calls of all threads. */
     const isCall = (upTo) => {
       appendFileSync('${path}.calls', '.')
       return statSync('${path}.calls').size <= upTo
     }
     export default { name: 'h', timeLimit: ${timeLimit}, measures: [{ name: 'm', by: ['k'], window: 'all' }],
       map(event, emit) { const { subject, value } = event; emit.measure('m', subject, value); ${map} } }`,
  )
  const config = { handlers: [path], measures: [], pool: { heap } } as unknown as Config
  const { plans = [] } = await withPlans(config)
  const notes: string[] = []
  const opened = openPool({
    threads,
    measures: [],
    plans,
    heap,
    partitions: 1,
    onNote: (note) => notes.push(note),
  })
  t.after(() => opened.close())
  return { pool: opened, notes }
}

function task(subjects: readonly string[]) {
  const events = subjects.map((subject, i) => ({ source: 's', type: 't', subject, value: i }))
  const bytes = millrace.v1.Frame.encode({ events }).finish()
  const frames = new SharedArrayBuffer(bytes.length)
  new Uint8Array(frames).set(bytes)
  return { frames, bytes: bytes.length, runs: Float64Array.of(bytes.length, RECEIVED_AT) }
}

/** What all parts of a task come to: events and their sum by subject, and the numbers of the dead letters. */
async function outcome(opened: Awaited<ReturnType<typeof pool>>, subjects: readonly string[]) {
  const one = task(subjects)
  const done = await all(opened.pool.run(one))
  const places = eventsOf(new Uint8Array(one.frames), 0, one.bytes)
  const rows: Record<string, [count: number, sum: number]> = {}
  for (const { delta } of done) {
    for (const { key, count, sum } of rowsOf(delta!)[0]) {
      const before = rows[key[0]] ?? [0, 0]
      rows[key[0]] = [before[0] + count, before[1] + sum]
    }
  }
  const letters = done
    .flatMap(({ effects }) => effects!.letters)
    .map(({ from, reason }) => ({ event: places.findIndex((place) => place.from === from), reason }))
  return { rows, letters, parts: done.length }
}

async function all(parts: AsyncIterable<Done>): Promise<Done[]> {
  const done: Done[] = []
  for await (const part of parts) done.push(part)
  return done
}

/** As many subjects `a`, with others at some places. */
function subjects(size: number, others: Record<number, string>): string[] {
  return Array.from({ length: size }, (_, i) => others[i] ?? 'a')
}

function counted(all: readonly string[], without: readonly number[]) {
  const rows: Record<string, [number, number]> = {}
  all.forEach((subject, i) => {
    if (without.includes(i)) return
    const [count, sum] = rows[subject] ?? [0, 0]
    rows[subject] = [count + 1, sum + i]
  })
  return rows
}

test('an event that hangs is found and left out, and all others count', async (t) => {
  const opened = await pool(t, `if (subject === 'hang') for (;;);`)
  const all = subjects(10_000, { 0: 'hang', 7000: 'hang' })
  const { rows, letters } = await outcome(opened, all)
  assert.deepEqual(letters, [
    { event: 0, reason: 'it took longer than 100ms' },
    { event: 7000, reason: 'it took longer than 100ms' },
  ])
  assert.deepEqual(rows, counted(all, [0, 7000]))
  // The pool goes on.
  assert.deepEqual((await outcome(opened, ['a', 'b'])).rows, { a: [1, 0], b: [1, 1] })
})

test('an event that ends its thread is found, whatever way it takes', async (t) => {
  const opened = await pool(
    t,
    `if (subject === 'exit') process.exit(3)
     if (subject === 'later') queueMicrotask(() => { throw new Error('out of reach') })
     if (subject === 'memory') for (;;) kept.push(new Array(100_000).fill(value))`,
    { timeLimit: 5000 },
  )
  const all = subjects(20, { 4: 'exit', 19: 'memory', 10: 'later' })
  const { rows, letters } = await outcome(opened, all)
  assert.deepEqual(letters, [
    { event: 4, reason: 'it ended its thread with exit code 3' },
    { event: 10, reason: 'it threw where nobody could catch it: out of reach' },
    { event: 19, reason: 'it used up the memory of its thread (pool.heap)' },
  ])
  assert.deepEqual(rows, counted(all, [4, 10, 19]))
})

test('an event that leaves an endless loop for later is found', async (t) => {
  const opened = await pool(
    t,
    `const spin = async () => { for (;;) await null }
     if (subject === 'promise') return spin()
     if (subject === 'immediate') setImmediate(() => { for (;;); })`,
  )
  const all = subjects(8, { 1: 'promise', 6: 'immediate' })
  const { rows, letters } = await outcome(opened, all)
  const reason = 'what it left for later took longer than 100ms'
  assert.deepEqual(letters, [
    { event: 1, reason },
    { event: 6, reason },
  ])
  assert.deepEqual(rows, counted(all, [1, 6]))
})

test('an event that ends threads though not when it is alone is left out in the end', async (t) => {
  // In the pool and in a fresh thread, and not when it is tried for its guilt.
  const hangs = await pool(t, `if (subject === 'odd' && isCall(2)) for (;;);`)
  assert.deepEqual(await outcome(hangs, ['odd']), {
    rows: {},
    letters: [{ event: 0, reason: 'it took longer than 100ms' }],
    parts: 1,
  })
  const later = `if (subject === 'odd' && isCall(3)) queueMicrotask(() => { throw new Error('now and then') })`
  const throws = await pool(t, later)
  assert.deepEqual(await outcome(throws, ['odd', 'b']), {
    rows: { b: [1, 1] },
    letters: [{ event: 0, reason: 'it threw where nobody could catch it: now and then' }],
    parts: 2,
  })
})

test('a leak that ends thread after thread makes no event a dead letter', async (t) => {
  const opened = await pool(t, 'kept.push(new Array(100_000).fill(value))', { timeLimit: 5000 })
  const all = subjects(100, {})
  const { rows, letters, parts } = await outcome(opened, all)
  assert.deepEqual(letters, [])
  assert.deepEqual(rows, counted(all, []))
  assert.ok(parts > 1, 'no thread could hold what all of them leave')
  assert.ok(opened.notes.some((note) => note.includes('memory')))
})

test('several tasks that hang at once are all done', async (t) => {
  const opened = await pool(t, `if (subject === 'hang') for (;;);`, { threads: 2 })
  const all = ['a', 'hang', 'b']
  const outcomes = await Promise.all([outcome(opened, all), outcome(opened, all), outcome(opened, all)])
  for (const { rows, letters } of outcomes) {
    assert.deepEqual(rows, { a: [1, 0], b: [1, 2] })
    assert.deepEqual(
      letters.map(({ event }) => event),
      [1],
    )
  }
})

test('nothing of a task that failed is in the next one', async (t) => {
  const path = join(folder(t), 'handler.mjs')
  writeFileSync(path, `export default { name: 'h', map() {} }`)
  const config = { handlers: [path], measures: [], pool: { heap: 64 * MiB } } as unknown as Config
  const { plans = [] } = await withPlans(config)
  const one = task(['a', 'b'])
  const [{ from }] = eventsOf(new Uint8Array(one.frames), 0, one.bytes)
  const thread = new Piscina({
    filename: new URL('../../src/processor/runner.js', import.meta.url).href,
    minThreads: 1,
    maxThreads: 1,
    workerData: { measures: [], plans, seed: processSeed },
  })
  t.after(() => thread.destroy())
  // The first event is left out and has its letter by then, and what is wrong is met at the second one.
  const skips = [{ handler: 0, from, reason: 'left out' }, null]
  await assert.rejects(thread.run({ ...one, skips }), TypeError)
  const { effects } = await thread.run(one)
  assert.deepEqual([effects.handled, effects.letters], [[2], []])
})

test('what a module posts while it is checked is none of the check', async (t) => {
  const path = join(folder(t), 'handler.mjs')
  writeFileSync(
    path,
    `import { parentPort } from 'node:worker_threads'
     for (const message of ['a text', null, { problems: [] }]) parentPort.postMessage(message)
     export default { name: 'h', map() {} }`,
  )
  const config = { handlers: [path], measures: [], pool: { heap: 64 * MiB } } as unknown as Config
  const { plans = [] } = await withPlans(config)
  assert.deepEqual(
    plans.map(({ name }) => name),
    ['h'],
  )
})

test('a module that has changed since it was checked is not run', async (t) => {
  const path = join(folder(t), 'handler.mjs')
  writeFileSync(path, `export default { name: 'h', map() {} }`)
  const config = { handlers: [path], measures: [], pool: { heap: 64 * MiB } } as unknown as Config
  const { plans = [] } = await withPlans(config)
  writeFileSync(path, `export default { name: 'other', map() {} }`)
  const opened = openPool({ threads: 1, measures: [], plans, heap: 64 * MiB, partitions: 1, onNote() {} })
  t.after(() => opened.close())
  await assert.rejects(
    all(opened.run(task(['a']))),
    /handler\.mjs has changed since it was checked: send SIGHUP/,
  )
})

test('a profiled process counts nothing of a task that failed either', async (t) => {
  const path = join(folder(t), 'handler.mjs')
  writeFileSync(path, `export default { name: 'h', map() {} }`)
  const config = { handlers: [path], measures: [], pool: { heap: 64 * MiB } } as unknown as Config
  const { plans = [] } = await withPlans(config)
  const opened = openPool({ threads: 0, measures: [], plans, heap: 64 * MiB, partitions: 1, onNote() {} })
  const one = task(['a', 'b'])
  const [{ from }] = eventsOf(new Uint8Array(one.frames), 0, one.bytes)
  const skips = [{ handler: 0, from, reason: 'left out' }, null] as Skip[] // as above
  await assert.rejects(all(opened.run({ ...one, skips })), TypeError)
  const [{ effects }] = await all(opened.run(one))
  assert.deepEqual([effects!.handled, effects!.letters], [[2], []])
})
