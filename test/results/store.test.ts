import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { open } from 'lmdb'
import type { Measure } from '../../src/config/config.ts'
import { PLACED_ROWS_PER_COMMIT } from '../../src/limits.ts'
import { StoreError } from '../../src/results/environment.ts'
import { after, encodeParts, measureKey, rowKey } from '../../src/results/keys.ts'
import { runsKey } from '../../src/results/runs.ts'
import { Fenced, openStore, type Store, type StoreOptions } from '../../src/results/store.ts'
import { atEnd, folder } from './folder.ts'

const measure: Measure = {
  name: 'm',
  where: { type: '*' },
  by: ['subject'],
  value: 'value',
  window: 'all',
  quantiles: false,
}
const one = Buffer.from('1')

async function opened(t: TestContext, path: string, options?: StoreOptions): Promise<Store> {
  const store = await openStore(path, 0, options)
  atEnd(t, () => store.close())
  return store
}

function child(t: TestContext, what: string, ...words: string[]): ChildProcess {
  const process = fork(new URL('./store-child.js', import.meta.url), [what, ...words], { stdio: 'inherit' })
  const ended = once(process, 'exit')
  atEnd(t, () => {
    process.kill('SIGKILL')
    return ended
  })
  return process
}

function rows(store: Store): [string, string][] {
  const snapshot = store.snapshot()
  try {
    const range = snapshot.range(Buffer.alloc(4), Buffer.of(0xff))
    return [...range].map(({ key, value }) => [key.toString('hex'), value.toString().replace(/\0+$/, '')])
  } finally {
    snapshot.done()
  }
}

test('a commit puts and removes in meta, ledger and rows, and is there after opening again', async (t) => {
  const path = folder(t)
  const store = await openStore(path, 0)
  const epoch = await store.takeOwnership()
  await store.commit(epoch, (batch) => {
    batch.putMeta('a:1', one)
    batch.putMeta('a:2', one)
    batch.putMeta('b', one)
    batch.putLedger('w:1', one)
    batch.putLedger('w:2', one)
    batch.putRow(Buffer.of(0, 9), one)
  })
  await store.commit(epoch, (batch) => {
    batch.removeMeta('a:2')
    batch.removeLedger('w:1')
    batch.removeLedger('never there')
  })
  await store.close()
  const again = await opened(t, path, { readOnly: true })
  assert.deepEqual([...again.metaRange('a:')], [['a:1', one]])
  assert.deepEqual([...again.ledger()], [['w:2', one]])
  assert.deepEqual(again.getRow(Buffer.of(0, 9)), one)
  assert.equal(again.getMeta('none'), undefined)
})

test('a store made before there were handlers is read, and gets their databases from its owner', async (t) => {
  const path = folder(t)
  const file = join(path, 'results', '0')
  mkdirSync(file, { recursive: true })
  const old = open<Buffer, string>({ path: file, encoding: 'binary', maxDbs: 8 })
  for (const name of ['meta', 'ledger', 'rows', 'owner']) old.openDB(name, { encoding: 'binary' })
  await old
    .openDB<Buffer, string>('meta', { encoding: 'binary' })
    .put('format', Buffer.from('millrace results 2'))
  await old.close()
  const reader = await opened(t, path, { readOnly: true })
  assert.equal(reader.get('results', one), undefined)
  assert.ok(reader.present)
  const early = reader.snapshot()
  assert.deepEqual([...early.kept('letters', Buffer.of(0), Buffer.of(0xff))], [])
  early.done()
  const owner = child(t, 'keep', path)
  await once(owner, 'message')
  assert.deepEqual(reader.get('results', one), one)
  const snapshot = reader.snapshot()
  assert.equal([...snapshot.kept('letters', Buffer.of(0), Buffer.of(0xff))].length, 1)
  snapshot.done()
})

