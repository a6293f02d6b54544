// What is made of the inspector's answers: stacks, pprof, a drawing, a trace.

import assert from 'node:assert/strict'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { drawFlame } from '../../src/profile/flame.ts'
import { encodePprof } from '../../src/profile/pprof.ts'
import { Sources } from '../../src/profile/sources.ts'
import { functionsOf, stacksOf } from '../../src/profile/stacks.ts'
import { takeProfile } from '../../src/profile/take.ts'
import type { Taken } from '../../src/profile/taken.ts'
import { cpuThread, heapThread, type ProfileKind } from '../../src/profile/thread-profile.ts'
import { encodeTrace } from '../../src/profile/trace.ts'
import { wellFormed } from './xml.ts'

const callFrame = (functionName: string, url = '', lineNumber = url === '' ? -1 : 9) => ({
  functionName,
  scriptId: '0',
  url,
  lineNumber,
  columnNumber: 0,
})

/** root > run > fold, root > run > (garbage collector), root > (idle), root > never, root > park. */
const nodes = [
  { id: 1, callFrame: callFrame('(root)'), children: [2, 5, 6, 7] },
  { id: 2, callFrame: callFrame('run', 'file:///elsewhere/app/run.js'), children: [3, 4] },
  { id: 3, callFrame: callFrame('fold', 'file:///elsewhere/app/fold.js') },
  { id: 4, callFrame: callFrame('(garbage collector)') },
  { id: 5, callFrame: callFrame('(idle)') },
  { id: 6, callFrame: callFrame('never', 'file:///elsewhere/app/never.js') },
  { id: 7, callFrame: callFrame('atomicsWaitLoop', 'file:///elsewhere/node_modules/piscina/dist/worker.js') },
]
const profile = {
  nodes,
  samples: [5, 3, 3, 4, 7, 2],
  timeDeltas: [100, 1000, 1000, 1000, 1000, 5000],
  startTime: 1_000_000,
  endTime: 1_009_600,
}

function taken(kind: ProfileKind = 'cpu', thread = 'main'): Taken {
  const memory = { rss: 1e6, heapUsed: 1e6, external: 0 }
  const threads = [cpuThread(thread, profile, kind)]
  const processes = [
    { role: 'listener', worker: 1, pid: 77, threads, leftOut: ['thread 2: has ended'], memory },
  ]
  return {
    order: { kind, seconds: 1 },
    began: 1_700_000_000_000,
    processes,
    leftOut: ['processor 0: not running'],
  }
}

test('a sample stands for the time until the next one; idle threads and what was never seen are left out', () => {
  const { nodes, functions } = cpuThread('main', profile, 'cpu')
  const own = nodes.map(([, fn, samples, us]) => [functions[fn][0], samples, us])
  assert.deepEqual(own, [
    ['run', 1, 500],
    ['fold', 2, 2000],
    ['(garbage collector)', 1, 1000],
  ])
  assert.deepEqual(
    nodes.map(([parent]) => parent),
    [-1, 0, 0],
  )
})

test('of a heap, bytes are summed up by stack', () => {
  const head = {
    ...{ id: 1, callFrame: callFrame('(root)') },
    children: [{ id: 2, callFrame: callFrame('make', 'file:///a.js'), children: [] }],
  }
  const samples = [
    { nodeId: 2, size: 100 },
    { nodeId: 2, size: 50 },
  ]
  assert.deepEqual(heapThread('3', { head, samples }).nodes, [[-1, 0, 2, 150]])
})

test('pprof keeps functions of one name in different files apart, and says what is missing', async () => {
  const stacks = stacksOf(await encodePprof(taken()))
  assert.deepEqual(
    functionsOf(stacks).map(({ name, self, total }) => [name, self, total]),
    [
      ['fold app/fold.js', 2e6, 2e6],
      ['(garbage collector)', 1e6, 1e6],
      ['run app/run.js', 5e5, 3.5e6],
    ],
  )
  assert.deepEqual([...stacks.all.children.keys()], ['listener 1, pid 77'])
  assert.ok(stacks.comments.includes('left out: processor 0: not running'))
  assert.ok(stacks.comments.includes('left out: listener 1, thread 2: has ended'))
})

