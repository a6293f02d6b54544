// The tap of the real daemon: whoever reads at one listener sees the events of all of them, and disturbs nobody.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { EventSource } from 'undici'
import { TAPS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { Client } from './client.ts'
import { atEnd, Daemon, entry, frame, killQuietly } from './daemon.ts'
import { StreamClient } from './stream-client.ts'
import { TapClient } from './tap-client.ts'

/** Posts over a connection of its own, so through any listener. Resolves with the correlation id of the answer. */
function post(daemon: Daemon, body: Buffer, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${daemon.http}/v1/events`,
      {
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/x-protobuf', 'content-length': body.length, ...headers },
      },
      (response) => {
        response.resume()
        response.on('end', () => {
          if (response.statusCode === 202) resolve(String(response.headers['x-correlation-id']))
          else reject(new Error(`answered ${response.statusCode}`))
        })
      },
    )
    sent.on('error', reject).end(body)
  })
}

/** What a listener's own correlation ids begin with: one for each process. */
const processOf = (correlationId: unknown) => String(correlationId).split('-')[0]

/** Posts until so many listeners have taken some. Resolves with all correlation ids. */
async function postThroughAll(daemon: Daemon, listeners: number, but: string[] = []): Promise<string[]> {
  const ids: string[] = []
  const wanted = () => new Set(ids.map(processOf).filter((one) => !but.includes(one)))
  while (wanted().size < listeners) ids.push(await post(daemon, frame({ subject: 'all', value: ids.length })))
  return ids
}

/** Taps at as many listeners as there are. */
async function tapsAtAll(t: TestContext, daemon: Daemon, listeners: number): Promise<TapClient[]> {
  const taps: TapClient[] = []
  const at = () => new Set(taps.map(({ headers }) => processOf(headers['x-correlation-id'])))
  while (at().size < listeners) taps.push(await TapClient.open(t, daemon, '?rate=1000'))
  return taps
}

test('a tap at one listener sees the events of all, whichever way they came, with their correlation ids', async (t) => {
  const daemon = await Daemon.start(t)
  const tap = await TapClient.open(t, daemon, '?rate=1000')
  assert.equal(tap.status, 200)
  assert.equal(tap.headers['content-type'], 'text/event-stream; charset=utf-8')
  const ids = await postThroughAll(daemon, 2)
  await tap.until(() => tap.events.length === ids.length)
  assert.deepEqual(tap.events.map(({ millracecorrelation }) => millracecorrelation).sort(), [...ids].sort())
  for (const event of tap.events) {
    const age = Date.now() - Date.parse(String(event.millracereceived))
    assert.ok(age >= 0 && age < 60_000)
    assert.equal(event.subject, 'all')
  }

  tap.events.length = 0
  await post(daemon, frame({ subject: 'mine' }), { 'x-correlation-id': 'mine-1' })
  await post(daemon, frame({ subject: 'trace' }), {
    traceparent: `00-${'a1'.repeat(16)}-00f067aa0ba902b7-01`,
  })
  await daemon.post('{"source":"s","type":"t","subject":"json"}\n', {
    'content-type': 'application/x-ndjson',
    'x-correlation-id': 'json-1',
  })
  await tap.until(() => tap.events.length === 3)
  assert.deepEqual(
    Object.fromEntries(tap.events.map(({ subject, millracecorrelation }) => [subject, millracecorrelation])),
    { mine: 'mine-1', trace: 'a1'.repeat(16), json: 'json-1' },
  )
  await daemon.post('{', { 'content-type': 'application/json', 'x-correlation-id': 'bad-1' })
  await daemon.line((line) => line.msg === 'request refused' && line.correlationId === 'bad-1')

  const stream = new StreamClient(daemon, 'stream', 1)
  const streaming = stream.run()
  await tap.until(() => tap.events.some(({ subject }) => subject === 'stream'))
  stream.stop()
  await streaming
})

test('with several partitions a body is seen whole', async (t) => {
  const daemon = await Daemon.start(t, {
    config: { log: { partitions: 4, retention: { maxBytes: '1GiB' } } },
  })
  const tap = await TapClient.open(t, daemon, '?rate=1000')
  const subjects = Array.from({ length: 40 }, (_, i) => `s${i}`)
  const id = await post(daemon, frame(...subjects.map((subject) => ({ subject }))))
  await tap.until(() => tap.events.length === subjects.length)
  assert.deepEqual(tap.events.map(({ subject }) => subject).sort(), [...subjects].sort())
  assert.ok(tap.events.every(({ millracecorrelation }) => millracecorrelation === id))
  assert.equal(new Set(tap.events.map((event) => event.id)).size, subjects.length, 'made ids differ')
})

test('filters choose by type, source and subject', async (t) => {
  const daemon = await Daemon.start(t)
  const wanted = '?type=temp*&source=*house&subject=*ed-*'
  const tap = await TapClient.open(t, daemon, wanted)
  const all = await TapClient.open(t, daemon)
  const good = { type: 'temperature', source: 'greenhouse', subject: 'bed-1' }
  await post(
    daemon,
    frame(
      good,
      { ...good, type: 'humidity' },
      { ...good, source: 'shed' },
      { ...good, subject: 'door' },
      { ...good, value: 2 },
    ),
  )
  await all.until(() => all.events.length === 5)
  await tap.until(() => tap.events.length === 2)
  assert.deepEqual(
    tap.events.map(({ type, source, subject, value }) => ({ type, source, subject, value })),
    [
      { ...good, value: undefined },
      { ...good, value: 2 },
    ],
  )
  assert.deepEqual(tap.missed, [], 'what was not wanted was not missed')
})

test('above its rate a tap shows a fair sample, and says how many there were', async (t) => {
  const daemon = await Daemon.start(t)
  const tap = await TapClient.open(t, daemon, '?rate=20')
  const count = 5000
  await post(daemon, frame(...Array.from({ length: count }, (_, value) => ({ value }))))
  await tap.until(() => tap.events.length + tap.total('sampled') === count)
  assert.ok(tap.events.length >= 1 && tap.events.length <= 40, `${tap.events.length} were shown`)
  const values = tap.events.map(({ value }) => Number(value))
  assert.ok(
    Math.max(...values) > count / 4 && Math.min(...values) < (3 * count) / 4,
    `not only an end of it: ${values}`,
  )
  assert.equal(tap.total('missed') + tap.total('unread'), 0)
})

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024
}

test('a reader that stops reading costs nothing, disturbs nobody, and is told what it missed', async (t) => {
  const daemon = await Daemon.start(t)
  const slow = await TapClient.open(t, daemon, '?rate=1000')
  const quick = await TapClient.open(t, daemon, '?rate=1000')
  const neighbour = new Client(daemon, 'neighbour', 1, { bytes: 16_000 })
  const sending = neighbour.run()
  await quick.until(() => quick.events.length > 500)
  const pids = (await daemon.status()).roles.map(({ pid }) => pid)
  const memory = async () => (await Promise.all(pids.map(residentBytes))).reduce((sum, bytes) => sum + bytes)
  const before = await memory()

  slow.pause()
  const seen = quick.events.length
  await quick.until(() => quick.events.length > seen + 1600) // over 32 MB in base64: far more than sockets hold
  assert.ok((await memory()) - before < 100 * 1024 * 1024)
  slow.resume()
  await slow.until(() => slow.total('missed') > 0)

  neighbour.stop()
  await sending
  assert.equal(neighbour.retries, 0)
  const known = (tap: TapClient) =>
    tap.events.length + tap.total('missed') + tap.total('sampled') + tap.total('unread')
  for (const tap of [slow, quick]) await tap.until(() => known(tap) === neighbour.ackedEvents)
  assert.ok(slow.total('missed') > quick.total('missed') + 500)
})

test('when a listener is killed, taps at others go on and see its successor', async (t) => {
  const daemon = await Daemon.start(t)
  const taps = await tapsAtAll(t, daemon, 2)
  const ids = await postThroughAll(daemon, 2)
  await Promise.all(taps.map((tap) => tap.until(() => tap.events.length === ids.length)))
  const listeners = (await daemon.status()).roles.filter(({ role }) => role === 'listener')
  killQuietly(listeners[0].pid)
  const first = processOf(taps[0].headers['x-correlation-id'])
  const last = processOf(taps.at(-1)!.headers['x-correlation-id'])
  const at = (one: string) => taps.filter(({ headers }) => processOf(headers['x-correlation-id']) === one)
  await Promise.race([first, last].map((one) => at(one)[0].untilEnded()))
  const [dead, alive] = at(first)[0].ended !== undefined ? [first, last] : [last, first]
  for (const tap of at(dead)) await tap.untilEnded()
  await daemon.until(
    ({ roles }) => roles.filter(({ role, ready }) => role === 'listener' && ready).length === 2,
  )
  // Ready is a moment before it looks for others' taps.
  const former = new Set(ids.map(processOf))
  const isNew = ({ millracecorrelation }: Record<string, unknown>) =>
    !former.has(processOf(millracecorrelation))
  await until(async () => {
    await post(daemon, frame({ subject: 'all' }))
    return at(alive).every((tap) => tap.events.some(isNew))
  }, 'an event of the successor at each tap')
  const later = await postThroughAll(daemon, 2)
  assert.ok(later.map(processOf).includes(alive))
  for (const tap of at(alive)) {
    const seen = () => tap.events.map(({ millracecorrelation }) => String(millracecorrelation))
    await tap.until(() => later.every((id) => seen().includes(id)))
    assert.equal(new Set(seen()).size, tap.events.length, 'each once')
  }
})

test('an EventSource reads a tap, and a drain ends it', async (t) => {
  const daemon = await Daemon.start(t)
  const tap = await TapClient.open(t, daemon)
  const source = new EventSource(`${daemon.http}/v1/events/tail`)
  atEnd(t, () => source.close())
  const received: Record<string, unknown>[] = []
  source.onmessage = ({ data }) => void received.push(JSON.parse(data))
  await new Promise<void>((resolve) => source.addEventListener('open', () => resolve(), { once: true }))
  await until(async () => {
    await post(daemon, frame({ subject: 'before' })) // a listener may not look yet
    return received.some(({ subject }) => subject === 'before')
  }, 'the event')

  const ended = new Promise<void>((resolve) =>
    source.addEventListener('error', () => resolve(), { once: true }),
  )
  assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
  await Promise.all([tap.untilEnded(), ended])
  assert.equal(tap.ended, 'by the server')
  assert.equal(source.readyState, EventSource.CONNECTING, 'which is no failure: it comes again')
})

test('EventSources come again after a reload, whichever listener they were at', async (t) => {
  const daemon = await Daemon.start(t)
  const sources = Array.from({ length: 6 }, () => {
    const source = new EventSource(`${daemon.http}/v1/events/tail?subject=after`)
    atEnd(t, () => source.close())
    const seen: string[] = []
    source.onmessage = ({ data }) => void seen.push(JSON.parse(data).id)
    return { source, seen }
  })
  await until(() => sources.every(({ source }) => source.readyState === EventSource.OPEN), 'all to be open')
  const former = (await daemon.status()).roles.map(({ pid }) => pid)
  const from = daemon.lines.length
  daemon.signal('SIGHUP')
  await daemon.line(({ msg }) => msg === 'reloaded', from)
  const now = (await daemon.status()).roles.filter(({ role }) => role === 'listener')
  assert.ok(now.every(({ pid }) => !former.includes(pid)))
  let id = 0
  await until(async () => {
    for (const { source } of sources)
      assert.notEqual(source.readyState, EventSource.CLOSED, 'it has given up')
    await post(daemon, frame({ id: String(id++), subject: 'after' }))
    return sources.every(({ seen }) => seen.length > 0)
  }, 'an event at each of them')
})

test('bad requests, too many taps, and keys without the scope are refused', async (t) => {
  const sha256 = (key: string) => createHash('sha256').update(key).digest('hex')
  const keys = [
    { name: 'asks', sha256: sha256('q'), scopes: ['query'] },
    { name: 'sends', sha256: sha256('p'), scopes: ['publish'] },
  ]
  const daemon = await Daemon.start(t, { config: { auth: { keys } } })
  const path = '/v1/events/tail'
  const ask = (key: string, query = '', method = 'GET') =>
    fetch(daemon.http + path + query, {
      method,
      headers: key === '' ? {} : { authorization: `Bearer ${key}` },
    })
  for (const [key, query, method, status, code, detail] of [
    ['', '', 'GET', 401, 'unauthenticated', /./],
    ['p', '', 'GET', 403, 'out-of-scope', /query/],
    ['q', '?rate=0', 'GET', 400, 'malformed', /rate=0: a whole number from 1 to 1000/],
    ['q', '?rate=1001', 'GET', 400, 'malformed', /1000/],
    ['q', '?rate=x', 'GET', 400, 'malformed', /rate=x/],
    ['q', '?typ=x', 'GET', 400, 'malformed', /no parameter typ; did you mean type/],
    ['q', '?type=a*b', 'GET', 400, 'malformed', /type=a\*b: \* may stand at either end only/],
    ['q', `?subject=${'x'.repeat(1025)}`, 'GET', 400, 'malformed', /subject has 1025 bytes, 1024 at most/],
    ['q', '', 'POST', 405, 'wrong-method', /GET is understood/],
  ] as const) {
    const response = await ask(key, query, method)
    const problem = (await response.json()) as Record<string, unknown>
    assert.deepEqual([response.status, problem.code], [status, code], query)
    assert.match(String(problem.detail), detail)
  }
  const open: Response[] = []
  let refused: Response | undefined
  while (refused === undefined && open.length <= 2 * TAPS_MAX) {
    const response = await ask('q')
    if (response.status === 200) open.push(response)
    else refused = response
  }
  assert.equal(refused?.status, 429)
  assert.equal(refused?.headers.get('retry-after'), '1')
  assert.match(await refused!.text(), /16 taps are open here/)
  await Promise.all(open.map((response) => response.body?.cancel()))
  // Those that went away have made room again.
  for (let status = 429; status !== 200; ) {
    const response = await ask('q')
    status = response.status
    await response.body?.cancel()
  }
})

/** Runs `millrace tap`; resolves with how it ended. */
function runTap(t: TestContext, daemon: Daemon, ...words: string[]) {
  const child = spawn(process.execPath, [entry, 'tap', '--url', daemon.http, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  atEnd(t, () => child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  let told = () => {}
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
    told()
  })
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, stdout, stderr })),
  )
  const until = async (pattern: RegExp) => {
    while (!pattern.test(stdout)) await new Promise<void>((resolve) => (told = resolve))
  }
  return { child, ended, until }
}

test('millrace tap prints events as they come, and ends cleanly', async (t) => {
  const daemon = await Daemon.start(t)
  const body = frame({
    subject: 'bed-1',
    value: 21.5,
    data: Buffer.from('{"a":"\\u001b"}'),
    datacontenttype: 'application/json',
  })
  let stopped = false
  const sending = (async () => {
    while (!stopped) await post(daemon, body, { 'x-correlation-id': 'mine' })
  })()
  atEnd(t, () => {
    stopped = true
    return sending.catch(() => {})
  })

  const counted = await runTap(t, daemon, '--json', '--count', '3', '--subject', 'bed*').ended
  assert.equal(counted.code, 0, counted.stderr)
  const lines = counted.stdout.trimEnd().split('\n')
  assert.equal(lines.length, 3)
  for (const line of lines) assert.equal(JSON.parse(line).millracecorrelation, 'mine')

  const followed = runTap(t, daemon, '--rate', '10')
  await followed.until(/\n/)
  followed.child.kill('SIGINT')
  const { code, stdout } = await followed.ended
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^\d\d:\d\d:\d\d\.\d{3} {2}test {2}test {2}bed-1 {2}21\.5 {2}\{"a":"\\u001b"\} {2}mine\n/,
  )

  const wrong = await runTap(t, daemon, '--type', 'a*b').ended
  assert.deepEqual([wrong.code, wrong.stdout], [2, ''])

  const cut = runTap(t, daemon)
  await cut.until(/\n/)
  stopped = true
  await sending
  await daemon.stop()
  const ended = await cut.ended
  assert.equal(ended.code, 1)
  assert.match(ended.stderr, /has ended the tap/)
})