test('a store made before there were runs is read, and becomes one with them when an owner opens it', async (t) => {
  const path = folder(t)
  await emptyStore(path)
  const root = open<Buffer, string>({ path: join(path, 'results', '0'), encoding: 'binary', maxDbs: 8 })
  await root.openDB('runs', { encoding: 'binary', keyEncoding: 'binary' }).drop()
  const rowsThen = root.openDB<Buffer, Buffer>('rows', { encoding: 'binary', keyEncoding: 'binary' })
  const meta = root.openDB<Buffer, string>('meta', { encoding: 'binary' })
  await meta.put('format', Buffer.from('millrace results 2'))
  const reader = await opened(t, path, { readOnly: true })
  const [{ id }] = reader.measures()
  const key = rowKey(id, encodeParts(['000001x']), 0)
  await rowsThen.put(key, Buffer.from('7'))
  await root.close()

  assert.equal(reader.getMeta('format')?.toString(), 'millrace results 2')
  assert.deepEqual(valuesOf(reader), ['7'])
  assert.equal(reader.newestWindow(id), Number.POSITIVE_INFINITY, 'there may be rows of any')
  await once(child(t, 'run', path, '4'), 'message')
  assert.equal(reader.getMeta('format')?.toString(), 'millrace results 3')
  assert.deepEqual(valuesOf(reader), ['2', '0', '7', '1', '0'])
})

test('an owner that is killed while it puts runs into places leaves every row as it was', async (t) => {
  const path = folder(t)
  const size = PLACED_ROWS_PER_COMMIT * 10
  await emptyStore(path)
  const reader = await opened(t, path, { readOnly: true })
  const put = child(t, 'run', path, String(size))
  await once(put, 'message')
  await killed(put)
  const expected = Array.from({ length: size }, (_, k) => (k % 4 === 0 ? '2' : k % 2 === 0 ? '1' : '0'))
  const [{ id }] = reader.measures()
  const keyOf = (k: number) => rowKey(id, encodeParts([String(k).padStart(6, '0')]), 0)
  assert.equal(reader.getRow(keyOf(0)), undefined)

  const placing = child(t, 'own', path)
  while (reader.getRow(keyOf(0)) === undefined) await setImmediate()
  assert.equal(reader.getRow(keyOf(size - 1)), undefined, 'it is in the middle of that')
  assert.deepEqual(valuesOf(reader), expected)
  await killed(placing)
  assert.deepEqual(valuesOf(reader), expected)

  const owning = child(t, 'own', path)
  await once(owning, 'message')
  assert.deepEqual(valuesOf(reader), expected)
  assert.equal(reader.getMeta(runsKey(id)), undefined)
  for (const k of [0, 1, 2, size - 1]) assert.equal(reader.getRow(keyOf(k))?.toString(), expected[k])
  const snapshot = reader.snapshot()
  assert.deepEqual([...snapshot.kept('runs', measureKey(id), Buffer.alloc(9, 0xff))], [])
  snapshot.done()
})

/** A store that counts a measure. */
async function emptyStore(path: string): Promise<void> {
  const store = await openStore(path, 0, { measures: [measure] })
  await store.takeOwnership()
  await store.close()
}

/** Of the rows of its only measure, from runs and places. */
function valuesOf(store: Store): string[] {
  const start = measureKey(store.measures()[0].id)
  const snapshot = store.snapshot()
  try {
    return [...snapshot.range(start, after(start))].map(({ value }) => value.toString())
  } finally {
    snapshot.done()
  }
}

async function killed(one: ChildProcess): Promise<void> {
  const ended = once(one, 'exit')
  one.kill('SIGKILL')
  await ended
}

test('whoever lost the store to another owner commits nothing more', async (t) => {
  const path = folder(t)
  const store = await opened(t, path)
  const former = await store.takeOwnership()
  const epoch = await store.takeOwnership()
  assert.ok(epoch > former)
  const refused = store.commit(former, (batch) => {
    batch.putMeta('position', one)
    batch.putRow(Buffer.of(0, 1), one)
  })
  await assert.rejects(refused, Fenced)
  assert.equal(store.getMeta('position'), undefined)
  assert.deepEqual(rows(store), [])
  await store.commit(epoch, (batch) => batch.putMeta('position', one))
  assert.deepEqual(store.getMeta('position'), one)
})

test('when the writing of a commit throws, nothing of it is written', async (t) => {
  const store = await opened(t, folder(t))
  const epoch = await store.takeOwnership()
  const broken = store.commit(epoch, (batch) => {
    batch.putRow(Buffer.of(0, 1), one)
    batch.putMeta('', one)
  })
  await assert.rejects(broken, RangeError)
  await store.commit(epoch, (batch) => batch.putMeta('position', one))
  assert.deepEqual(rows(store), [])
})

