// The embedded log against a model of what it promised, on a disk that crashes, tears, fails and fills up.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LogSize } from '../../src/log/embedded/files.ts'
import type { Damage } from '../../src/log/embedded/lane.ts'
import { EmbeddedReader } from '../../src/log/embedded/reader.ts'
import { EmbeddedWriter } from '../../src/log/embedded/writer.ts'
import { LogFull, LogUnavailable } from '../../src/log/log.ts'
import { type Segment, SegmentBuilder } from '../../src/log/segment.ts'
import { generator, type Random, random } from '../e2e/random.ts'
import { ModelDisk, ModelLinks } from './model-files.ts'

const FOLDER = 'log'
const size: LogSize = { chunkBytes: 4096, chunksMax: 12 }

/** A segment with a body that names it. */
function segment(name: string, bytes = 0): Segment {
  const builder = new SegmentBuilder(256)
  builder.add(Buffer.from(name.padEnd(bytes, '.')), 1, '', 0, '', 1)
  return builder.seal()
}

function nameOf(read: Segment): string {
  return read.frames.toString().replace(/\.+$/, '')
}

/** Lets everything happen that can: the model disk needs no time, only turns. */
async function settle(turns = 8): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
}

class World {
  readonly disk = new ModelDisk()
  readonly links = new ModelLinks()
  /** By name: what became of each append. */
  readonly acked = new Set<string>()
  readonly refused = new Set<string>()
  /** Of the last refusal. */
  reason: Error | undefined
  /** Refused, and then the process died before it could make sure that nothing is left of it. */
  readonly uncertain = new Set<string>()
  /** In the order of their appends, by writer. */
  readonly appended = new Map<string, string[]>()
  /** What was read and committed: it may be read again never. */
  readonly counted = new Set<string>()
  readonly damage: Damage[] = []
  readonly position = new Map<string, number>()
  #mounts: { kill(): void }[] = []
  #writers: EmbeddedWriter[] = []
  #made = 0

  async writer(): Promise<EmbeddedWriter> {
    const mount = this.disk.mount()
    this.#mounts.push(mount)
    const writer = this.#made.toString(16).padStart(16, 'a')
    this.#made++
    this.appended.set(writer, [])
    const link = this.links.serve(writer)
    const parts = { fs: mount.fs, folder: FOLDER, size, link, writer, freeSpaceMin: 0 }
    const made = await new EmbeddedWriter(parts).open()
    this.#writers.push(made)
    return made
  }

  /** Appends without waiting; the outcome is noted when there is one. */
  append(writer: EmbeddedWriter, name: string, bytes: number): Promise<void> {
    this.appended.get(writer.writer)!.push(name)
    return writer.append(segment(name, bytes)).then(
      () => void this.acked.add(name),
      (error: Error) => {
        assert.ok(error instanceof LogFull || error instanceof LogUnavailable, `${error}`)
        this.refused.add(name)
        this.reason = error
      },
    )
  }

  /** A new reader from the committed position reads all there is; `share` of it is committed. */
  async read(share: (all: number) => number): Promise<string[]> {
    const promised = [...this.acked]
    const mount = this.disk.mount()
    const reader = new EmbeddedReader({
      fs: mount.fs,
      folder: FOLDER,
      size,
      maxAge: Number.POSITIVE_INFINITY,
      freeSpaceMin: 0,
      connect: this.links.connect,
      watch: () => () => {},
      onDamage: (damage) => this.damage.push(damage),
      onError: (error) => assert.fail(error),
    })
    const stop = new AbortController()
    const read: { name: string; lane: string; next: number }[] = []
    const reading = (async () => {
      for await (const { segment: one, lane, next } of reader.read(this.position, stop.signal)) {
        read.push({ name: nameOf(one), lane, next })
      }
    })()
    for (let before = -1; before !== read.length; ) {
      before = read.length
      await settle()
    }
    const committed = read.slice(0, share(read.length))
    for (const { name, lane, next } of committed) {
      this.counted.add(name)
      this.position.set(lane, next)
    }
    reader.committed(new Map(this.position))
    await settle()
    for (const lane of reader.finished()) this.position.delete(lane)
    stop.abort()
    await reading
    await reader.close()
    mount.kill()
    this.#check(read, promised)
    return read.map(({ name }) => name)
  }

