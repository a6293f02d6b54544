import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Client } from '../../src/client/index.ts'
import { DEAD_LETTERS_MAX } from '../../src/limits.ts'
import { run } from '../cli/fake.ts'
import { Daemon, type EventProperties, frame, killQuietly, temporaryFolder } from './daemon.ts'

/** Of processors, while they replay. */
const KILLS = 12
const measure = { name: 'all', where: { type: '*' }, by: ['subject'], value: 'none', window: 'all' }

/** A handler that counts the `n` of an event's JSON, and what it makes of events that have none. */
function handler(otherwise: string): string {
  return `
    import { defineHandler, deadLetter } from 'millrace'
    export default defineHandler({
      name: 'parse',
      measures: [{ name: 'parsed', by: ['subject'], window: 'all' }],
      map(event, emit) {
        let n = event.json().n
        ${otherwise}
        emit.measure('parsed', event.subject, n)
        emit.result('last/' + event.subject, JSON.stringify({ n, id: event.id }))
      },
    })`
}
const broken = handler(`if (n === undefined) return deadLetter('no n')`)
const mended = handler('n ??= 1000')

async function started(t: TestContext, source: string, config: Record<string, unknown> = {}) {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'parse.mjs')
  await writeFile(file, source)
  const handlers = { measures: [measure], handlers: [file], ...config }
  const daemon = await Daemon.start(t, { config: handlers })
  const restart = async (next: string) => {
    await daemon.stop()
    await writeFile(file, next)
    await daemon.launch()
  }
  return { daemon, restart }
}

function event(id: number, data: unknown): Partial<EventProperties> {
  return { id: String(id), subject: 's', data: Buffer.from(JSON.stringify(data)) }
}

async function change(daemon: Daemon, method: string, path: string) {
  const response = await fetch(daemon.http + path, { method })
  // biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
  return { status: response.status, body: (await response.json()) as any }
}

/** Count and sum of what was parsed. */
async function parsed(daemon: Daemon): Promise<[count: number, sum: number]> {
  const { rows } = await daemon.get('/v1/measures/parsed')
  return rows.length === 0 ? [0, 0] : [rows[0].count, rows[0].sum]
}

test('what a handler rejects is a dead letter; once it is mended a replay counts each of them once', async (t) => {
  const { daemon, restart } = await started(t, broken)
  const events = Array.from({ length: 100 }, (_, id) => event(id, id % 10 === 0 ? {} : { n: 1 }))
  events[55].data = Buffer.from('not JSON')
  const sent = await daemon.post(frame(...events), { 'x-correlation-id': 'c-100' })
  assert.equal(sent.status, 202)
  await daemon.processed(100)
  assert.deepEqual(await parsed(daemon), [89, 89])
  const page = await daemon.get('/v1/dead-letters')
  assert.deepEqual(
    page.letters.map(({ correlationId }: { correlationId: string }) => correlationId),
    Array(11).fill('c-100'),
  )
  assert.deepEqual(
    page.kinds.map(({ handler, count }: { handler: string; count: number }) => [handler, count]),
    [
      ['parse', 10],
      ['parse', 1],
    ],
  )
  const notJson = page.kinds[1].reason
  assert.match(notJson, /JSON/)
  const ids: string[] = page.letters
    .filter(({ reason }: { reason: string }) => reason === 'no n')
    .map(({ id }: { id: string }) => id)
  const [one, another] = ids
  assert.equal((await daemon.get(`/v1/dead-letters/${one}`)).event.id, '0')

  const inVain = await change(daemon, 'POST', `/v1/dead-letters/${one}/replay`)
  assert.deepEqual(inVain, { status: 200, body: { id: one, outcome: 'failed', reason: 'no n' } })
  assert.equal((await daemon.get(`/v1/dead-letters/${one}`)).attempts, 2)
  assert.deepEqual(await parsed(daemon), [89, 89])

  await restart(mended)
  const before = await daemon.get('/v1/results/last/s')
  assert.deepEqual(before, { n: 1, id: '99' })
  const outcome = await change(daemon, 'POST', `/v1/dead-letters/${one}/replay`)
  assert.deepEqual(outcome, { status: 200, body: { id: one, outcome: 'replayed' } })
  assert.deepEqual(await parsed(daemon), [90, 1089])
  assert.equal((await change(daemon, 'POST', `/v1/dead-letters/${one}/replay`)).status, 404)
  const path = `/v1/dead-letters/${another}/replay`
  const twice = await Promise.all([1, 2, 3].map(() => change(daemon, 'POST', path)))
  assert.ok(twice.some(({ body }) => body.outcome === 'replayed'))
  assert.ok(twice.every(({ status, body }) => status === 404 || body.outcome === 'replayed'))
  assert.deepEqual(await parsed(daemon), [91, 2089])

  const all = await run(['dlq', 'replay', '--all', '--url', daemon.http])
  assert.equal(all.code, 1) // one is not JSON, still
  assert.match(all.stdout, /^replayed 8; 1 could not be handled again, and stay\n$/)
  assert.match(all.stderr, /JSON/)
  assert.deepEqual(await parsed(daemon), [99, 10089])
  const { rows } = await daemon.get('/v1/measures/all')
  assert.equal(rows[0].count, 100) // of the configuration: a replay is no new event
  assert.equal((await run(['dlq', 'drop', '--handler', 'parse', '--url', daemon.http])).stdout, 'dropped 1\n')
  const status = (await daemon.status()) as unknown as { deadLetters: object }
  assert.deepEqual(status.deadLetters, { kept: 0, total: 11, replayed: 10, dropped: 1, left: 0 })
  assert.equal((await daemon.status()).processed.events, 100)
})

