// A file system in memory that knows what is on disk and what is only in the cache, and can fail in every way that
// the log has to survive.

import type { File, FileSystem } from '../../src/log/filesystem.ts'
import { type Durable, type Link, type LinkServer, NOTHING } from '../../src/log/link.ts'
import type { Random } from '../e2e/random.ts'

const BLOCK = 512

class Inode {
  /** What programs see, and what is on disk. */
  current = Buffer.alloc(0)
  durable = Buffer.alloc(0)
  readonly dirty = new Set<number>()
  changedAt = 0
  /** A sync has failed: pages count as clean that are not on disk, and no later sync will tell. */
  suspect = false

  write(bytes: Buffer, position: number): void {
    const end = position + bytes.length
    if (end > this.current.length) this.resize(end)
    bytes.copy(this.current, position)
    for (let block = Math.floor(position / BLOCK); block * BLOCK < end; block++) this.dirty.add(block)
  }

  resize(length: number): void {
    const resized = Buffer.alloc(length)
    this.current.copy(resized)
    this.current = resized
    for (const block of this.dirty) if (block * BLOCK >= length) this.dirty.delete(block)
  }

  /** What is not dirty stays as it is on disk, whatever programs see: so it is after a sync that has failed. */
  sync(): void {
    const synced = Buffer.alloc(this.current.length)
    this.durable.copy(synced)
    for (const block of this.dirty)
      this.current.copy(synced, block * BLOCK, block * BLOCK, (block + 1) * BLOCK)
    this.durable = synced
    this.dirty.clear()
  }

  /** Of what was not synced, `survives` says block by block what has come to the disk all the same. */
  cut(survives: () => boolean): void {
    const left = Buffer.from(this.durable)
    for (const block of this.dirty) {
      const start = block * BLOCK
      if (start < left.length && survives()) this.current.copy(left, start, start, start + BLOCK)
    }
    this.current = left
    this.durable = Buffer.from(left)
    this.dirty.clear()
    this.suspect = false
  }
}

/** What a call of a dead process comes to: nothing, ever. */
const never = new Promise<never>(() => {})

export class ModelDisk {
  #names = new Map<string, Inode>()
  /** The names as they were after each change since the folder was synced: a power cut goes back to one of these. */
  #history: Map<string, Inode>[] = [new Map()]
  #clock = 1
  freeBytes = Number.POSITIVE_INFINITY
  /** Bytes of writes until everything stops, in the middle of one: the crash that is being tested. */
  bytesUntilCrash = Number.POSITIVE_INFINITY
  /** Syncs until everything stops, just before one. */
  syncsUntilCrash = Number.POSITIVE_INFINITY
  /** Every write so far: where it ends, counted in bytes written, and whether it was all zeros. */
  readonly writes: { end: number; zeros: boolean }[] = []
  #bytesWritten = 0
  syncs = 0
  failWrites = 0
  failSyncs = 0
  /** Turns of the event loop that a sync takes: others see meanwhile what is not durable yet. */
  syncTurns = 0
  crashed = false

  /** The disk as one process sees it. After `kill` nothing that process still does has an effect. */
  mount(): { fs: FileSystem; kill(): void } {
    let dead = false
    const fs = this.#fileSystem(() => dead || this.crashed)
    return {
      fs,
      kill: () => {
        dead = true
      },
    }
  }