test('a flame graph is well-formed whatever functions are called, and the same for the same profile', async () => {
  const hostile = taken()
  hostile.processes[0].threads[0].functions[0][0] = '<b a="1">&\u0000\ud800'
  const bytes = await encodePprof(hostile)
  const drawn = drawFlame(stacksOf(bytes), 'a & b')
  wellFormed(drawn)
  assert.equal(drawn, drawFlame(stacksOf(bytes), 'a & b'))
  assert.ok(drawn.includes('run app/run.js'))
  wellFormed(drawFlame(stacksOf(await encodePprof({ ...hostile, processes: [] })), 'nothing'))
})

test('a trace has a call from its first sample to the one without it', () => {
  const { traceEvents } = JSON.parse(encodeTrace(taken('trace', '3'))) as {
    traceEvents: { ph: string; name: string; tid: number; ts: number; dur: number }[]
  }
  const calls = traceEvents
    .filter(({ ph }) => ph === 'X')
    .map(({ name, tid, ts, dur }) => [name, tid, ts, dur])
  assert.deepEqual(calls, [
    ['fold app/fold.js', 3, 1000, 2000],
    ['(garbage collector)', 3, 3000, 1000],
    ['run app/run.js', 3, 1000, 3000],
    ['run app/run.js', 3, 9000, 500],
  ])
})

test('built code is told as the source that it was made of, and nothing by the folders of the machine', () => {
  const sources = new Sources('/elsewhere/work')
  const own = pathToFileURL(join(import.meta.dirname, '../../src/profile/flame.js')).href
  assert.equal(sources.place(own, 20, 0).file, 'src/profile/flame.ts')
  const root = resolve(import.meta.dirname, '../../..')
  const place = (path: string) => sources.place(pathToFileURL(path).href, 4, 0)
  assert.deepEqual(place(join(root, 'node_modules/lmdb/open.js')), {
    file: 'node_modules/lmdb/open.js',
    line: 5,
  })
  assert.equal(place('/opt/x/node_modules/lmdb/open.js').file, 'node_modules/lmdb/open.js')
  assert.equal(place('/elsewhere/work/handlers/one.mjs').file, 'handlers/one.mjs')
  assert.equal(place('/srv/secret/handlers/one.mjs').file, 'handlers/one.mjs')
  assert.deepEqual(sources.place('node:fs', 4, 0), { file: 'node:fs', line: 5 })
  assert.deepEqual(sources.place('', -1, -1), { file: '', line: 0 })
})

test('a profile that nobody waits for ends at once', async () => {
  const gone = new AbortController()
  const taking = takeProfile({ kind: 'cpu', seconds: 60 }, gone.signal)
  gone.abort()
  await assert.rejects(taking, { name: 'AbortError' })
})

test('the heap has what is in use, and no garbage', async () => {
  const kept: unknown[] = []
  const taking = takeProfile({ kind: 'heap', seconds: 1 }, new AbortController().signal)
  function makesKept() {
    kept.push(Array.from({ length: 20_000 }, (_, n) => ({ n })))
  }
  function makesGarbage() {
    return Array.from({ length: 20_000 }, (_, n) => ({ n }))
  }
  const making = setInterval(() => {
    makesKept()
    makesGarbage()
  }, 50)
  const { threads } = await taking
  clearInterval(making)
  const main = threads.find(({ thread }) => thread === 'main')!
  const bytes = (name: string) => {
    const below = new Set<number>()
    let sum = 0
    for (const [place, [parent, fn, , amount]] of main.nodes.entries()) {
      if (main.functions[fn][0] !== name && !below.has(parent)) continue
      below.add(place)
      sum += amount
    }
    return sum
  }
  assert.ok(bytes('makesKept') > 1e5, `${bytes('makesKept')}`)
  assert.ok(bytes('makesGarbage') < bytes('makesKept') / 10, `${bytes('makesGarbage')}`)
  assert.ok(kept.length > 0)
})
