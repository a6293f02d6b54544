// Profiles of the real daemon under load, read by pprof itself.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { Profile } from 'pprof-format'
import { PROFILE_PATIENCE_MS } from '../../src/limits.ts'
import { stacksOf } from '../../src/profile/stacks.ts'
import { run } from '../cli/fake.ts'
import { wellFormed } from '../profile/xml.ts'
import { atEnd, Daemon, frame, temporaryFolder } from './daemon.ts'

/** What pprof prints of a profile; it needs `go`. */
async function pprof(file: string, ...words: string[]): Promise<string> {
  const all = ['-nodecount=100000', '-nodefraction=0', '-edgefraction=0']
  const { stdout } = await promisify(execFile)('go', ['tool', 'pprof', ...all, ...words, file], {
    maxBuffer: 2 ** 26,
  })
  return stdout
}

/** Bodies and queries of several kinds, on a few connections each, until the test is over. */
function load(t: TestContext, daemon: Daemon): () => Promise<void> {
  const events = Array.from({ length: 500 }, (_, n) => ({ subject: `s${n % 50}`, value: n }))
  const body = frame(...events)
  const json = JSON.stringify(
    events.slice(0, 20).map((event) => ({ source: 'test', type: 'test', ...event })),
  )
  let over = false
  const ask = async (what: () => Promise<Response>) => {
    while (!over) {
      const response = await what()
      await response.arrayBuffer()
      assert.ok(response.ok || response.status === 429, `status ${response.status}`)
    }
  }
  const asking = [
    ask(() => daemon.post(body)),
    ask(() => daemon.post(body)),
    ask(() => daemon.post(body)),
    ask(() => daemon.post(json, { 'content-type': 'application/json' })),
    ask(() => fetch(`${daemon.http}/v1/measures/all?merge=true`)),
  ]
  const stop = async () => {
    over = true
    await Promise.all(asking)
  }
  atEnd(t, stop)
  return stop
}

