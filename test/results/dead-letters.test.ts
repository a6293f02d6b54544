import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { millrace } from '#proto'
import { DEAD_LETTER_REASON_BYTES_MAX } from '../../src/limits.ts'
import { DeadLetters, heads, isLetterId, partitionOf, readLetter } from '../../src/results/dead-letters.ts'
import { putCounters, readCounters } from '../../src/results/progress.ts'
import { openStore } from '../../src/results/store.ts'
import { openStores } from '../../src/results/stores.ts'
import { atEnd, folder } from './folder.ts'

const NOW = Date.UTC(2026, 0, 31)

function letter(subject: string, { bytes = 0, reason = 'because' } = {}) {
  const event = millrace.v1.Event.encode({ source: 's', type: 't', subject, data: new Uint8Array(bytes) })
  return { handler: 'h', reason, at: NOW - 1000, correlationId: 'c', event: event.finish() }
}

/** The letters of one partition, and what commits them. */
async function opened(t: TestContext, path = folder(t), partition = 0, bounds = {}) {
  const store = await openStore(path, partition)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const counters = readCounters(store)
  const letters = new DeadLetters(store, partition, counters, bounds)
  const commit = () =>
    store.commit(epoch, (batch) => {
      letters.write(batch)
      putCounters(batch, counters)
    })
  const kept = () => {
    const snapshot = store.snapshot()
    const all = [...heads(snapshot)]
    snapshot.done()
    return all
  }
  return { store, letters, counters, commit, kept }
}

test('a letter is read as it was put: what there is to say of it, and the bytes of its event', async (t) => {
  const { store, letters, commit } = await opened(t)
  const put = letter('x', { bytes: 100 })
  const bytes = Uint8Array.from(put.event)
  const id = letters.add(put, NOW)
  put.event.fill(0) // what it was in is used again
  await commit()
  assert.ok(isLetterId(id))
  assert.equal(partitionOf(id), 0)
  const { event, ...head } = readLetter(store, id)!
  assert.deepEqual(event, Buffer.from(bytes))
  assert.deepEqual(head, {
    id,
    handler: 'h',
    reason: 'because',
    at: NOW - 1000,
    diedAt: NOW,
    attempts: 1,
    correlationId: 'c',
    bytes: bytes.length,
    type: 't',
    source: 's',
    subject: 'x',
  })
  for (const other of ['', 'x', id.replace(/.$/, 'f'), id.toUpperCase(), `${id}0`]) {
    if (other !== id) assert.equal(readLetter(store, other), undefined, other)
  }
})

test('an event whose strings are no UTF-8 is kept as it is, and told with what can be read of it', async (t) => {
  const { store, letters, commit } = await opened(t)
  const event = Buffer.from([0x12, 1, 0x73, 0x1a, 1, 0x74, 0x22, 2, 0xff, 0x61]) // source s, type t, subject ff 61
  const id = letters.add({ handler: 'h', reason: 'r', at: NOW, correlationId: '', event }, NOW)
  await commit()
  const kept = readLetter(store, id)!
  assert.deepEqual(kept.event, event)
  assert.equal(kept.subject, '\ufffda')
})

test('ids are in the order of death, also when the clock is set back and after opening again', async (t) => {
  const path = folder(t)
  const before = await opened(t, path)
  const ids = [NOW, NOW, NOW + 5, NOW - 1000, NOW + 6].map((now, i) =>
    before.letters.add(letter(String(i)), now),
  )
  await before.commit()
  await before.store.close()
  const after = await opened(t, path)
  ids.push(after.letters.add(letter('5'), NOW - 2000))
  await after.commit()
  assert.deepEqual([...ids].sort(), ids)
  assert.equal(new Set(ids).size, ids.length)
  assert.deepEqual(
    after.kept().map(({ subject }) => subject),
    ['0', '1', '2', '3', '4', '5'],
  )
})

test('an id is not given again after its letter was dropped', async (t) => {
  const path = folder(t)
  const before = await opened(t, path)
  const id = before.letters.add(letter('0'), NOW)
  await before.commit()
  before.letters.remove(id, 'dropped')
  await before.commit()
  await before.store.close()
  const after = await opened(t, path)
  assert.equal(after.letters.size, 0)
  assert.notEqual(after.letters.add(letter('1'), NOW), id)
})

