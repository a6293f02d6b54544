import assert from 'node:assert/strict'
import { test } from 'node:test'
import { millrace } from '#proto'
import { waterfall } from '../../src/cli/trace.ts'
import { FakeDaemon, problem, run } from './fake.ts'

test('bench sends bodies of so many events, and says how many were acknowledged', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const words = [
    '--events-per-request',
    '7',
    '--connections',
    '2',
    '--rate',
    '50',
    '--seconds',
    '1',
    '--json',
  ]
  const { code, stdout, stderr } = await run(['bench', '--url', daemon.url, ...words])
  assert.equal(code, 0, stderr)
  const { requests, events, retries, latency } = JSON.parse(stdout)
  assert.equal(requests, daemon.accepted.length)
  assert.ok(requests >= 1 && requests <= 51, `${requests} in a second at 50 a second`)
  assert.deepEqual([events, retries], [7 * requests, 0])
  assert.ok(latency.p50 > 0 && latency.p50 <= latency.p95 && latency.p95 <= latency.p99)
  const [first] = millrace.v1.Frame.decode(daemon.accepted[0].body).events
  assert.deepEqual([first.type, first.subject], ['bench', 'bench-0'])
})

test('bench --trace: a table of the phases, and requests as waterfalls', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const words = ['--connections', '2', '--rate', '50', '--seconds', '1', '--trace']
  const { code, stdout, stderr } = await run(['bench', '--url', daemon.url, ...words])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^\s+p50 ms\s+p95 ms\s+p99 ms\s+max ms\nack /m)
  assert.match(stdout, /^phase\s+requests\s+p50 ms\s+p99 ms\s+max ms$/m)
  const counted = (phase: string) => Number(new RegExp(`^${phase} +([0-9]+) `, 'm').exec(stdout)![1])
  for (const phase of ['queue', 'send', 'first byte', 'rest', 'total']) {
    assert.equal(counted(phase), daemon.accepted.length, phase)
  }
  assert.ok(counted('tcp') >= 1 && counted('tcp') <= 2, 'once for each connection')
  assert.match(stdout, /^a request of median length:\n {2}queue .* ms/m)
  assert.match(stdout, /^one that opened its connection:\n {2}queue .*\n {2}dns .*\n {2}tcp .*\n {2}tls /m)
})

test('a waterfall: each bar begins where the one before it ended', () => {
  const timings = { startedAt: 0, queue: 0, dns: 0, tcp: 0, tls: 0, send: 1, firstByte: 2, rest: 1, total: 4 }
  assert.equal(
    waterfall({ ...timings, connected: false, status: 202 }),
    `  queue            0 ms  ▏
  send             1 ms  ${'█'.repeat(12)}
  first byte       2 ms  ${' '.repeat(12)}${'█'.repeat(24)}
  rest             1 ms  ${' '.repeat(36)}${'█'.repeat(12)}
`,
  )
})

test('bench ends at the first refusal, with what it was', async (t) => {
  const daemon = await FakeDaemon.start(t, (number) =>
    number === 3 ? problem(401, 'unauthenticated', 'this key is not known') : undefined,
  )
  const { code, stdout, stderr } = await run([
    'bench',
    '--url',
    daemon.url,
    '--seconds',
    '60',
    '--connections',
    '1',
  ])
  assert.equal(code, 1)
  assert.match(stdout, /^3 requests {2}300 events {2}0 retries .* ended by a failure$/m)
  assert.equal(stderr, 'millrace bench: unauthenticated: this key is not known\n')
})

test('bench: wrong usage', async () => {
  for (const [words, message] of [
    [['--seconds', '601'], /--seconds 601: a whole number from 1 to 600/],
    [['--trace', '--stream'], /--trace is of requests over HTTP/],
    [['--connections', '0'], /--connections 0: a whole number from 1/],
  ] as const) {
    const { code, stderr } = await run(['bench', ...words])
    assert.equal(code, 2)
    assert.match(stderr, message)
  }
})
