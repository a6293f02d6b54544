// The embedded log against a model of what it promised, on a disk that crashes, tears, fails and fills up.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogFull, LogUnavailable } from '../../src/log/log.ts'
import { generator, random } from '../e2e/random.ts'
import { SIZE, settle, World } from './model-world.ts'

test('random runs with crashes, power cuts, failed writes and syncs, and a full disk keep every promise', async (t) => {
  const { seed } = random(t)
  for (let run = 0; run < 400; run++) {
    const dice = generator(seed + run)
    const world = new World()
    world.disk.syncTurns = dice.between(0, 2)
    let writers = [await world.writer(), await world.writer()]
    let names = 0
    for (let step = 0; step < 25; step++) {
      const name = () => `${run}/${names++}`
      const writer = dice.pick(writers)
      switch (dice.pick(['append', 'append', 'append', 'many', 'read', 'crash', 'fail', 'fill'] as const)) {
        case 'append':
          await world.append(writer, name(), dice.between(1, 900))
          break
        case 'many': {
          const appends = Array.from({ length: dice.between(2, 12) }, () =>
            world.append(dice.pick(writers), name(), dice.between(1, 900)),
          )
          if (dice.between(0, 3) > 0) await Promise.all(appends)
          else await settle(dice.between(0, 2))
          break
        }
        case 'read':
          await world.read((all) => dice.between(0, all), dice.pick([0, Number.POSITIVE_INFINITY]))
          break
        case 'fail':
          if (dice.between(0, 1) === 0) world.disk.failWrites = dice.between(1, 2)
          else world.disk.failSyncs = dice.between(1, 2)
          break
        case 'fill':
          world.disk.freeBytes = dice.pick([0, Number.POSITIVE_INFINITY])
          break
        case 'crash':
          world.crash(dice.pick(['process', 'power']), dice)
          writers = [await world.writer(), await world.writer()]
          break
      }
      const chunks = world.disk.names().filter((one) => one.endsWith('.chunk')).length
      assert.ok(chunks <= SIZE.chunksMax, `${chunks} chunks`)
    }
    world.crash(dice.pick(['process', 'power']), dice)
    await world.read((all) => all)
    assert.deepEqual(world.damage, [], `run ${run}: a crash is no damage`)
  }
})

/** A fixed run with rolls and several appends in flight. */
async function script(world: World): Promise<void> {
  const writer = await world.writer()
  await world.append(writer, 'a', 100)
  await Promise.all([
    world.append(writer, 'b', 10),
    world.append(writer, 'c', 250),
    world.append(writer, 'd', 40),
  ])
  await world.append(writer, 'e', 700)
  await Promise.all([world.append(writer, 'f', 20), world.append(writer, 'g', 30)])
}

test('a crash at every byte and before every sync of a run loses nothing that was acknowledged', async () => {
  const small = { chunkBytes: 1024, chunksMax: 8 }
  const whole = new World(small)
  await script(whole)
  assert.equal(whole.acked.size, 7)
  const points: { bytes?: number; syncs?: number }[] = []
  let at = 0
  for (const { end, zeros } of whole.disk.writes) {
    for (; at < end; at += zeros ? 512 : 1) points.push({ bytes: at })
    at = end
  }
  for (let n = 0; n < whole.disk.syncs; n++) points.push({ syncs: n })
  assert.ok(points.length > 1500)
  for (const point of points) {
    for (const how of ['process', 'power'] as const) {
      const world = new World(small)
      world.disk.bytesUntilCrash = point.bytes ?? Number.POSITIVE_INFINITY
      world.disk.syncsUntilCrash = point.syncs ?? Number.POSITIVE_INFINITY
      void script(world)
      await settle(4)
      assert.ok(world.disk.crashed, `the crash at ${JSON.stringify(point)} comes`)
      world.crash(how, generator(point.bytes ?? point.syncs ?? 0))
      await world.read((all) => all)
      assert.deepEqual(world.damage, [], `${JSON.stringify(point)}: a crash is no damage`)
    }
  }
})

test('a record of an earlier use of a chunk is never taken for a new one', async () => {
  const world = new World()
  const writer = await world.writer()
  for (let n = 0; n < 60; n++) {
    await world.append(writer, `n${n}`, 700)
    await world.read((all) => all)
  }
  assert.equal(world.acked.size, 60)
  assert.equal(world.counted.size, 60)
  const chunks = world.disk.names().filter((name) => name.endsWith('.chunk'))
  assert.ok(chunks.length <= SIZE.chunksMax)
  assert.ok(60 * 700 > SIZE.chunksMax * SIZE.chunkBytes * 0.8, 'chunks were used again')
  world.crash('power', generator(1))
  assert.deepEqual(await world.read((all) => all), [])
})

test('a failed sync refuses what waited, leaves nothing of it behind, and the next append succeeds', async (t) => {
  const world = new World()
  const writer = await world.writer()
  await world.append(writer, 'before', 100)
  await settle() // the next chunk is made meanwhile, with a sync of its own
  world.disk.failSyncs = 1
  await Promise.all([world.append(writer, 'x', 100), world.append(writer, 'y', 100)])
  assert.deepEqual([...world.refused], ['x', 'y'])
  await settle()
  await world.append(writer, 'after', 100)
  assert.ok(world.acked.has('after'))
  assert.deepEqual(await world.read((all) => all), ['before', 'after'])
  t.diagnostic('the chunk whose sync failed is not written again')
})

test('a full disk is LogUnavailable, a full log is LogFull, and both pass', async () => {
  const world = new World()
  const writer = await world.writer()
  await world.append(writer, 'first', 10)
  await settle()
  /** Appends until one is refused. */
  const refusal = async (name: string): Promise<Error | undefined> => {
    for (let n = 0; n < 60; n++) {
      await world.append(writer, `${name}${n}`, 1500)
      if (world.refused.has(`${name}${n}`)) return world.reason
    }
    return undefined
  }
  world.disk.freeBytes = 100
  const unavailable = await refusal('u')
  assert.ok(unavailable instanceof LogUnavailable, `${unavailable}`)
  assert.match(unavailable.message, /disk is full.*100 bytes/)
  world.disk.freeBytes = Number.POSITIVE_INFINITY
  const full = await refusal('f')
  assert.ok(full instanceof LogFull, `${full}`)
  assert.match(full.message, /log.retention.maxBytes/)
  await world.read((all) => all)
  await world.append(writer, 'after', 1500)
  assert.ok(world.acked.has('after'))
})
