import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { FakeDaemon, openInput, problem, run } from './fake.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-send-'))
after(() => rmSync(folder, { recursive: true, force: true }))

function write(name: string, text: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => `{"source":"s","type":"t","subject":"${i}"}\n`).join('')
const tenLines = write('ten.ndjson', lines(10))
const summary = (stdout: string) => {
  const { seconds: _seconds, eventsPerSecond: _rate, ...rest } = JSON.parse(stdout)
  return rest
}

test('all of a file is sent once, in consecutive sequences of one producer', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const { code, stdout, stderr } = await run([
    ...[
      'send',
      tenLines,
      '--url',
      daemon.url,
      '--batch',
      '4',
      '--concurrency',
      '1',
      '--producer',
      'p',
      '--json',
    ],
  ])
  assert.equal(code, 0, stderr)
  assert.deepEqual(daemon.identities, ['p/0', 'p/1', 'p/2'])
  assert.equal(Buffer.concat(daemon.received.map(({ body }) => body)).toString(), lines(10))
  assert.equal(daemon.received[0].url, '/v1/events')
  assert.equal(daemon.received[0].headers['content-type'], 'application/x-ndjson')
  assert.deepEqual(summary(stdout), {
    producer: 'p',
    sent: 10,
    acked: 10,
    refused: 0,
    unanswered: 0,
    requests: 3,
    retries: 0,
  })
})

test('the summary is for people unless asked otherwise', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const { code, stdout } = await run(['send', '-', '--format', 'ndjson', '--url', daemon.url], {
    stdin: lines(1234),
  })
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^sent 1,234 {2}acked 1,234 {2}refused 0 {2}retries 0 {2}[0-9.]+ s {2}[0-9,k]+ events\/s\n$/,
  )
})

test('two runs have two producers', async (t) => {
  const daemon = await FakeDaemon.start(t)
  for (let i = 0; i < 2; i++) assert.equal((await run(['send', tenLines, '--url', daemon.url])).code, 0)
  const [first, second] = daemon.received.map(({ headers }) => headers['millrace-producer'])
  assert.notEqual(first, second)
})

for (const [claim, answer] of [
  ['429', problem(429, 'overloaded', 'busy')],
  ['503', problem(503, 'draining', 'shutting down', { 'retry-after': '0' })],
  ['500', problem(500, 'internal', 'sorry')],
  ['502 of a proxy', { status: 502, body: '<html>' }],
  ['504 of a proxy', { status: 504, body: '' }],
  ['a connection that breaks before the body', 'reset before the body'],
  ['a connection that breaks after the body', 'reset after the body'],
  ['a connection that breaks in the answer', 'reset in the answer'],
] as const) {
  test(`after ${claim} the same body is sent again under the same identity`, async (t) => {
    const daemon = await FakeDaemon.start(t, (number) => (number === 1 || number === 2 ? answer : undefined))
    const { code, stdout, stderr } = await run([
      ...[
        'send',
        tenLines,
        '--url',
        daemon.url,
        '--batch',
        '5',
        '--concurrency',
        '1',
        '--producer',
        'p',
        '--json',
      ],
    ])
    assert.equal(code, 0, stderr)
    assert.deepEqual(daemon.identities, ['p/0', 'p/1', 'p/1', 'p/1'])
    const { acked, retries, requests, refused } = summary(stdout)
    assert.deepEqual(
      { acked, retries, requests, refused },
      { acked: 10, retries: 2, requests: 4, refused: 0 },
    )
    assert.equal(Buffer.concat(daemon.accepted.map(({ body }) => body)).toString(), lines(10))
  })
}

test('Retry-After is honoured', async (t) => {
  const busy = problem(429, 'overloaded', 'busy', { 'retry-after': '1' })
  const daemon = await FakeDaemon.start(t, (number) => (number === 0 ? busy : undefined))
  assert.equal((await run(['send', tenLines, '--url', daemon.url])).code, 0)
  assert.ok(daemon.received[1].at - daemon.received[0].at >= 1000)
})