test('an application lists, shows, replays and drops them through its client, and reads results', async (t) => {
  const { daemon, restart } = await started(t, broken)
  const events = Array.from({ length: 5 }, (_, id) => event(id, {}))
  assert.equal((await daemon.post(frame(...events))).status, 202)
  await daemon.processed(5)
  assert.equal((await daemon.post(frame(event(5, { n: 7 })))).status, 202)
  await daemon.processed(6)
  const client = new Client({ url: daemon.http })
  t.after(() => client.close())
  const { letters, cursor, kinds, kept } = await client.deadLetters({ handler: 'par*', limit: 2 })
  assert.deepEqual([letters.length, kinds, kept], [2, [{ handler: 'parse', reason: 'no n', count: 5 }], 5])
  const rest = await client.deadLetters({ handler: 'par*', cursor })
  const ids = [...letters, ...rest.letters].map(({ id }) => id)
  assert.equal(ids.length, 5)
  const one = await client.deadLetter(ids[0])
  assert.deepEqual([one.handler, one.event.id, one.json], ['parse', '0', {}])
  await assert.rejects(client.deadLetter('none'), { code: 'not-found' })
  const inVain = await client.replay([ids[0]])
  assert.deepEqual([inVain.failed, inVain.failures], [1, [{ id: ids[0], reason: 'no n' }]])
  assert.equal((await client.drop([ids[1]])).dropped, 1)
  await restart(mended)
  assert.equal((await client.replay({ reason: 'no*', handler: 'other' })).replayed, 0)
  assert.equal((await client.replay([ids[0]])).replayed, 1)
  assert.deepEqual(await client.replay('all'), { ...inVain, replayed: 3, failed: 0, failures: [] })
  assert.equal((await client.drop('all')).dropped, 0)
  assert.deepEqual(await parsed(daemon), [5, 4007])
  const results = []
  for await (const { key, json } of client.results('last/')) results.push([key, json])
  assert.deepEqual(results, [['last/s', { n: 7, id: '5' }]])
  assert.equal((await client.result('last/s')).toString(), '{"n":7,"id":"5"}')
  await assert.rejects(client.result('first/s'), { code: 'not-found' })
})

test('a replay does not put its result in the place of what a later event has stored', async (t) => {
  const { daemon, restart } = await started(t, broken)
  const dead = [event(1, {}), { ...event(2, {}), subject: 'alone' }]
  assert.equal((await daemon.post(frame(...dead))).status, 202)
  await daemon.processed(2)
  await restart(mended)
  assert.equal((await daemon.post(frame(event(3, { n: 5 })))).status, 202)
  await daemon.processed(3)
  const { body } = await change(daemon, 'POST', '/v1/dead-letters/replay?all=true')
  assert.equal(body.replayed, 2)
  assert.deepEqual(await daemon.get('/v1/results/last/s'), { n: 5, id: '3' })
  assert.deepEqual(await daemon.get('/v1/results/last/alone'), { n: 1000, id: '2' })
})

