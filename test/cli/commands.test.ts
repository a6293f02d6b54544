import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import { type Answer, FakeDaemon, problem, run } from './fake.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-commands-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const root = resolve(import.meta.dirname, '../../..')
const entry = resolve(import.meta.dirname, '../../src/index.js')

const row = (key: string[], count: number, windowStart: string | null = null) => ({
  key,
  windowStart,
  windowEnd: windowStart,
  count,
  sum: 1234.5,
  min: -1,
  max: 2,
  mean: 0.33333333,
})

/** A daemon that answers each path. */
const answering =
  (answers: Record<string, unknown>) =>
  (_: number, { url }: { url: string }): Answer => {
    const body = answers[url]
    return body === undefined
      ? problem(404, 'unknown-route', `there is nothing at ${url}`)
      : { status: 200, body }
  }

test('help of everything, and the version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  assert.deepEqual(await run(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
  const { code, stdout } = await run(['--help'])
  assert.equal(code, 0)
  for (const name of ['start', 'check', 'send', 'query', 'top', 'tap', 'status']) {
    assert.match(stdout, new RegExp(`^  ${name} `, 'm'))
    const help = await run([name, '--help'])
    assert.equal(help.code, 0)
    assert.ok(help.stdout.startsWith(`usage: millrace ${name}`), help.stdout)
    assert.deepEqual(await run([name, '-h']), help)
  }
})

test('commands that there are not are refused, with the nearest one', async () => {
  const { code, stderr, stdout } = await run(['stats'])
  assert.deepEqual([code, stdout], [2, ''])
  assert.equal(
    stderr,
    'millrace: there is no command stats; did you mean status?\nmillrace --help lists them\n',
  )
  for (const name of ['dlq', 'replay', 'fsck', 'torture', 'reconcile']) {
    assert.equal((await run([name])).code, 2, name)
  }
})

test('start tells every problem of the configuration, a line each, and does not start', async () => {
  const file = join(folder, 'bad.yaml')
  writeFileSync(file, 'log:\n  knd: memory\npool: { threads: 0 }\n')
  const problems = [
    `${file}:2:3: log.knd: there is no such key; did you mean kind?`,
    `${file}:3:18: pool.threads: 0 is out of range: 1 to 256`,
    '--set x.y=1: x: there is no such key: one of dataDir, http, grpc, admin, cluster, pool, log, ledger, logging, measures, handlers, auth',
  ]
  const expected = { code: 2, stdout: '', stderr: `${problems.join('\n')}\n` }
  assert.deepEqual(await run(['start', '--config', file, '--set', 'x.y=1']), expected)
  assert.deepEqual(
    await run(['--config', file, '--set', 'x.y=1']),
    expected,
    'start is what runs without a command',
  )
})

test('check prints what would run, in a form that is a configuration again', async () => {
  const file = join(folder, 'good.yaml')
  writeFileSync(file, 'measures:\n  - { name: m, where: { type: "a*" }, by: [type, source], window: 24h }\n')
  const { code, stdout } = await run(['check', file, '--set', 'http.maxBody=1000'], {
    env: { MILLRACE_LOG__KIND: 'memory' },
  })
  assert.equal(code, 2, 'a body of 1000 bytes is too small')
  const good = await run(['check', file], { env: { MILLRACE_LOG__KIND: 'memory' } })
  assert.equal(good.code, 0)
  assert.match(good.stdout, /^ {2}kind: memory$/m)
  assert.match(
    good.stdout,
    /^# m: counts events that carry a value, where type is "a\*", by type and source, for each 24h of event time, with sum, min, max, mean$/m,
  )
  const again = join(folder, 'again.yaml')
  writeFileSync(again, good.stdout)
  const configOf = async (path: string, env = {}) =>
    JSON.parse((await run(['check', path, '--json'], { env })).stdout).config
  assert.deepEqual(await configOf(again), await configOf(file, { MILLRACE_LOG__KIND: 'memory' }))
  assert.equal(stdout, '')
})

test('query prints a table with the columns that the rows have', async (t) => {
  const daemon = await FakeDaemon.start(
    t,
    answering({
      '/v1/measures/a%2Fb?key=x&key=y&from=2026-01-01T00%3A00%3A00Z&merge=true&limit=2': {
        rows: [row(['x', 'y'], 1_234_567, '2026-01-01T00:00:00.000Z'), row(['x', ''], 2)],
      },
    }),
  )
  const words = ['--key', 'x', '--key', 'y', '--from', '2026-01-01T00:00:00Z', '--merge', '--limit', '2']
  const { code, stdout, stderr } = await run(['query', 'a/b', ...words, '--url', daemon.url])
  assert.equal(code, 0, stderr)
  assert.equal(
    stdout,
    `key 1  key 2  from                      to                            count      sum  min  max   mean
x      y      2026-01-01T00:00:00.000Z  2026-01-01T00:00:00.000Z  1,234,567  1,234.5   -1    2  0.333
x      ""     -                         -                                 2  1,234.5   -1    2  0.333
`,
  )
})