test('patience ends: what got no answer is told of as such', async (t) => {
  const daemon = await FakeDaemon.start(t, (number) =>
    number === 0 ? undefined : problem(503, 'log-unavailable', 'disk full'),
  )
  const { code, stdout, stderr } = await run([
    ...['send', tenLines, '--url', daemon.url, '--batch', '5', '--concurrency', '1'],
    ...['--retry-for', '200ms', '--json'],
  ])
  assert.equal(code, 1)
  assert.match(stderr, /gave up after 200ms of trying again: log-unavailable: disk full/)
  const { sent, acked, unanswered, refused } = summary(stdout)
  assert.deepEqual({ sent, acked, unanswered, refused }, { sent: 10, acked: 5, unanswered: 5, refused: 0 })
  assert.ok(daemon.received.length > 2)
})

test('a refusal stops the run and says where in the file it was', async (t) => {
  const daemon = await FakeDaemon.start(t, (number) =>
    number === 1 ? problem(400, 'malformed', 'line 2: type is missing') : undefined,
  )
  const { code, stdout, stderr } = await run([
    ...['send', tenLines, '--url', daemon.url, '--batch', '3', '--concurrency', '1', '--json'],
  ])
  assert.equal(code, 1)
  assert.equal(stderr, `millrace send: ${tenLines}, lines 4 to 6: malformed: line 5: type is missing\n`)
  assert.equal(daemon.received.length, 2, 'not tried again, and nothing after it')
  const { sent, acked, refused } = summary(stdout)
  assert.deepEqual({ sent, acked, refused }, { sent: 6, acked: 3, refused: 3 })
})

test('an answer of someone else is not taken for an acknowledgement', async (t) => {
  const daemon = await FakeDaemon.start(t, () => ({ status: 200, body: 'hello' }))
  const { code, stderr } = await run(['send', tenLines, '--url', daemon.url])
  assert.equal(code, 1)
  assert.match(stderr, /answered 200: hello/)
})

test('an answer for other events than those of the frame is a failure', async (t) => {
  const daemon = await FakeDaemon.start(t, () => ({ status: 202, body: { accepted: 1 } }))
  const csv = write('two.csv', 'a\n1\n2\n')
  const { code, stderr } = await run(['send', csv, '--url', daemon.url, '--type', 't', '--source', 's'])
  assert.equal(code, 1)
  assert.match(stderr, /answered 202, but for 1 of 2 events/)
})

test('nobody there is told at once', async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  const { code, stderr } = await run(['send', tenLines, '--url', `http://127.0.0.1:${port}`])
  assert.equal(code, 1)
  assert.equal(
    stderr,
    `millrace send: no answer from http://127.0.0.1:${port} (connection refused): is the daemon running at http://127.0.0.1:${port}?\n`,
  )
})

test('no more is in flight than --concurrency says', async (t) => {
  let waiting = 0
  let most = 0
  const waiters: (() => void)[] = []
  const release = () => {
    for (const waiter of waiters.splice(0)) waiter()
  }
  const daemon = await FakeDaemon.start(t, (number) => {
    most = Math.max(most, ++waiting)
    const answered = new Promise<void>((resolve) => waiters.push(resolve)).then(() => {
      waiting--
    })
    // Released in threes: the fourth can only come when one of them was answered.
    if (waiting === 3 || number >= 9) release()
    return answered
  })
  const { code } = await run(['send', tenLines, '--url', daemon.url, '--batch', '1', '--concurrency', '3'])
  assert.equal(code, 0)
  assert.equal(daemon.accepted.length, 10)
  assert.equal(most, 3)
})

test('--rate is a bound, and a slow rate goes in small requests', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const { code } = await run(['send', tenLines, '--url', daemon.url, '--rate', '40', '--batch', '500'])
  assert.equal(code, 0)
  const sizes = daemon.accepted.map(({ body }) => body.toString().trim().split('\n').length)
  assert.deepEqual(sizes, [4, 4, 2])
  // 8 events at 40 a second; the first request may be seen late.
  assert.ok(daemon.received[2].at - daemon.received[0].at >= 150)
})

