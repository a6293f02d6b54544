// Bytes of the embedded log that went bad on the disk: what is lost is counted, and nothing else is lost.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chunkName } from '../../src/log/embedded/files.ts'
import { generator } from '../e2e/random.ts'
import { World } from './model-world.ts'

/** Spoils the records of these names, whose chunk begins with sequence `first`. */
function spoil(world: World, writer: string, first: number, ...names: string[]): void {
  world.disk.damage(chunkName(writer, first), (content) => {
    for (const name of names) {
      const at = content.indexOf(`${name}.....`)
      assert.ok(at > 0, `${name} is there`)
      content.fill(0xff, at, at + 5)
      world.acked.delete(name)
    }
  })
}

function counts(world: World): { events: number; bodies: number }[] {
  return world.damage.map(({ events, bodies }) => ({ events, bodies }))
}

test('of records of one write, those that are whole are read, when a later write proves that all were there', async () => {
  const world = new World()
  const writer = await world.writer()
  // The first is written alone, and the others, which wait for it, together.
  await Promise.all(['a', 'b', 'c', 'd'].map((name) => world.append(writer, name, 100)))
  await world.append(writer, 'e', 100)
  spoil(world, writer.writer, 0, 'b')
  world.crash('process', generator(1))
  assert.deepEqual(await world.read((all) => all), ['a', 'c', 'd', 'e'])
  assert.deepEqual(counts(world), [{ events: 1, bodies: 1 }])
})

test('a write that was torn by a power cut is no damage', async () => {
  const world = new World()
  const writer = await world.writer()
  await Promise.all(['a', 'b', 'c', 'd'].map((name) => world.append(writer, name, 100)))
  for (const name of ['b', 'c', 'd']) world.acked.delete(name) // as if power had failed before the sync
  spoil(world, writer.writer, 0, 'b')
  world.crash('process', generator(1))
  assert.deepEqual(await world.read((all) => all), ['a'])
  assert.deepEqual(world.damage, [])
})

test('while the writer lives, damage to the newest records is counted at once, and what follows is read', async () => {
  const world = new World()
  const writer = await world.writer()
  for (const name of ['a', 'b', 'c']) await world.append(writer, name, 100)
  spoil(world, writer.writer, 0, 'b', 'c')
  assert.deepEqual(await world.read(() => 0), ['a'])
  assert.deepEqual(counts(world), [{ events: 2, bodies: 2 }])
  await world.append(writer, 'd', 100)
  assert.deepEqual(await world.read((all) => all), ['a', 'd'])
  await world.append(writer, 'e', 100)
  world.damage.length = 0
  assert.deepEqual(await world.read((all) => all), ['e'])
  assert.deepEqual(world.damage, [], 'what was committed is not told again')
})

test('a lane whose end is damaged is finished all the same', async () => {
  const world = new World()
  const writer = await world.writer()
  for (const name of ['a', 'b']) await world.append(writer, name, 100)
  spoil(world, writer.writer, 0, 'b')
  const reading = world.read((all) => all, 0)
  await writer.close()
  assert.deepEqual(await reading, ['a'])
  await world.read((all) => all, 0)
  assert.deepEqual(
    world.disk.names().filter((name) => name.startsWith(writer.writer) && name.endsWith('.chunk')),
    [],
  )
})

test('a chunk that is gone is counted by what follows it', async () => {
  const world = new World()
  const writer = await world.writer()
  for (const name of ['a', 'b', 'c', 'd', 'e']) await world.append(writer, name, 2000)
  world.disk.lose(chunkName(writer.writer, 1))
  for (const name of ['b', 'c']) world.acked.delete(name)
  world.crash('process', generator(1))
  const read = await world.read((all) => all)
  assert.deepEqual(
    read,
    ['a', 'c', 'd', 'e'].filter((name) => read.includes(name)),
  )
  assert.ok(!read.includes('b'))
  assert.equal(counts(world)[0].events, 5 - read.length)
})

test('a damaged record further back is set aside with a count, and what follows is read', async () => {
  const world = new World()
  const writer = await world.writer()
  for (const name of ['a', 'b', 'c', 'd']) await world.append(writer, name, 200)
  const [chunk] = world.disk
    .names()
    .filter((name) => name.startsWith(writer.writer) && name.endsWith('.chunk'))
  world.disk.damage(chunk, (content) => {
    const at = content.indexOf('b.....')
    content[at + 50] ^= 0xff
  })
  world.acked.delete('b')
  world.crash('process', generator(1))
  assert.deepEqual(await world.read((all) => all), ['a', 'c', 'd'])
  assert.equal(world.damage.length, 1)
  assert.equal(world.damage[0].events, 1)
  assert.equal(world.damage[0].bodies, 1)
  assert.ok(world.disk.names().includes(`${writer.writer}-0000000000000001.bin`), 'its bytes are kept')
})

test('damage at the end of a chunk is counted when the next chunk is read', async () => {
  const world = new World()
  const writer = await world.writer()
  for (const name of ['a', 'b', 'c', 'd', 'e']) await world.append(writer, name, 1100)
  const [chunk] = world.disk
    .names()
    .filter((name) => name.startsWith(writer.writer))
    .sort()
  world.disk.damage(chunk, (content) =>
    content.fill(0xff, content.indexOf('c.....'), content.indexOf('c.....') + 40),
  )
  world.acked.delete('c')
  world.crash('power', generator(1))
  assert.deepEqual(await world.read((all) => all), ['a', 'b', 'd', 'e'])
  assert.deepEqual(
    world.damage.map(({ events, bodies }) => ({ events, bodies })),
    [{ events: 1, bodies: 1 }],
  )
})
