// Opening a store while it is committed to: LMDB alone loses commits then.

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { OPENING_MS_MAX, OWNER_HOLDS_MS_MAX } from '../../src/limits.ts'
import { closeKept } from '../../src/results/environment.ts'
import { whileNobodyCommits } from '../../src/results/gate.ts'
import { openStore, type Store } from '../../src/results/store.ts'
import { until } from '../until.ts'
import { atEnd, folder } from './folder.ts'

const OPENERS = 2
const OPENINGS = 1500
const PARTITIONS = 100
const CHILD = new URL('./gate-child.js', import.meta.url)

/** One more, onto what the store has. */
const countUp = (store: Store, epoch: number) =>
  store.commit(epoch, (batch) => {
    const had = Number(store.getMeta('position') ?? 0)
    batch.putMeta('position', Buffer.from(String(had + 1)))
    for (let key = 0; key < 20; key++) batch.putLedger(`w:${key}`, Buffer.from(String(had + 1)))
  })

const gatesOf = (dir: string) => readdirSync(join(dir, 'results', '0')).filter((name) => name.endsWith('.g'))

test('no commit is lost, and nobody is refused, while other processes open and close the store', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const children = Array.from({ length: OPENERS }, () => fork(CHILD, ['again', dir, String(OPENINGS)]))
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

test('an owner that closes is waited for: whoever opens the store meanwhile finds its locks whole', async (t) => {
  const dir = folder(t)
  const opener = fork(CHILD, ['each', dir, String(PARTITIONS)])
  atEnd(t, () => void opener.kill('SIGKILL'))
  let opened = 0
  opener.on('message', () => {
    opened++
  })
  const ended = once(opener, 'exit')
  for (let partition = 0; partition < PARTITIONS; partition++) {
    let commits = 0
    for (; opened <= partition && opener.exitCode === null; commits++) {
      const store = await openStore(dir, partition)
      await countUp(store, await store.takeOwnership())
      await store.close()
    }
    const store = await openStore(dir, partition, { readOnly: true })
    assert.equal(store.getMeta('position')?.toString(), String(commits))
    await store.close()
    await closeKept(join(dir, 'results', String(partition)))
  }
  assert.deepEqual(await ended, [0, null])
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

test('an owner closes its store when nobody opens it any more, and nobody may until it is closed', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  atEnd(t, () => store.close())
  const [name] = gatesOf(dir)
  const opener = connect(join(dir, 'results', '0', name))
  atEnd(t, () => void opener.destroy())
  await once(opener, 'data')
  let closed = false
  const closing = store.close().then(() => {
    closed = true
  })
  const late = connect(join(dir, 'results', '0', name))
  atEnd(t, () => void late.destroy())
  let admitted = false
  late.on('data', () => {
    admitted = true
  })
  await once(late, 'connect')
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  assert.equal(closed, false)
  opener.destroy()
  await closing
  if (!late.closed) await once(late, 'close')
  assert.equal(admitted, false)
})

test('the gate of an owner that was killed is passed, and taken away; a closed owner leaves none', async (t) => {
  const dir = folder(t)
  const store = await openStore(dir, 0)
  await store.takeOwnership()
  await store.close()
  assert.deepEqual(gatesOf(dir), [])

  const owner = fork(new URL('./store-child.js', import.meta.url), ['own', dir])
  atEnd(t, () => void owner.kill('SIGKILL'))
  await once(owner, 'message')
  owner.kill('SIGKILL')
  await once(owner, 'exit')
  const reader = await openStore(dir, 0, { readOnly: true })
  assert.ok(reader.present)
  assert.deepEqual(gatesOf(dir), [])
  await reader.close()
})

test('an owner that is stopped is not waited for again, and one that lives makes no commit meanwhile', async (t) => {
  const dir = folder(t)
  const owner = fork(new URL('./store-child.js', import.meta.url), ['own', dir])
  atEnd(t, () => void owner.kill('SIGKILL'))
  await once(owner, 'message')
  owner.kill('SIGSTOP')
  const store = await openStore(dir, 0)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  assert.equal(gatesOf(dir).length, 2)
  let commits = 0
  let opened = false
  let during = 0
  const opening = whileNobodyCommits(join(dir, 'results', '0'), () => {
    during = commits
    opened = true
  })
  const startedAt = performance.now()
  for (; !opened; commits++) await countUp(store, epoch)
  await opening
  assert.ok(performance.now() - startedAt < 2 * OWNER_HOLDS_MS_MAX)
  assert.ok(during > 0, 'it goes on while the other one is waited for')
  assert.equal(store.getMeta('position')?.toString(), String(commits))
})