test('an interrupt stops reading, and waits for what is in flight', async (t) => {
  let answer = () => {}
  const daemon = await FakeDaemon.start(t, () => new Promise<void>((resolve) => (answer = resolve)))
  const stdin = openInput()
  stdin.write(lines(3))
  const running = run(['send', '-', '--format', 'ndjson', '--url', daemon.url, '--batch', '3', '--json'], {
    stdin,
  })
  while (daemon.received.length === 0) await nextTurn()
  process.emit('SIGINT')
  await nextTurn()
  answer()
  const { code, stdout, stderr } = await running
  assert.equal(code, 1)
  assert.match(stderr, /interrupted before the end/)
  const { sent, acked } = summary(stdout)
  assert.deepEqual({ sent, acked }, { sent: 3, acked: 3 })
  assert.equal(process.listenerCount('SIGINT'), 0)
})

test('the key goes along, from the option or the environment', async (t) => {
  const daemon = await FakeDaemon.start(t)
  await run(['send', tenLines, '--auth-key', 'secret'], { env: { MILLRACE_URL: daemon.url } })
  await run(['send', tenLines, '--url', `${daemon.url}/behind/`], { env: { MILLRACE_KEY: 'other' } })
  assert.deepEqual(
    daemon.received.map(({ url, headers }) => [url, headers.authorization]),
    [
      ['/v1/events', 'Bearer secret'],
      ['/behind/v1/events', 'Bearer other'],
    ],
  )
})

const usage: [words: string[], message: RegExp][] = [
  [[], /FILE\|- is missing/],
  [['-'], /--format is missing for -: one of ndjson, csv, parquet, frames/],
  [['nowhere.csv', '--type', 't', '--source', 's'], /nowhere\.csv: there is no such file/],
  [[folder, '--format', 'ndjson'], /is a directory/],
  [['a.csv', '--source', 's'], /--type is missing: the type of all events/],
  [['a.csv', '--type', 't'], /--source is missing/],
  [[tenLines, '--type', 't'], /--type is for CSV and Parquet/],
  [[tenLines, '--url', 'nowhere'], /--url nowhere: an address such as/],
  [[tenLines, '--batch', '0'], /--batch 0: a whole number from 1 to 100000/],
  [[tenLines, '--concurency', '2'], /there is no option --concurency; did you mean --concurrency\?/],
  [[tenLines, '--retry-for', '10'], /--retry-for: "10" has no unit/],
  [[tenLines, '--producer', 'a b'], /--producer: 1 to 128 visible ASCII characters/],
  [[tenLines, '--producer', '--json'], /--producer needs a value: --producer NAME/],
  [[tenLines, '--json=yes'], /--json takes no value/],
  [[tenLines, 'more'], /"more" is more than it takes/],
  [['-', '--format', 'parquet', '--type', 't', '--source', 's'], /needs a file instead of -/],
  [['-', '--format', 'cvs'], /--format cvs: one of .*; did you mean csv\?/],
]
for (const [words, message] of usage) {
  test(`wrong usage: send ${words.join(' ').replaceAll(folder, '')}`, async () => {
    const { code, stdout, stderr } = await run(['send', ...words])
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, message)
    assert.match(stderr, /millrace send --help says how\n$/)
  })
}

test('many that wait to be tried again make no warning, and all give up when one fails', async (t) => {
  const warnings: string[] = []
  const warned = (warning: Error) => warnings.push(warning.message)
  process.on('warning', warned)
  t.after(() => process.off('warning', warned))
  // The last one is refused only after all others were told to come back in a minute.
  const later = problem(503, 'draining', 'later', { 'retry-after': '59' })
  let told = () => {}
  const others = new Promise<void>((resolve) => (told = resolve))
  let answered = 0
  const daemon = await FakeDaemon.start(t, (_, { headers }) => {
    if (headers['millrace-sequence'] === '39') return others.then(() => problem(400, 'malformed', 'no'))
    if (++answered === 39) setImmediate(told)
    return later
  })
  const words = ['--batch', '1', '--concurrency', '40', '--json', '--format', 'ndjson', '--url', daemon.url]
  const { code, stdout } = await run(['send', '-', ...words], { stdin: lines(40) })
  assert.equal(code, 1)
  const { refused, unanswered, retries } = summary(stdout)
  assert.deepEqual({ refused, unanswered, retries }, { refused: 1, unanswered: 39, retries: 0 })
  assert.deepEqual(warnings, [])
})
