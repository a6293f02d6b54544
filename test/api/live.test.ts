import assert from 'node:assert/strict'
import { get, type IncomingMessage } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import { liveRoute } from '../../src/api/live.ts'
import { LIVE_READERS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { openRoutes } from './admin-port.ts'

let admin: Awaited<ReturnType<typeof openRoutes>>
let kept: string[] = []
const STALLED_MS_MAX = 1_000
const watchers = new Set<(sample: string) => void>()
const told = (sample: string) => {
  for (const watcher of watchers) watcher(sample)
}

before(async () => {
  const samples = {
    history: async () => kept,
    watch(watcher: (sample: string) => void) {
      watchers.add(watcher)
      return () => watchers.delete(watcher)
    },
  }
  admin = await openRoutes({ '/live': liveRoute(samples), '/impatient': liveRoute(samples, STALLED_MS_MAX) })
})
beforeEach(() => {
  kept = ['{"n":1}', '{"n":2}', '{"n":3}']
})
after(() => {
  admin.server.close()
  admin.server.closeAllConnections()
})

const address = (query = '', path = '/live') => `http://127.0.0.1:${admin.address.port}${path}${query}`

/** Looks on. Resolves when the answer has begun. */
function look(path = '/live'): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(address('', path), { headers: { accept: 'text/event-stream' } }, resolve).on('error', reject)
  })
}

test('the newest samples are answered, one unless more are asked for', async () => {
  const samples = async (query: string) => {
    const answer = (await (await fetch(address(query))).json()) as { samples: { n: number }[] }
    return answer.samples.map(({ n }) => n)
  }
  assert.deepEqual(await samples(''), [3])
  assert.deepEqual(await samples('?samples=2'), [2, 3])
  assert.deepEqual(await samples('?samples=600'), [1, 2, 3])
  for (const query of ['?samples=0', '?samples=601', '?samples=1.5', '?samples=', '?sample=1']) {
    assert.equal((await fetch(address(query))).status, 400, query)
  }
})

test('whoever looks on gets what is kept, the oldest first, and then each sample as it comes', async () => {
  const stream = await look()
  assert.equal(stream.headers['content-type'], 'text/event-stream; charset=utf-8')
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await until(() => text.includes('"n":3'))
  told('{"n":4}')
  await until(() => text.includes('"n":4'))
  assert.equal(text, [1, 2, 3, 4].map((n) => `data: {"n":${n}}\n\n`).join(''))
  stream.destroy()
  await until(() => watchers.size === 0)
})

test('a reader that does not read loses samples, costs no memory, and goes on with the newest', async () => {
  kept = []
  const stream = await look()
  const large = 'x'.repeat(64 * 1024)
  const SAMPLES = 2000
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().external
  for (let n = 0; n < SAMPLES; n++) {
    told(`{"n":${n},"large":"${large}"}`)
    if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const grown = process.memoryUsage().arrayBuffers + process.memoryUsage().external - before
  assert.ok(grown < (SAMPLES * large.length) / 4, `${grown} bytes`)
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  let last = SAMPLES
  await until(() => {
    told(`{"n":${last++}}`)
    return text.endsWith('}\n\n') && new RegExp(`"n":${last - 2}}`).test(text)
  })
  const numbers = [...text.matchAll(/"n":(\d+)/g)].map(([, n]) => Number(n))
  assert.ok(numbers.length < SAMPLES / 2, `${numbers.length} of ${SAMPLES} were sent`)
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => a - b),
  )
  stream.destroy()
  await until(() => watchers.size === 0)
})

/** More than the buffers of a connection hold. */
const LARGE = `{"large":"${'x'.repeat(32 * 1024 * 1024)}"}`

test('a reader that never reads is closed, and its place is free again; one that has nothing to read stays', async () => {
  const others = await Promise.all(Array.from({ length: LIVE_READERS_MAX - 1 }, () => look('/impatient')))
  kept = [LARGE]
  const stalled = await look('/impatient')
  const refused = await look('/impatient')
  assert.equal(refused.statusCode, 429)
  refused.resume()
  await until(() => watchers.size === others.length)
  const next = await look('/impatient')
  assert.equal(next.statusCode, 200)
  assert.equal(watchers.size, LIVE_READERS_MAX)
  for (const stream of [...others, stalled, next]) stream.destroy()
  await until(() => watchers.size === 0)
})

test('one that reads slowly gets everything, however long it takes', async () => {
  kept = [LARGE]
  const stream = await look('/impatient')
  const startedAt = performance.now()
  let bytes = 0
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    stream.pause()
    // A pace at which all of it takes several times as long as one may be silent.
    setTimeout(() => stream.resume(), ((3 * STALLED_MS_MAX) / LARGE.length) * chunk.length)
  })
  await until(() => bytes >= LARGE.length)
  assert.ok(performance.now() - startedAt > 2 * STALLED_MS_MAX)
  assert.equal(watchers.size, 1)
  stream.destroy()
  await until(() => watchers.size === 0)
})

test('so many may look on; one more is told to come later', async () => {
  const streams = await Promise.all(Array.from({ length: LIVE_READERS_MAX }, () => look()))
  const refused = await look()
  assert.equal(refused.statusCode, 429)
  assert.equal(refused.headers['retry-after'], '1')
  refused.resume()
  for (const stream of streams) stream.destroy()
  await until(() => watchers.size === 0)
  const next = await look()
  assert.equal(next.statusCode, 200)
  next.destroy()
})