test('flushed resolves after all commits that were called, not before', async (t) => {
  const store = await opened(t, folder(t))
  const epoch = await store.takeOwnership()
  for (let n = 0; n < 20; n++) {
    void store.commit(epoch, (batch) => {
      for (let k = 0; k < 100; k++) batch.putRow(Buffer.of(0, k), Buffer.alloc(1000))
      batch.putMeta('position', Buffer.from(String(n)))
    })
  }
  await store.flushed()
  assert.equal(store.getMeta('position')?.toString(), '19')
})

test('whenever the owner is killed, rows, ledger and position agree', async (t) => {
  const path = folder(t)
  const reader = await opened(t, path, { readOnly: true })
  let seen = 0
  for (let round = 0; round < 4; round++) {
    const writer = child(t, 'write', path)
    const ended = once(writer, 'exit')
    const enough = seen + 20 + round * 7
    while (seen < enough) {
      await sleep(1)
      seen = checkAgree(reader)
      assert.equal(writer.exitCode, null)
    }
    writer.kill('SIGKILL')
    await ended
    const position = checkAgree(reader)
    assert.ok(position >= seen)
    assert.deepEqual([...reader.ledger()], [['w:1', Buffer.from(String(position))]])
    seen = position
  }
})

/** Returns the position, having seen that all rows are of the commit that put it. */
function checkAgree(store: Store): number {
  const snapshot = store.snapshot()
  try {
    const position = Number(snapshot.getMeta('position') ?? 0)
    const values = [...snapshot.range(Buffer.alloc(4), Buffer.of(0xff))].map(({ value }) =>
      Number.parseInt(value.toString(), 10),
    )
    assert.deepEqual(values, position === 0 ? [] : Array(50).fill(position))
    return position
  } finally {
    snapshot.done()
  }
}

test('a reader that was first sees the store once its owner has made it, and makes nothing itself', async (t) => {
  const path = folder(t)
  const reader = await opened(t, path, { readOnly: true })
  assert.equal(reader.present, false)
  assert.equal(reader.getMeta('position'), undefined)
  assert.deepEqual([...reader.metaRange(''), ...reader.ledger(), ...rows(reader), ...reader.measures()], [])
  assert.equal(existsSync(`${path}/results`), false)
  await assert.rejects(reader.takeOwnership(), /reading only/)

  const writer = child(t, 'write', path)
  while (reader.getMeta('position') === undefined) {
    await sleep(1)
    assert.equal(writer.exitCode, null)
  }
  assert.equal(reader.present, true)
})

test('a reader that looks on all the while does not disturb the making of a store', async (t) => {
  const path = folder(t)
  const stores = 200
  const maker = child(t, 'make', path, String(stores))
  const ended = once(maker, 'exit')
  for (let partition = 0; partition < stores; partition++) {
    const reader = await openStore(path, partition, { readOnly: true })
    atEnd(t, () => reader.close())
    while (!reader.present) {
      await setImmediate()
      await reader.appear()
      assert.ok(maker.exitCode === null || reader.present, `store ${partition} does not come`)
    }
  }
  assert.deepEqual(await ended, [0, null])
})

test('a reader in another process goes on when the store grows far beyond what it mapped', async (t) => {
  const path = folder(t)
  const store = await opened(t, path)
  const epoch = await store.takeOwnership()
  await store.commit(epoch, (batch) => batch.putRow(Buffer.of(0, 1), Buffer.alloc(10)))
  const reader = child(t, 'read', path)
  assert.deepEqual(await once(reader, 'message').then(([message]) => message), { before: 10 })
  const rowBytes = 100_000
  for (let n = 0; n < 10; n++) {
    await store.commit(epoch, (batch) => {
      for (let k = 0; k < 40; k++) batch.putRow(Buffer.of(1, n, k), Buffer.alloc(rowBytes, 1))
    })
  }
  reader.send('look')
  const [seen] = await once(reader, 'message')
  assert.deepEqual(seen, { before: 10, now: 10 + 400 * rowBytes })
})