test('letters of several partitions are listed as one, in the order of death', async (t) => {
  const path = folder(t)
  const parts = [await opened(t, path, 0), await opened(t, path, 1), await opened(t, path, 255)]
  for (let i = 0; i < 9; i++) parts[(i * 2) % 3].letters.add(letter(String(i)), NOW + i)
  for (const { commit } of parts) await commit()
  const partitions = new Map(parts.map(({ store }, i) => [[0, 1, 255][i], store]))
  const stores = await openStores(path, 256, partitions)
  atEnd(t, () => stores.close())
  const snapshot = stores.snapshot()
  const all = [...heads(snapshot)]
  const rest = [...heads(snapshot, all[3].id)]
  snapshot.done()
  assert.deepEqual(
    all.map(({ subject }) => subject),
    ['0', '1', '2', '3', '4', '5', '6', '7', '8'],
  )
  assert.deepEqual(rest, all.slice(4))
  assert.deepEqual(new Set(all.map(({ id }) => partitionOf(id))), new Set([0, 1, 255]))
  for (const { id, subject } of all) assert.equal(readLetter(stores, id)?.subject, subject)
})

test('past so many letters the oldest leave, and are counted', async (t) => {
  const path = folder(t)
  const { store, letters, counters, commit, kept } = await opened(t, path, 0, { lettersMax: 3 })
  for (let i = 0; i < 5; i++) letters.add(letter(String(i)), NOW + i)
  await commit()
  letters.add(letter('5'), NOW + 5)
  await commit()
  assert.deepEqual(
    kept().map(({ subject }) => subject),
    ['3', '4', '5'],
  )
  assert.equal(letters.left, 3)
  const { deadLetters, deadLettersLeft } = readCounters(store)
  assert.deepEqual({ deadLetters, deadLettersLeft }, { deadLetters: 6, deadLettersLeft: 3 })
  assert.equal(counters.deadLetters - counters.deadLettersLeft, letters.size)
  const snapshot = store.snapshot()
  const events = [...snapshot.kept('letterEvents', Buffer.of(0), Buffer.of(0xff))]
  snapshot.done()
  assert.equal(events.length, 3)
})

test('past so many bytes the oldest leave; one that is larger than that alone stays', async (t) => {
  const { letters, commit, kept } = await opened(t, folder(t), 0, { bytesMax: 1000 })
  const subjects = () => kept().map(({ subject }) => subject)
  for (const subject of ['0', '1', '2']) letters.add(letter(subject, { bytes: 400 }), NOW)
  await commit()
  assert.deepEqual(subjects(), ['1', '2'])
  letters.add(letter('large', { bytes: 5000 }), NOW)
  await commit()
  assert.deepEqual(subjects(), ['large'])
  letters.add(letter('3'), NOW)
  await commit()
  assert.deepEqual(subjects(), ['3'])
})

test('one handled again in vain has the new reason and counts its attempts; one replayed or dropped is gone', async (t) => {
  const path = folder(t)
  const { store, letters, commit } = await opened(t, path)
  const [again, replayed, dropped] = ['a', 'b', 'c'].map((subject) => letters.add(letter(subject), NOW))
  await commit()
  letters.failedAgain(letters.get(again)!, 'something else')
  assert.equal(letters.remove(replayed, 'replayed'), true)
  assert.equal(letters.remove(dropped, 'dropped'), true)
  assert.equal(letters.remove(dropped, 'dropped'), false)
  assert.equal(letters.get(replayed), undefined)
  await commit()
  letters.failedAgain(letters.get(again)!, 'a third')
  await commit()
  const { attempts, reason, event } = readLetter(store, again)!
  assert.deepEqual({ attempts, reason }, { attempts: 3, reason: 'a third' })
  assert.deepEqual(event, Buffer.from(letter('a').event))
  assert.equal(readLetter(store, replayed), undefined)
  assert.equal(readLetter(store, dropped), undefined)
  const { deadLetters, deadLettersReplayed, deadLettersDropped } = readCounters(store)
  assert.deepEqual([deadLetters, deadLettersReplayed, deadLettersDropped], [3, 1, 1])
})

test('of a reason that is too long the beginning is kept, in whole characters', async (t) => {
  const { store, letters, commit } = await opened(t)
  const id = letters.add(letter('x', { reason: `.${'é'.repeat(2000)}` }), NOW)
  await commit()
  const { reason } = readLetter(store, id)!
  assert.equal(reason, `.${'é'.repeat(DEAD_LETTER_REASON_BYTES_MAX / 2 - 1)}`)
})
