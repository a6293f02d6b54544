// Opening a store while it is committed to: LMDB alone loses commits then.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { OPENING_MS_MAX } from '../../src/limits.ts'
import { closeKept } from '../../src/results/environment.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { until } from '../until.ts'
import { atEnd, folder } from './folder.ts'

const OPENERS = 2
const OPENINGS = 1500
const CHILD = new URL('./gate-child.js', import.meta.url)

/** One more, onto what the store has. */
const countUp = (store: Store, epoch: number) =>
  store.commit(epoch, (batch) => {
    const had = Number(store.getMeta('position') ?? 0)
    batch.putMeta('position', Buffer.from(String(had + 1)))
    for (let key = 0; key < 20; key++) batch.putLedger(`w:${key}`, Buffer.from(String(had + 1)))
  })

const gatesOf = (dir: string) =>
  readdirSync(join(dir, 'results', '0')).filter((name) => name.endsWith('.gate'))

test('no commit is lost, and nobody is refused, while other processes open and close the store', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const children = Array.from({ length: OPENERS }, () => fork(CHILD, [dir, String(OPENINGS)]))
  atEnd(t, () => {
    for (const child of children) child.kill('SIGKILL')
  })
  let running = OPENERS
  const ended = Promise.all(
    children.map(async (child) => {
      const [code] = await once(child, 'exit')
      running--
      assert.equal(code, 0)
    }),
  )
  let commits = 0
  for (; running > 0; commits++) await countUp(store, epoch)
  await ended
  assert.ok(commits > OPENINGS / 2, `${commits} commits beside ${OPENERS * OPENINGS} openings`)
  assert.equal(store.getMeta('position')?.toString(), String(commits))
})

test('an owner that closes is waited for: its store opens at once, again and again', async (t) => {
  const dir = folder(t)
  const child = () => fork(CHILD, [dir, '200'])
  let commits = 0
  const own = async () => {
    const store = await openStore(dir, 0)
    await countUp(store, await store.takeOwnership())
    await store.close()
    commits++
  }
  await own()
  const opener = child()
  atEnd(t, () => void opener.kill('SIGKILL'))
  let running = true
  const ended = once(opener, 'exit').then(([code]) => {
    running = false
    assert.equal(code, 0)
  })
  while (running) await own()
  await ended
  const store = await openStore(dir, 0, { readOnly: true })
  assert.equal(store.getMeta('position')?.toString(), String(commits))
  await store.close()
  await closeKept(join(dir, 'results', '0'))
})

test('commits wait for who opens, go on when it dies, and do not wait for one that never opens', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const hold = async () => {
    const socket = connect(join(dir, 'results', '0', gatesOf(dir)[0]))
    atEnd(t, () => void socket.destroy())
    await once(socket, 'data')
    return socket
  }
  const first = await hold()
  let committed = false
  const commit = countUp(store, epoch).then(() => {
    committed = true
  })
  await new Promise(setImmediate)
  assert.equal(committed, false)
  first.destroy()
  await commit

  const second = await hold()
  const startedAt = performance.now()
  await countUp(store, epoch)
  assert.ok(performance.now() - startedAt > OPENING_MS_MAX / 2)
  await until(() => second.closed, 'it to be told that its time is over')
})

test('the gate of an owner that was killed is passed, and taken away; a closed owner leaves none', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  await store.takeOwnership()
  await store.close()
  assert.deepEqual(gatesOf(dir), [])

  const owner = fork(new URL('./store-child.js', import.meta.url), ['own', dir])
  atEnd(t, () => void owner.kill('SIGKILL'))
  await until(() => gatesOf(dir).length === 1, 'an owner')
  owner.kill('SIGKILL')
  await once(owner, 'exit')
  const reader = await openStore(dir, 0, { readOnly: true })
  assert.ok(reader.present)
  assert.deepEqual(gatesOf(dir), [])
  await reader.close()
})