test('query --all follows the cursors; without it, more rows are hinted at', async (t) => {
  const daemon = await FakeDaemon.start(
    t,
    answering({
      '/v1/measures/m': { rows: [row(['a'], 1)], cursor: 'c/1' },
      '/v1/measures/m?limit=10000': { rows: [row(['a'], 1)], cursor: 'c/1' },
      '/v1/measures/m?limit=10000&cursor=c%2F1': { rows: [], cursor: 'c2' },
      '/v1/measures/m?limit=10000&cursor=c2': { rows: [row(['b'], 2)] },
    }),
  )
  const url = ['--url', daemon.url]
  const some = await run(['query', 'm', ...url])
  assert.equal(some.stderr, 'there are more rows: --all prints them\n')
  const everything = await run(['query', 'm', '--all', ...url])
  assert.deepEqual([everything.code, everything.stderr, everything.stdout.split('\n').length], [0, '', 4])
  const json = await run(['query', 'm', '--all', '--json', ...url])
  assert.deepEqual(JSON.parse(json.stdout), { rows: [row(['a'], 1), row(['b'], 2)] })
  assert.deepEqual(JSON.parse((await run(['query', 'm', '--json', ...url])).stdout).cursor, 'c/1')
})

test('query without a measure lists them', async (t) => {
  const measure = { name: 'm', where: { type: 'a*' }, by: ['type', 'source'], value: 'none', window: 60000 }
  const daemon = await FakeDaemon.start(t, answering({ '/v1/measures': { measures: [measure] } }))
  const { code, stdout } = await run(['query', '--url', daemon.url])
  assert.equal(code, 0)
  assert.equal(
    stdout,
    'measure  by            value  window  quantiles  where\nm        type, source  none   1m      no         type=a*\n',
  )
})

test('top, and query --top, ask for the same', async (t) => {
  const path = '/v1/measures/m/top?by=max&limit=3'
  const daemon = await FakeDaemon.start(t, answering({ [path]: { rows: [row(['a'], 1)] } }))
  const top = await run(['top', 'm', '--by', 'max', '--limit', '3', '--url', daemon.url])
  assert.equal(top.code, 0, top.stderr)
  assert.deepEqual(await run(['query', 'm', '--top', 'max', '--limit', '3', '--url', daemon.url]), top)
  const wrong = await run(['top', 'm', '--by', 'cuont', '--url', daemon.url])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /--by cuont: one of count, sum, mean, max, min; did you mean count\?/)
})

test('status', async (t) => {
  const status = {
    accepted: { events: 1500, frames: 3 },
    processed: { events: 1000, frames: 2, duplicates: { events: 0, frames: 0 } },
    lag: { events: 500, bytes: 103_125_255, seconds: 0.25 },
    log: { kind: 'embedded', durability: 'fsynced' },
    roles: [{ role: 'primary', pid: 12345, ready: true, restarts: 0 }],
  }
  const daemon = await FakeDaemon.start(t, answering({ '/v1/status': status }))
  const { code, stdout } = await run(['status', '--url', daemon.url])
  assert.equal(code, 0)
  assert.equal(
    stdout,
    `accepted    1,500 events in 3 bodies
processed   1,000 events in 2 bodies
lag         500 events (98.3 MiB, 0.25 s)
log         embedded, fsynced

role     pid    ready  restarts
primary  12345  yes           0
`,
  )
  assert.deepEqual(JSON.parse((await run(['status', '--json', '--url', daemon.url])).stdout), status)
})

test('a problem is shown as its code and detail, and who is not ours is found out', async (t) => {
  const daemon = await FakeDaemon.start(t, answering({ '/v1/measures/odd': '<html>' }))
  const refused = await run(['query', 'nope', '--url', daemon.url])
  assert.deepEqual(refused, {
    code: 1,
    stdout: '',
    stderr: 'millrace query: unknown-route: there is nothing at /v1/measures/nope\n',
  })
  const odd = await run(['query', 'odd', '--url', daemon.url])
  assert.equal(odd.code, 1)
  assert.match(odd.stderr, /did not answer with JSON: is it a millrace daemon\?/)
})

test('what clients sent cannot speak to the terminal', async (t) => {
  const daemon = await FakeDaemon.start(
    t,
    answering({ '/v1/measures/m': { rows: [row(['\u001b[2Jx\n\u202ey'], 1)] } }),
  )
  const { stdout } = await run(['query', 'm', '--url', daemon.url])
  assert.match(stdout, /^\\u001b\[2Jx\\n\\u202ey /m)
})

interface Ended {
  code: number
  stdout: string
  stderr: string
}

function millrace(words: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const env = { PATH: process.env.PATH }
    execFile(process.execPath, [entry, ...words], { cwd: folder, env }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    })
  })
}

test('as a process: exit codes and streams are those of the command', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const file = join(folder, 'one.ndjson')
  writeFileSync(file, '{"source":"s","type":"t"}\n')
  const sent = await millrace(['send', file, '--url', daemon.url, '--json'])
  assert.equal(sent.code, 0, sent.stderr)
  assert.equal(JSON.parse(sent.stdout).acked, 1)
  assert.deepEqual(await millrace(['--set', 'log.kind=memry']), {
    code: 2,
    stdout: '',
    stderr:
      '--set log.kind=memry: log.kind: must be one of embedded, memory, jetstream, kafka, dual, not the text "memry"; did you mean memory?\n',
  })
})

test('millrace.yaml in the working directory is found', async () => {
  const file = join(folder, 'millrace.yaml')
  writeFileSync(file, 'dataDir: there\n')
  try {
    const { config, file: named } = JSON.parse((await millrace(['check', '--json'])).stdout)
    assert.deepEqual([config.dataDir, named], ['there', 'millrace.yaml'])
  } finally {
    rmSync(file)
  }
})
