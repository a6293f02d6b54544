// What the embedded log has promised, beside the log itself on a disk that crashes, tears, fails and fills up.

import assert from 'node:assert/strict'
import type { LogSize } from '../../src/log/embedded/files.ts'
import type { Damage } from '../../src/log/embedded/lane.ts'
import { type Left, leftBy } from '../../src/log/embedded/left.ts'
import { EmbeddedReader } from '../../src/log/embedded/reader.ts'
import { EmbeddedWriter } from '../../src/log/embedded/writer.ts'
import { LogFull, LogUnavailable } from '../../src/log/log.ts'
import type { Random } from '../e2e/random.ts'
import { ModelDisk, ModelLinks } from './model-files.ts'
import { nameOf, segment } from './segments.ts'

const FOLDER = 'log'
export const SIZE: LogSize = { chunkBytes: 4096, chunksMax: 12 }

/** Lets everything happen that can: the model disk needs no time, only turns. */
export function settle(turns = 8): Promise<void> {
  return new Promise((resolve) => {
    const turn = (left: number) => (left === 0 ? resolve() : setImmediate(turn, left - 1))
    turn(turns)
  })
}

/** A disk, the processes on it, what they promised, and the checks of that. */
export class World {
  readonly size: LogSize
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
  #made = 0
  #crashes = 0

  constructor(size = SIZE) {
    this.size = size
  }

  async writer(): Promise<EmbeddedWriter> {
    const mount = this.disk.mount()
    this.#mounts.push(mount)
    const writer = this.#made.toString(16).padStart(16, 'a')
    this.#made++
    this.appended.set(writer, [])
    const link = this.links.serve(writer)
    const { size } = this
    return new EmbeddedWriter({ fs: mount.fs, folder: FOLDER, size, link, writer, freeSpaceMin: 0 }).open()
  }

  /** Appends without waiting; the outcome is noted when there is one. */
  append(writer: EmbeddedWriter, name: string, bytes: number): Promise<void> {
    this.appended.get(writer.writer)!.push(name)
    const crashes = this.#crashes
    return writer.append(segment(name, bytes)).then(
      () => {
        if (crashes === this.#crashes) this.acked.add(name) // a dead process tells nobody
      },
      (error: Error) => {
        if (crashes !== this.#crashes) return
        assert.ok(error instanceof LogFull || error instanceof LogUnavailable, `${error}`)
        this.refused.add(name)
        this.reason = error
      },
    )
  }

  /**
   * A new reader from the committed position reads all there is; `share` of it is committed. With a `maxAge` of 0
   * what is committed is not kept.
   */
  async read(share: (all: number) => number, maxAge = Number.POSITIVE_INFINITY): Promise<string[]> {
    const promised = [...this.acked]
    // Failures of the disk are for the writers: a reader that meets one ends, and is started again.
    this.disk.failWrites = 0
    this.disk.failSyncs = 0
    const mount = this.disk.mount()
    const reader = new EmbeddedReader({
      fs: mount.fs,
      folder: FOLDER,
      size: this.size,
      maxAge,
      freeSpaceMin: 0,
      connect: this.links.connect,
      watch: () => () => {},
      onDamage: (damage) => this.damage.push(damage),
      onError: (error) => assert.fail(error),
    })
    const left = await this.#left()
    const positionBefore = new Map(this.position)
    const damageBefore = this.damage.length
    const stop = new AbortController()
    const countedBefore = new Set(this.counted)
    const read: { name: string; lane: string; next: number }[] = []
    const reading = (async () => {
      for await (const { segment: one, lane, next } of reader.read(this.position, stop.signal)) {
        read.push({ name: nameOf(one), lane, next })
        const durable = this.disk.isDurable(lane, one.bytes) ?? !this.acked.has(nameOf(one))
        assert.ok(durable, `${nameOf(one)} is read and not on disk`)
      }
    })()
    for (let before = -1; before !== read.length; ) {
      before = read.length
      await settle(8 + 8 * this.appended.size) // each lane's files may have to be synced before one entry comes
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
    this.#check(read, promised, countedBefore)
    if (this.damage.length === damageBefore) checkLeft(left, read, positionBefore)
    return read.map(({ name }) => name)
  }

  /** What writers that are gone have left, told by itself; nothing while some may live. */
  async #left(): Promise<Map<string, Left | undefined>> {
    const left = new Map<string, Left | undefined>()
    if (this.#mounts.length > 0) return left
    const mount = this.disk.mount()
    for (const writer of this.appended.keys()) left.set(writer, await leftBy(mount.fs, FOLDER, writer))
    mount.kill()
    return left
  }

  #check(read: { name: string; lane: string }[], promised: string[], countedBefore: Set<string>): void {
    const names = read.map(({ name }) => name)
    const seen = new Set(names)
    assert.equal(seen.size, names.length, 'nothing is read twice')
    for (const name of names) assert.ok(!countedBefore.has(name), `${name} was committed and is read again`)
    for (const name of promised) {
      assert.ok(countedBefore.has(name) || seen.has(name), `${name} was acknowledged and is lost`)
    }
    for (const name of names)
      assert.ok(!this.refused.has(name) || this.uncertain.has(name), `${name} was refused`)
    for (const [writer, order] of this.appended) {
      const mine = read.filter(({ lane }) => lane === writer).map(({ name }) => name)
      const expected = order.filter((name) => seen.has(name))
      assert.deepEqual(mine, expected, 'in the order of the appends')
    }
  }

  /** Every process dies at once. */
  crash(how: 'process' | 'power', dice: Omit<Random, 'seed'>): void {
    this.#crashes++
    for (const { kill } of this.#mounts.splice(0)) kill()
    this.links.killAll()
    for (const name of this.refused) this.uncertain.add(name)
    if (how === 'power') this.disk.powerCut(dice)
    else this.disk.processCrash()
  }
}

/** What was told to be left is what is then read. */
function checkLeft(
  left: ReadonlyMap<string, Left | undefined>,
  read: readonly { lane: string; next: number }[],
  position: ReadonlyMap<string, number>,
): void {
  for (const [writer, one] of left) {
    const last = read.findLast(({ lane }) => lane === writer)
    if (last !== undefined) assert.equal(one?.segments, last.next, 'what is left is read')
    else
      assert.ok((one?.segments ?? 0) <= (position.get(writer) ?? 0), 'nothing is left where nothing is read')
  }
}