test('a replay whose handler hangs leaves the letter with that reason, and the daemon goes on', async (t) => {
  const { daemon, restart } = await started(t, broken)
  assert.equal((await daemon.post(frame(event(1, {})))).status, 202)
  await daemon.processed(1)
  const hangs = handler('while (n === undefined);').replace("name: 'parse',", "name: 'parse', timeLimit: 50,")
  await restart(hangs)
  const { body } = await change(daemon, 'POST', '/v1/dead-letters/replay?all=true')
  assert.deepEqual([body.replayed, body.failed], [0, 1])
  assert.match(body.failures[0].reason, /took longer than 50ms/)
  assert.equal((await daemon.post(frame(event(2, { n: 3 })))).status, 202)
  await daemon.processed(2)
  assert.deepEqual(await parsed(daemon), [1, 3])
  assert.equal((await daemon.get('/v1/dead-letters')).letters[0].attempts, 2)
})

test('past as many dead letters as are kept the oldest leave, loudly', async (t) => {
  const { daemon } = await started(t, broken)
  const count = DEAD_LETTERS_MAX + 300
  for (let from = 0; from < count; from += 100) {
    const events = Array.from({ length: 100 }, (_, i) => event(from + i, {}))
    assert.equal((await daemon.post(frame(...events))).status, 202)
  }
  await daemon.processed(count)
  const { letters, kept, total, left } = await daemon.get('/v1/dead-letters?limit=1')
  assert.deepEqual({ kept, total, left }, { kept: DEAD_LETTERS_MAX, total: count, left: 300 })
  assert.equal((await daemon.get(`/v1/dead-letters/${letters[0].id}`)).event.id, '300')
  const line = await daemon.line(({ msg }) => /the oldest have left/.test(String(msg)))
  assert.equal(line.role, 'processor')
})

test('letters are replayed exactly once, however often their processors are killed meanwhile', async (t) => {
  const config = { log: { partitions: 2 }, cluster: { processors: 2 } }
  const { daemon, restart } = await started(t, broken, config)
  const count = 3000
  for (let from = 0; from < count; from += 100) {
    const events = Array.from({ length: 100 }, (_, i) => ({
      ...event(from + i, {}),
      subject: `s${i % 7}`,
    }))
    assert.equal((await daemon.post(frame(...events))).status, 202)
  }
  await daemon.processed(count)
  assert.equal((await daemon.get('/v1/dead-letters?limit=1')).kept, count)
  await restart(mended)
  const kept = async () => (await daemon.get('/v1/dead-letters?limit=1')).kept as number
  const handled = async () => {
    const { rows } = await daemon.get('/v1/measures/parsed')
    return rows.reduce((sum: number, row: { count: number }) => sum + row.count, 0) as number
  }
  let kills = 0
  for (let left = count; left > 0; left = await kept()) {
    let answered = false
    const asked = Promise.all([
      change(daemon, 'POST', '/v1/dead-letters/replay?all=true&limit=700'),
      change(daemon, 'POST', '/v1/dead-letters/replay?handler=parse&limit=500'), // many of the same
    ]).finally(() => {
      answered = true
    })
    if (kills < KILLS) {
      const { roles } = await daemon.status()
      const processors = roles.filter(({ role }) => role === 'processor').map(({ pid }) => pid)
      // The moment in which one of the two is seen to have moved: if the other one comes later, it does not come.
      if (kills % 4 < 2) {
        const before = await handled()
        while (!answered && (await handled()) < before + 20);
      } else {
        const before = await kept()
        while (!answered && (await kept()) > before - 20);
      }
      if (!answered && processors.length === 2) killQuietly(processors[kills++ % 2])
    }
    await asked
    await daemon.until(
      ({ roles }) => roles.filter(({ role, ready }) => role === 'processor' && ready).length === 2,
    )
  }
  assert.ok(kills > 2, `${kills} kills`)
  const total = await handled()
  const { rows } = await daemon.get('/v1/measures/parsed')
  const sum = rows.reduce((all: number, row: { sum: number }) => all + row.sum, 0)
  assert.deepEqual([total, sum], [count, count * 1000])
  const { deadLetters } = (await daemon.status()) as unknown as { deadLetters: object }
  assert.deepEqual(deadLetters, { kept: 0, total: count, replayed: count, dropped: 0, left: 0 })
})