  #check(read: { name: string; lane: string }[], promised: string[]): void {
    const names = read.map(({ name }) => name)
    assert.equal(new Set(names).size, names.length, 'nothing is read twice')
    for (const name of names) assert.ok(!this.#counted(name, read), `${name} was committed and is read again`)
    for (const name of promised) {
      assert.ok(this.counted.has(name) || names.includes(name), `${name} was acknowledged and is lost`)
    }
    for (const name of names)
      assert.ok(!this.refused.has(name) || this.uncertain.has(name), `${name} was refused`)
    for (const [writer, order] of this.appended) {
      const mine = read.filter(({ lane }) => lane === writer).map(({ name }) => name)
      assert.deepEqual(
        mine,
        order.filter((name) => mine.includes(name)),
        'in the order of the appends',
      )
    }
  }

  /** Committed before this reading began. */
  #counted(name: string, read: { name: string }[]): boolean {
    const fresh = new Set(read.map((one) => one.name))
    return this.counted.has(name) && !fresh.has(name)
  }

  /** Every process dies at once. */
  crash(how: 'process' | 'power', dice: Omit<Random, 'seed'>): void {
    for (const { kill } of this.#mounts.splice(0)) kill()
    this.links.killAll()
    for (const writer of this.#writers.splice(0)) void writer.close().catch(() => {})
    for (const name of this.refused) this.uncertain.add(name)
    if (how === 'power') this.disk.powerCut(dice)
    else this.disk.processCrash()
  }
}

test('random runs with crashes, power cuts, failed writes and syncs, and a full disk keep every promise', async (t) => {
  const { seed } = random(t)
  for (let run = 0; run < 400; run++) {
    const dice = generator(seed + run)
    const world = new World()
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
          await world.read((all) => dice.between(0, all))
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
      assert.ok(chunks <= size.chunksMax, `${chunks} chunks`)
    }
    world.crash(dice.pick(['process', 'power']), dice)
    await world.read((all) => all)
    assert.deepEqual(world.damage, [], `run ${run}: a crash is no damage`)
  }
})

/** A fixed run with rolls and several appends in flight. */
async function script(world: World): Promise<void> {
  const writer = await world.writer()
  await world.append(writer, 'a', 300)
  await Promise.all([
    world.append(writer, 'b', 10),
    world.append(writer, 'c', 600),
    world.append(writer, 'd', 40),
  ])
  await world.append(writer, 'e', 2800)
  await world.append(writer, 'f', 900)
  await Promise.all([world.append(writer, 'g', 20), world.append(writer, 'h', 30)])
}

test('a crash at every byte and before every sync of a run loses nothing that was acknowledged', async () => {
  const whole = new World()
  await script(whole)
  assert.equal(whole.acked.size, 8)
  const { bytesWritten, syncs } = whole.disk
  const points: { bytes?: number; syncs?: number }[] = []
  for (let bytes = 0; bytes < bytesWritten; bytes++) points.push({ bytes })
  for (let n = 0; n < syncs; n++) points.push({ syncs: n })
  for (const point of points) {
    for (const how of ['process', 'power'] as const) {
      const world = new World()
      world.disk.bytesUntilCrash = point.bytes ?? Number.POSITIVE_INFINITY
      world.disk.syncsUntilCrash = point.syncs ?? Number.POSITIVE_INFINITY
      void script(world).catch(() => {})
      await settle(4)
      world.crash(how, generator(point.bytes ?? point.syncs ?? 0))
      await world.read((all) => all)
      assert.deepEqual(world.damage, [])
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
  assert.ok(chunks.length <= size.chunksMax)
  assert.ok(60 * 700 > size.chunksMax * size.chunkBytes * 0.8, 'chunks were used again')
  world.crash('power', generator(1))
  assert.deepEqual(await world.read((all) => all), [])
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

test('a failed sync refuses what waited, leaves nothing of it behind, and the next append succeeds', async (t) => {
  const world = new World()
  const writer = await world.writer()
  await world.append(writer, 'before', 100)
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
