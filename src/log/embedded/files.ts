// The files of the log's folder, and how many there may be.
//
//   <writer>-<first sequence>.chunk   16 hex digits each: one lane's records from that sequence on
//   free-<random>.chunk               zeros, or old records: the next chunk of whoever renames it first
//   <writer>.sock                     the lane's link (link.ts)
//   damaged/                          what could not be read

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { chunkBytesMin, chunksMin } from '../../config/log-size.ts'
import { CHUNK_BYTES_MAX } from '../../limits.ts'
import type { File, FileSystem } from '../filesystem.ts'
import { LogFull, LogUnavailable } from '../log.ts'

/** A chunk that is made is flushed each time so much is written: acks wait behind that for their own flush. */
const MADE_BYTES = 4 * 1024 * 1024
const ZEROS = Buffer.alloc(MADE_BYTES)

export interface LogSize {
  chunkBytes: number
  chunksMax: number
}

/** How a budget is divided into chunks, for so many writers at once. */
export function sizeOf(maxBytes: number, segmentBytes: number, writers: number): LogSize {
  const fewest = chunksMin(writers)
  const wanted = Math.floor(maxBytes / Math.max(32, fewest))
  const chunkBytes = Math.max(Math.min(wanted, CHUNK_BYTES_MAX), chunkBytesMin(segmentBytes))
  return { chunkBytes, chunksMax: Math.max(fewest, Math.floor(maxBytes / chunkBytes)) }
}

export interface ChunkName {
  name: string
  writer: string
  first: number
}

export function chunkName(writer: string, first: number): string {
  return `${writer}-${first.toString(16).padStart(16, '0')}.chunk`
}

export function parseChunkName(name: string): ChunkName | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-f]{16})\.chunk$/.exec(name)
  return match === null ? undefined : { name, writer: match[1], first: Number.parseInt(match[2], 16) }
}

export function isFree(name: string): boolean {
  return /^free-[0-9a-f]{16}\.chunk$/.test(name)
}

export function freeName(): string {
  return `free-${randomBytes(8).toString('hex')}.chunk`
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

/** What a writer takes its chunks from: the free ones in the folder, or new ones while the budget allows. */
export class ChunkSupply {
  readonly #fs: FileSystem
  readonly #folder: string
  readonly #size: LogSize
  readonly #freeSpaceMin: number
  #preparing: Promise<void> | undefined
  #closed = false

  constructor(fs: FileSystem, folder: string, size: LogSize, freeSpaceMin: number) {
    this.#fs = fs
    this.#folder = folder
    this.#size = size
    this.#freeSpaceMin = freeSpaceMin
  }

  /** A chunk under its new name, all of its bytes allocated on disk. Throws LogFull or LogUnavailable. */
  async take(name: string): Promise<File> {
    const path = join(this.#folder, name)
    for (;;) {
      const free = (await this.#fs.list(this.#folder)).filter(isFree)
      for (const candidate of free) {
        if (!(await this.#rename(candidate, name))) continue
        await this.#fs.syncFolder(this.#folder)
        const file = await this.#fs.open(path, 'write')
        if ((await file.size()) === this.#size.chunkBytes) return file
        await file.close()
        await this.#fs.remove(path) // made under another configuration
      }
      await this.#prepareOne()
    }
  }

  /**
   * Has a free chunk ready for each writer that lives before it is needed. Failing is no matter: `take` will tell.
   */
  async ahead(): Promise<void> {
    const names = await this.#fs.list(this.#folder)
    const writers = names.filter((name) => name.endsWith('.sock')).length
    if (names.filter(isFree).length < Math.max(1, writers)) await this.#prepareOne().catch(() => {})
  }

  /** Stops making a chunk, and leaves nothing half made. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#preparing?.catch(() => {})
  }

  /** False when another writer was quicker. */
  async #rename(candidate: string, name: string): Promise<boolean> {
    try {
      await this.#fs.rename(join(this.#folder, candidate), join(this.#folder, name))
      return true
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  #prepareOne(): Promise<void> {
    this.#preparing ??= this.#prepare().finally(() => {
      this.#preparing = undefined
    })
    return this.#preparing
  }

  async #prepare(): Promise<void> {
    const { chunkBytes, chunksMax } = this.#size
    const free = await this.#fs.freeBytes(this.#folder)
    if (free < this.#freeSpaceMin + chunkBytes) {
      throw new LogUnavailable(
        `the disk is full: ${free} bytes are free, ${this.#freeSpaceMin + chunkBytes} are needed for another chunk`,
      )
    }
    const path = join(this.#folder, freeName())
    const temporary = `${path}.new`
    const file = await this.#fs.open(temporary, 'create')
    try {
      // Counted with this one in place, so that two writers at once do not both take the last room.
      const chunks = (await this.#fs.list(this.#folder)).filter((name) =>
        /\.chunk(\.new)?$/.test(name),
      ).length
      if (chunks > chunksMax) {
        throw new LogFull(
          `${chunks - 1} chunks of ${chunkBytes} bytes wait to be processed (log.retention.maxBytes)`,
        )
      }
      for (let at = 0; at < chunkBytes; at += ZEROS.length) {
        if (this.#closed) throw new LogUnavailable('the log is closed')
        await file.write([ZEROS.subarray(0, Math.min(ZEROS.length, chunkBytes - at))], at)
        await file.sync()
      }
    } catch (error) {
      await file.close()
      await this.#fs.remove(temporary).catch(() => {})
      throw error
    }
    await file.close()
    await this.#fs.rename(temporary, path)
    await this.#fs.syncFolder(this.#folder)
  }
}