async function profile(daemon: Daemon, path: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${daemon.admin}/debug/pprof/${path}`, signal === undefined ? {} : { signal })
}

/** Such as `processor 0, thread 3: no answer within 2000 ms`, and nobody for another reason. */
function isLate(answer: Response): boolean {
  const leftOut = answer.headers.get('millrace-left-out')?.split('; ') ?? []
  return leftOut.length > 0 && leftOut.every((one) => one.includes('no answer within'))
}

/** One that no thread was late for, if there is one among three. */
async function wholeProfile(daemon: Daemon, path: string): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const answer = await profile(daemon, path)
    if (attempt === 3 || !isLate(answer)) return answer
    await answer.arrayBuffer()
  }
}

function commentsOf(bytes: Buffer): string[] {
  const { comment, stringTable } = Profile.decode(gunzipSync(bytes))
  return comment.map((index) => stringTable.strings[Number(index)])
}

const measures = [{ name: 'all', by: ['subject'], window: '1m' }]

test('one profile names the functions of listeners, processor, pool threads and handlers', async (t) => {
  const folder = await temporaryFolder(t)
  const dataDir = join(folder, 'data')
  await mkdir(dataDir)
  const handler = join(folder, 'counting.mjs')
  await writeFile(
    handler,
    `import { defineHandler } from 'millrace'
     function digitsSummed(n) { let sum = 0; for (let i = 0; i < 3000; i++) sum += (n * i) % 10; return sum }
     export default defineHandler({
       name: 'digits', measures: [{ name: 'digits', by: ['subject'], window: 'all' }],
       map({ subject, value }, emit) { emit.measure('digits', subject, digitsSummed(value)) },
     })`,
  )
  const daemon = await Daemon.start(t, { dataDir, config: { handlers: [handler], measures } })
  const stop = load(t, daemon)
  const answer = await wholeProfile(daemon, 'profile?seconds=4')
  assert.equal(answer.status, 200, await answer.clone().text())
  assert.equal(answer.headers.get('millrace-left-out'), null)
  await stop()
  const bytes = Buffer.from(await answer.arrayBuffer())
  const file = join(folder, 'cpu.pb.gz')
  await writeFile(file, bytes)

  const top = (...labels: string[]) => pprof(file, '-top', ...labels)
  assert.match(await top('-tagfocus=role=listener'), / src\/ingest\/\w+\.ts/)
  const main = await top('-tagfocus=role=processor', '-tagignore=thread=[0-9]+')
  assert.match(main, / src\/processor\/processor\.ts/)
  const threads = await top('-tagfocus=thread=[0-9]+')
  assert.match(threads, /task src\/processor\/fold\.ts/)
  assert.match(threads, /digitsSummed \S*counting\.mjs/)
  assert.doesNotMatch(await top('-tagfocus=role=listener'), /src\/processor\/fold|digitsSummed/)
  // Threads that wait for work are not busy.
  assert.doesNotMatch(threads, /^ +(?!0 )\S+ .*atomicsWaitLoop/m)

  const tags = await pprof(file, '-tags')
  for (const label of ['role', 'worker', 'thread', 'pid']) assert.match(tags, new RegExp(`${label}: Total`))
  for (const { role, pid } of (await daemon.status()).roles) {
    assert.match(tags, new RegExp(`\\b${role}\\n`))
    assert.match(tags, new RegExp(`\\b${pid}\\n`))
  }
  const text = gunzipSync(bytes).toString('latin1')
  assert.ok(!text.includes(process.cwd()) && !text.includes(folder), 'it names folders of this machine')
})

test('heap and allocations name what allocates, in bytes', async (t) => {
  const daemon = await Daemon.start(t, { config: { measures } })
  const folder = await temporaryFolder(t)
  load(t, daemon)
  for (const [path, type] of [
    ['allocs', 'alloc_space'],
    ['heap', 'inuse_space'],
  ]) {
    const answer = await profile(daemon, `${path}?seconds=2`)
    assert.equal(answer.status, 200)
    const file = join(folder, `${path}.pb.gz`)
    await writeFile(file, Buffer.from(await answer.arrayBuffer()))
    const top = await pprof(file, '-top')
    assert.match(top, new RegExp(`Type: ${type}`))
    if (path === 'allocs') assert.match(top, / src\/ingest\/\w+\.ts/)
  }
})

test('who dies or stalls meanwhile is left out, and the answer says so', async (t) => {
  const daemon = await Daemon.start(t)
  const pidOf = async (role: string) => (await daemon.status()).roles.find((one) => one.role === role)!.pid
  const taken = profile(daemon, 'profile?seconds=2')
  process.kill(await pidOf('processor'), 'SIGKILL')
  const answer = await taken
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('millrace-left-out') ?? '', /^processor 0: (?:not running|no answer)/)
  const bytes = Buffer.from(await answer.arrayBuffer())
  assert.ok(commentsOf(bytes).some((line) => line.startsWith('left out: processor 0')))

  await daemon.until(({ roles }) => roles.some(({ role, ready }) => role === 'processor' && ready))
  const stalled = await pidOf('processor')
  process.kill(stalled, 'SIGSTOP')
  atEnd(t, () => process.kill(stalled, 'SIGCONT'))
  const began = performance.now()
  const without = await profile(daemon, 'profile?seconds=1')
  assert.equal(without.status, 200)
  assert.match(without.headers.get('millrace-left-out') ?? '', /^processor 0: no answer/)
  assert.ok(performance.now() - began < 1000 + PROFILE_PATIENCE_MS + 5000)
})

test('one profile at a time, and one whose client has gone is given up', async (t) => {
  const daemon = await Daemon.start(t)
  const gone = new AbortController()
  let refused = false
  const ask = () => {
    const asked = profile(daemon, 'profile?seconds=60', gone.signal)
    asked.then(
      ({ status }) => (refused = status === 429),
      () => {},
    )
    return asked
  }
  let first = ask()
  let second: Response
  do {
    if (refused) {
      refused = false
      first = ask()
    }
    second = await profile(daemon, 'trace?seconds=1')
  } while (second.ok) // it came before the first one
  assert.equal(second.status, 429)
  assert.equal(second.headers.get('retry-after'), '1')
  assert.equal(((await second.json()) as { code: string }).code, 'overloaded')
  gone.abort()
  const left = performance.now()
  await assert.rejects(first)
  let next: Response
  do next = await profile(daemon, 'profile?seconds=1')
  while (next.status === 429)
  assert.equal(next.status, 200)
  assert.ok(performance.now() - left < 30_000, 'it went on to the end of its minute')
  if (isLate(next)) next = await wholeProfile(daemon, 'profile?seconds=1')
  assert.equal(next.headers.get('millrace-left-out'), null)
})

test('wrong parameters are refused, and there is no flame graph before there is a profile', async (t) => {
  const daemon = await Daemon.start(t)
  for (const path of [
    'profile?seconds=0',
    'heap?seconds=61',
    'trace?seconds=6',
    'profile?second=1',
    'allocs?seconds=1.5',
  ]) {
    const answer = await profile(daemon, path)
    assert.deepEqual([path, answer.status], [path, 400])
  }
  assert.equal((await profile(daemon, 'flame.svg')).status, 404)
  const idle = await profile(daemon, 'profile?seconds=1')
  assert.equal(idle.status, 200)
  const { all } = stacksOf(Buffer.from(await idle.arrayBuffer()))
  for (const { name, children } of all.children.values()) {
    for (const thread of children.values()) {
      if (thread.name === 'main thread') continue
      assert.ok(thread.total < 0.5e9, `${name}, ${thread.name}: ${thread.total} ns of an idle second`)
    }
  }
  const flame = await profile(daemon, 'flame.svg')
  assert.equal(flame.headers.get('content-type'), 'image/svg+xml')
  wellFormed(await flame.text())
})

test('a daemon in one process has one profile of all its roles', async (t) => {
  const daemon = await Daemon.start(t, { nodeArguments: ['--prof'], config: { measures } })
  const folder = await temporaryFolder(t)
  load(t, daemon)
  const answer = await profile(daemon, 'profile?seconds=2')
  assert.equal(answer.status, 200, await answer.clone().text())
  const file = join(folder, 'cpu.pb.gz')
  await writeFile(file, Buffer.from(await answer.arrayBuffer()))
  const top = await pprof(file, '-top', '-tagfocus=role=all')
  assert.match(top, / src\/ingest\//)
  assert.match(top, / src\/processor\/fold\.ts/)
})

test('millrace profile writes a profile, a flame graph and a trace, and tells the functions', async (t) => {
  const daemon = await Daemon.start(t, { config: { measures } })
  const folder = await temporaryFolder(t)
  load(t, daemon)
  const at = ['--admin', daemon.admin]
  const [out, svg, trace] = ['cpu.pb.gz', 'cpu.svg', 'trace.json'].map((name) => join(folder, name))
  const ran = await run(['profile', ...at, '--seconds', '2', '--out', out, '--svg', svg])
  assert.equal(ran.code, 0, ran.stderr)
  assert.match(ran.stdout, / busy in 2 s\n/)
  assert.match(ran.stdout, / src\/\w+\/[\w-]+\.ts/)
  assert.match(await pprof(out, '-top'), / src\/ingest\//)
  const drawn = await readFile(svg, 'utf8')
  wellFormed(drawn)
  assert.match(drawn, /listener 0, pid \d+/)
  assert.match(drawn, / src\/processor\//)
  assert.equal((await run(['profile', ...at, '--trace', trace])).code, 0)
  const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as { traceEvents: { name: string }[] }
  assert.ok(traceEvents.some(({ name }) => / src\/ingest\//.test(name)))
  const nobody = await run(['profile', '--admin', 'http://127.0.0.1:9', '--seconds', '1'])
  assert.equal(nobody.code, 1)
})