  /**
   * Power fails: names fall back to what was synced and the first few changes since, contents to what was synced and
   * a random part of the rest.
   */
  powerCut(random: Omit<Random, 'seed'>): void {
    this.#names = new Map(random.pick(this.#history))
    this.#history = [new Map(this.#names)]
    const survives = () => random.between(0, 1) === 1
    for (const inode of new Set(this.#names.values())) inode.cut(survives)
    this.#restart()
  }

  /** All processes are gone; the cache is not. */
  processCrash(): void {
    this.#restart()
  }

  #restart(): void {
    this.crashed = false
    this.bytesUntilCrash = Number.POSITIVE_INFINITY
    this.syncsUntilCrash = Number.POSITIVE_INFINITY
    this.failWrites = 0
    this.failSyncs = 0
  }

  /**
   * Whether a power cut would leave these bytes in a file whose name begins so; undefined where a sync of that file
   * had failed, so that nobody can know.
   */
  isDurable(prefix: string, bytes: Buffer): boolean | undefined {
    let suspect = false
    for (const [path, inode] of this.#names) {
      if (!path.slice(path.lastIndexOf('/') + 1).startsWith(prefix)) continue
      if (inode.durable.includes(bytes)) return true
      suspect ||= inode.suspect && inode.current.includes(bytes)
    }
    return suspect ? undefined : false
  }

  names(): string[] {
    return [...this.#names.keys()].map((path) => path.slice(path.lastIndexOf('/') + 1))
  }

  /** Spoils bytes on the disk itself. */
  damage(name: string, change: (content: Buffer) => void): void {
    for (const [path, inode] of this.#names) {
      if (!path.endsWith(name)) continue
      change(inode.current)
      inode.durable = Buffer.from(inode.current)
      inode.dirty.clear()
    }
  }

  /** A file is gone from the disk itself. */
  lose(name: string): void {
    for (const path of [...this.#names.keys()]) if (path.endsWith(name)) this.#names.delete(path)
    this.#history = [new Map(this.#names)]
  }

  #renamed(): void {
    this.#history.push(new Map(this.#names))
  }

  /** Asked at the very moment of each effect: a process that is gone has none, and hears nothing. */
  #fileSystem(dead: () => boolean): FileSystem {
    const find = (path: string): Inode => {
      const inode = this.#names.get(path)
      if (inode === undefined) throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })
      return inode
    }
    return {
      open: async (path, how) => {
        if (dead()) await never
        if (how !== 'create') return this.#file(find(path), dead)
        if (this.#names.has(path)) throw Object.assign(new Error('exists'), { code: 'EEXIST' })
        const inode = new Inode()
        this.#names.set(path, inode)
        this.#renamed()
        return this.#file(inode, dead)
      },
      rename: async (from, to) => {
        if (dead()) await never
        const inode = find(from)
        this.#names.delete(from)
        this.#names.set(to, inode)
        this.#renamed()
      },
      remove: async (path) => {
        if (dead()) await never
        find(path)
        this.#names.delete(path)
        this.#renamed()
      },
      list: async (folder) => {
        if (dead()) await never
        const inside = [...this.#names.keys()].filter((path) => path.startsWith(`${folder}/`))
        return inside.map((path) => path.slice(folder.length + 1)).filter((name) => !name.includes('/'))
      },
      makeFolder: async () => {
        if (dead()) await never
      },
      syncFolder: async () => {
        if (dead() || this.#crashesAtSync()) await never
        this.#history = [new Map(this.#names)]
      },
      changedAt: async (path) => {
        if (dead()) await never
        return find(path).changedAt
      },
      freeBytes: async () => {
        if (dead()) await never
        return this.freeBytes
      },
    }
  }

  #file(inode: Inode, dead: () => boolean): File {
    return {
      write: async (buffers, position) => {
        if (dead()) await never
        const bytes = Buffer.concat(buffers)
        inode.changedAt = this.#clock++
        if (bytes.length > this.bytesUntilCrash) {
          inode.write(bytes.subarray(0, this.bytesUntilCrash), position)
          this.crashed = true
          await never
        }
        this.bytesUntilCrash -= bytes.length
        this.#bytesWritten += bytes.length
        this.writes.push({ end: this.#bytesWritten, zeros: bytes.every((byte) => byte === 0) })
        if (this.failWrites > 0) {
          this.failWrites--
          inode.write(bytes.subarray(0, Math.floor(bytes.length / 2)), position)
          throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
        }
        inode.write(bytes, position)
      },
      sync: async () => {
        if (dead() || this.#crashesAtSync()) await never
        for (let turn = 0; turn < this.syncTurns; turn++)
          await new Promise((resolve) => setImmediate(resolve))
        if (dead()) await never
        if (this.failSyncs > 0) {
          this.failSyncs--
          inode.suspect = true
          inode.dirty.clear() // as Linux does: the pages count as clean, and are not on disk
          throw Object.assign(new Error('input/output error'), { code: 'EIO' })
        }
        inode.sync()
      },
      read: async (buffer, position) => {
        if (dead()) await never
        return inode.current.copy(buffer, 0, position)
      },
      truncate: async (length) => {
        if (dead()) await never
        inode.resize(length)
      },
      size: async () => {
        if (dead()) await never
        return inode.current.length
      },
      close: async () => {},
    }
  }

  #crashesAtSync(): boolean {
    this.syncs++
    if (--this.syncsUntilCrash < 0) this.crashed = true
    return this.crashed
  }
}

/** Links between writers and readers of one process, by the writer's name. */
export class ModelLinks {
  readonly #servers = new Map<string, ModelServer>()

  serve(writer: string): ModelServer {
    const server = new ModelServer()
    this.#servers.set(writer, server)
    return server
  }

  connect = async (writer: string, heard: () => void): Promise<Link | undefined> => {
    const server = this.#servers.get(writer)
    return server?.listening ? server.connect(heard) : undefined
  }

  /** Writers die: their readers notice. */
  killAll(): void {
    for (const server of this.#servers.values()) void server.close()
  }
}

class ModelServer implements LinkServer {
  committedBytes = 0
  listening = false
  #durable = NOTHING
  #link: { durable: Durable; alive: boolean; heard: () => void } | undefined

  async listen(): Promise<void> {
    this.listening = true
  }

  publish(durable: Durable): void {
    this.#durable = durable
    if (this.#link === undefined) return
    this.#link.durable = durable
    this.#link.heard()
  }

  connect(heard: () => void): Link {
    const link = {
      durable: this.#durable,
      alive: true,
      heard,
      committed: (bytes: number) => {
        this.committedBytes = bytes
      },
      close: () => {
        if (this.#link === link) this.#link = undefined
      },
    }
    this.#link = link
    return link
  }

  async close(): Promise<void> {
    this.listening = false
    if (this.#link === undefined) return
    this.#link.alive = false
    this.#link.heard()
  }
}
