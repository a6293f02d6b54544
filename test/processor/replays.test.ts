import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { millrace } from '#proto'
import { REPLAYS_AT_ONCE_MAX, REPLAYS_WAITING_MAX } from '../../src/limits.ts'
import { type Again, Replays } from '../../src/processor/replays.ts'
import type { Done } from '../../src/processor/runner.ts'
import { DeadLetters } from '../../src/results/dead-letters.ts'
import { readCounters } from '../../src/results/progress.ts'
import { openStore } from '../../src/results/store.ts'
import { atEnd, folder } from '../results/folder.ts'

const NOW = Date.UTC(2026, 0, 31)

/** What came of a letter in the pool: it was handled, or not even called for, or it died again. */
function done(reason?: string, handled = [1]): Done {
  const letters = reason === undefined ? [] : [{ handler: 0, reason, from: 0, to: 0 }]
  const effects = { handled, dropped: [], letters, results: Buffer.alloc(0) }
  return { delta: undefined, effects, to: 0 }
}

async function replays(t: TestContext, count: number) {
  const store = await openStore(folder(t), 0)
  atEnd(t, () => store.close())
  const epoch = await store.takeOwnership()
  const letters = new DeadLetters(store, 0, readCounters(store))
  const event = millrace.v1.Event.encode({ source: 's', type: 't' }).finish()
  const about = { reason: 'r', at: NOW, correlationId: '', event }
  const ids = Array.from({ length: count }, (_, i) =>
    letters.add({ handler: i % 2 === 0 ? 'known' : 'unknown', ...about }, NOW),
  )
  await store.commit(epoch, (batch) => letters.write(batch))
  const started: Again[] = []
  const world = { room: true, durable: Promise.resolve() }
  const again = new Replays({
    letters,
    isHandler: (name) => name === 'known',
    hasRoom: () => world.room,
    start: (one) => void started.push(one),
    durable: () => world.durable,
  })
  return { letters, ids, started, world, again }
}

test('no more are begun at once than may be, and only while there is room', async (t) => {
  const { ids, started, world, again } = await replays(t, 20)
  const known = ids.filter((_, i) => i % 2 === 0)
  world.room = false
  const outcomes = known.map((id) => again.replay(id))
  assert.equal(started.length, 0)
  world.room = true
  again.begin()
  for (let i = 0; i < known.length; i++) {
    assert.ok(started.length - i <= REPLAYS_AT_ONCE_MAX)
    assert.equal(started[i].letter.id, known[i])
    assert.equal(started[i].counts(done()), true)
    again.begin()
  }
  for (const outcome of await Promise.all(outcomes)) assert.equal(outcome.outcome, 'replayed')
})

test('whoever asks for a letter that is on its way hears the same, and it counts once', async (t) => {
  const { ids, started, again, letters } = await replays(t, 1)
  const outcomes = [again.replay(ids[0]), again.replay(ids[0])]
  assert.equal(started.length, 1)
  assert.equal(started[0].counts(done()), true)
  assert.deepEqual(await Promise.all(outcomes), Array(2).fill({ id: ids[0], outcome: 'replayed' }))
  assert.equal(letters.size, 0)
  assert.deepEqual(await again.replay(ids[0]), { id: ids[0], outcome: 'unknown' })
})

test('a letter that its handler is not called for any more stays, and is refused', async (t) => {
  const { ids, started, again, letters } = await replays(t, 1)
  const outcome = again.replay(ids[0])
  assert.equal(started[0].counts(done(undefined, [0])), false)
  const { outcome: what, code } = (await outcome) as { outcome: string; code?: string }
  assert.deepEqual([what, code], ['refused', 'no-handler'])
  assert.equal(letters.size, 1)
})

test('the effects of a letter that died again, or was dropped meanwhile, do not count', async (t) => {
  const { ids, started, again, letters } = await replays(t, 3)
  const died = again.replay(ids[0])
  const dropped = again.replay(ids[2])
  letters.remove(ids[2], 'dropped')
  assert.equal(started[0].counts(done('still')), false)
  assert.equal(started[1].counts(done()), false)
  assert.deepEqual(await died, { id: ids[0], outcome: 'failed', reason: 'still' })
  assert.deepEqual(await dropped, { id: ids[2], outcome: 'unknown' })
  assert.ok(letters.has(ids[0]))
})

test('it is answered when it is on disk; where it cannot be, nobody hears that it was replayed', async (t) => {
  const { ids, started, again, world } = await replays(t, 3)
  let flush!: () => void
  world.durable = new Promise((resolve) => {
    flush = resolve
  })
  let heard = false
  const outcome = again.replay(ids[0]).finally(() => {
    heard = true
  })
  started[0].counts(done())
  await new Promise(setImmediate)
  assert.equal(heard, false)
  flush()
  assert.equal((await outcome).outcome, 'replayed')
  world.durable = Promise.reject(new Error('no disk'))
  world.durable.catch(() => {})
  const lost = again.replay(ids[2])
  started[1].counts(done())
  await assert.rejects(lost, /no disk/)
})

test('what cannot be begun is refused: an unknown handler, too many, a processor that ends or fails', async (t) => {
  const { ids, started, again, world } = await replays(t, 2 * REPLAYS_WAITING_MAX + 4)
  const refusal = async (outcome: ReturnType<typeof again.replay>) => {
    const settled = await outcome
    return settled.outcome === 'refused' ? settled.code : settled.outcome
  }
  assert.equal(await refusal(again.replay(ids[1])), 'no-handler')
  const known = ids.filter((_, i) => i % 2 === 0)
  const inPool = again.replay(known[0])
  world.room = false
  const waiting = known.slice(1, REPLAYS_WAITING_MAX + 1).map((id) => again.replay(id))
  assert.equal(await refusal(again.replay(known[REPLAYS_WAITING_MAX + 1])), 'overloaded')
  again.fail()
  for (const outcome of [inPool, ...waiting]) assert.equal(await refusal(outcome), 'no-processor')
  assert.equal(await refusal(again.replay(ids[0])), 'no-processor')
  assert.equal(started.length, 1)
})
