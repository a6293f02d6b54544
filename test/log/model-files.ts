// A file system in memory that knows what is on disk and what is only in the cache, and can fail in every way that
// the log has to survive.

import type { File, FileSystem } from '../../src/log/filesystem.ts'
import type { Link, LinkServer } from '../../src/log/link.ts'
import type { Random } from '../e2e/random.ts'

const BLOCK = 512

class Inode {
  /** What programs see, and what is on disk. */
  current = Buffer.alloc(0)
  durable = Buffer.alloc(0)
  readonly dirty = new Set<number>()
  changedAt = 0

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
  }

  sync(): void {
    this.durable = Buffer.from(this.current)
    this.dirty.clear()
  }

  /** Of what was not synced, `survives` says block by block what has come to the disk all the same. */
  cut(survives: () => boolean): void {
    const left = Buffer.from(this.durable)
    for (const block of this.dirty) {
      if (survives())
        this.current.copy(left, block * BLOCK, block * BLOCK, Math.min((block + 1) * BLOCK, left.length))
    }
    this.current = left
    this.sync()
  }
}

export class ModelDisk {
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  #clock = 1
  freeBytes = Number.POSITIVE_INFINITY
  /** Bytes of writes until everything stops, in the middle of one: the crash that is being tested. */
  bytesUntilCrash = Number.POSITIVE_INFINITY
  /** Syncs until everything stops, just before one. */
  syncsUntilCrash = Number.POSITIVE_INFINITY
  bytesWritten = 0
  syncs = 0
  failWrites = 0
  failSyncs = 0
  crashed = false

  /** The disk as one process sees it. After `kill` nothing that process still does has an effect. */
  mount(): { fs: FileSystem; kill(): void } {
    let dead = false
    const check = () => {
      if (dead || this.crashed) throw new Error('this process is dead')
    }
    const fs = this.#fileSystem(check)
    return {
      fs,
      kill: () => {
        dead = true
      },
    }
  }

  /** Power fails: names fall back to what was synced, contents to that and a random part of the rest. */
  powerCut(random: Omit<Random, 'seed'>): void {
    this.#names = new Map(this.#durableNames)
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

  names(): string[] {
    return [...this.#names.keys()].map((path) => path.slice(path.lastIndexOf('/') + 1))
  }

  /** Spoils bytes on the disk itself. */
  damage(name: string, change: (content: Buffer) => void): void {
    for (const [path, inode] of this.#names) {
      if (!path.endsWith(name)) continue
      change(inode.current)
      inode.sync()
    }
  }

  #fileSystem(check: () => void): FileSystem {
    const find = (path: string): Inode => {
      const inode = this.#names.get(path)
      if (inode === undefined) throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })
      return inode
    }
    return {
      open: async (path, how) => {
        check()
        if (how !== 'create') return this.#file(find(path), check)
        if (this.#names.has(path)) throw Object.assign(new Error('exists'), { code: 'EEXIST' })
        const inode = new Inode()
        this.#names.set(path, inode)
        return this.#file(inode, check)
      },
      rename: async (from, to) => {
        check()
        const inode = find(from)
        this.#names.delete(from)
        this.#names.set(to, inode)
      },
      remove: async (path) => {
        check()
        find(path)
        this.#names.delete(path)
      },
      list: async (folder) => {
        check()
        const inside = [...this.#names.keys()].filter((path) => path.startsWith(`${folder}/`))
        return inside.map((path) => path.slice(folder.length + 1)).filter((name) => !name.includes('/'))
      },
      makeFolder: async () => check(),
      syncFolder: async () => {
        check()
        this.#sync()
        this.#durableNames = new Map(this.#names)
      },
      changedAt: async (path) => {
        check()
        return find(path).changedAt
      },
      freeBytes: async () => {
        check()
        return this.freeBytes
      },
    }
  }

  #file(inode: Inode, check: () => void): File {
    return {
      write: async (buffers, position) => {
        check()
        const bytes = Buffer.concat(buffers)
        inode.changedAt = this.#clock++
        if (bytes.length > this.bytesUntilCrash) {
          inode.write(bytes.subarray(0, this.bytesUntilCrash), position)
          this.crashed = true
          check()
        }
        this.bytesUntilCrash -= bytes.length
        this.bytesWritten += bytes.length
        if (this.failWrites > 0) {
          this.failWrites--
          inode.write(bytes.subarray(0, Math.floor(bytes.length / 2)), position)
          throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
        }
        inode.write(bytes, position)
      },
      sync: async () => {
        check()
        this.#sync()
        if (this.failSyncs > 0) {
          this.failSyncs--
          inode.dirty.clear() // as Linux does: the pages count as clean, and are not on disk
          throw Object.assign(new Error('input/output error'), { code: 'EIO' })
        }
        inode.sync()
      },
      read: async (buffer, position) => {
        check()
        return inode.current.copy(buffer, 0, position)
      },
      truncate: async (length) => {
        check()
        inode.resize(length)
      },
      size: async () => {
        check()
        return inode.current.length
      },
      close: async () => {},
    }
  }

  #sync(): void {
    this.syncs++
    if (--this.syncsUntilCrash >= 0) return
    this.crashed = true
    throw new Error('this process is dead')
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
  #durable = 0
  #durableBytes = 0
  #link: (Link & { durable: number; durableBytes: number; alive: boolean }) | undefined
  #heard: () => void = () => {}

  async listen(): Promise<void> {
    this.listening = true
  }

  publish(sequence: number, bytes: number): void {
    this.#durable = sequence
    this.#durableBytes = bytes
    if (this.#link === undefined) return
    this.#link.durable = sequence
    this.#link.durableBytes = bytes
    this.#heard()
  }

  connect(heard: () => void): Link {
    this.#heard = heard
    this.#link = {
      durable: this.#durable,
      durableBytes: this.#durableBytes,
      alive: true,
      committed: (bytes) => {
        this.committedBytes = bytes
      },
      close: () => {
        this.#link = undefined
      },
    }
    return this.#link
  }

  async close(): Promise<void> {
    this.listening = false
    if (this.#link !== undefined) this.#link.alive = false
    this.#heard()
  }
}