test('a file that is not a store, is cut off or is of another version is refused with what to do', async (t) => {
  const path = folder(t)
  mkdirSync(`${path}/garbage/results/0`, { recursive: true })
  writeFileSync(`${path}/garbage/results/0/data.mdb`, Buffer.alloc(64 * 1024, 'x'))
  for (const readOnly of [true, false]) {
    await assert.rejects(openStore(`${path}/garbage`, 0, { readOnly }), (error: Error) => {
      assert.ok(error instanceof StoreError)
      assert.match(error.message, /garbage\/results\/0 is damaged.*another dataDir/s)
      return true
    })
  }

  mkdirSync(`${path}/earlier/results`, { recursive: true })
  writeFileSync(`${path}/earlier/results/data.mdb`, '')
  await assert.rejects(openStore(`${path}/earlier`, 0), /earlier\/results was made by an earlier version/)

  const store = await openStore(`${path}/cut`, 0)
  const epoch = await store.takeOwnership()
  await store.commit(epoch, (batch) => batch.putRow(Buffer.of(0, 1), Buffer.alloc(200_000)))
  await store.close()
  const file = `${path}/cut/results/0/data.mdb`
  truncateSync(file, readFileSync(file).length - 150_000)
  for (const readOnly of [true, false]) {
    await assert.rejects(
      openStore(`${path}/cut`, 0, { readOnly }),
      /damaged \(\d+ bytes, where \d+ are expected\)/,
    )
  }

  for (const version of [0, 4]) {
    const other = await openStore(`${path}/of-${version}`, 0)
    const otherEpoch = await other.takeOwnership()
    const format = Buffer.from(`millrace results ${version}`)
    await other.commit(otherEpoch, (batch) => batch.putMeta('format', format))
    await other.close()
    for (const readOnly of [true, false]) {
      await assert.rejects(
        openStore(`${path}/of-${version}`, 0, { readOnly }),
        new RegExp(
          `another version \\(${format}; this is .*\\): use the version that made it, or start with another`,
        ),
      )
    }
  }
})

test('a measure keeps its rows for as long as it means the same; the rows of others are removed', async (t) => {
  const path = folder(t)
  const notes: string[] = []
  const take = async (measures: Measure[]) => {
    const store = await openStore(path, 0, { measures, onNote: (note) => notes.push(note) })
    const epoch = await store.takeOwnership()
    await store.tidied()
    return { store, epoch }
  }
  const other: Measure = { ...measure, name: 'other', where: { type: 'a*', source: 'b' } }
  const first = await take([measure, other])
  const [{ id }, { id: otherId }] = first.store.measures()
  assert.notEqual(id, otherId)
  const keys = [id, otherId].flatMap((each) =>
    [1, 2, 3].map((window) => rowKey(each, Buffer.from('k'), window)),
  )
  await first.store.commit(first.epoch, (batch) => {
    for (const key of keys) batch.putRow(key, one)
  })
  await first.store.close()

  // The other order, in the configuration and in `where`, is no change.
  const second = await take([{ ...other, where: { source: 'b', type: 'a*' } }, measure])
  assert.deepEqual(
    second.store.measures().map((entry) => [entry.id, entry.measure.name]),
    [
      [otherId, 'other'],
      [id, 'm'],
    ],
  )
  assert.equal(rows(second.store).length, 6)
  assert.deepEqual(notes, [])
  await second.store.close()

  const third = await take([{ ...measure, window: 60_000 }, other])
  assert.notEqual(third.store.measures()[0].id, id)
  assert.deepEqual(
    rows(third.store).map(([key]) => key),
    keys.slice(3).map((key) => key.toString('hex')),
  )
  assert.equal(notes.length, 2)
  assert.match(notes[0], /measure m was changed/)
  assert.match(notes[1], /old rows of measure m are removed/)
  await third.store.close()

  const fourth = await take([])
  atEnd(t, () => fourth.store.close())
  assert.deepEqual([rows(fourth.store), fourth.store.measures()], [[], []])
})

test('removing old rows goes on where a killed owner left it', async (t) => {
  const path = folder(t)
  const store = await openStore(path, 0, { measures: [measure] })
  const epoch = await store.takeOwnership()
  const [{ id }] = store.measures()
  await store.commit(epoch, (batch) => {
    for (let n = 0; n < 5000; n++) batch.putRow(rowKey(id, Buffer.from('k'), n), one)
  })
  await store.close()
  const interrupted = await openStore(path, 0, { measures: [] })
  await interrupted.takeOwnership()
  await interrupted.close() // after one round of removing at most
  const before = await openStore(path, 0, { readOnly: true })
  assert.ok(rows(before).length > 0)
  await before.close()

  const next = await opened(t, path, { measures: [] })
  await next.takeOwnership()
  await next.tidied()
  assert.deepEqual(rows(next), [])
})
