// Reading one lane: its chunks in order, record by record, up to what is durable.
//
// While the writer lives, only what it has said to be durable is read. When it is gone, the first record that does
// not check is the torn tail, and the lane ends there; unless a later record of the lane is whole, which proves that
// what lies between was damaged: it is set aside, counted by the difference of the running totals that every
// segment carries, and reading goes on behind it.

import { join } from 'node:path'
import { READ_BYTES_MAX } from '../../limits.ts'
import type { File, FileSystem } from '../filesystem.ts'
import type { Link } from '../link.ts'
import type { LogEntry } from '../log.ts'
import type { Segment } from '../segment.ts'
import { type ChunkName, isMissing, parseChunkName } from './files.ts'
import { RECORD_HEAD_BYTES, readRecord } from './record.ts'

const MAGIC = Buffer.from('MRS1')

/** What could not be read, and where a copy of it lies. */
export interface Damage {
  writer: string
  events: number
  bodies: number
  bytes: number
  file: string
}

export interface LaneParts {
  fs: FileSystem
  folder: string
  chunkBytes: number
  onDamage(damage: Damage): void
}

export class Lane {
  readonly writer: string
  /** The sequence to read next. */
  next: number
  /** Bytes of all records of the lane up to the last one read; undefined before the first. */
  bytes: number | undefined
  /** The writer is gone and everything is read. */
  ended = false
  link: Link | undefined
  readonly #parts: LaneParts
  /** Records below this were read by an earlier reader. */
  readonly #from: number
  #chunk: ChunkName | undefined
  #file: File | undefined
  #at = 0
  #buffer = Buffer.allocUnsafeSlow(0)
  /** Totals as they should be in the next segment; undefined while not known. */
  #events: number | undefined
  #bodies: number | undefined
  #setAside: { bytes: number; file: string } | undefined

  constructor(parts: LaneParts, writer: string, from: number, link: Link | undefined) {
    this.#parts = parts
    this.writer = writer
    this.next = from
    this.#from = from
    this.link = link
  }

  get alive(): boolean {
    return this.link?.alive === true
  }

  /** The next records, as many as one read brings. Empty when there is nothing to be read now. */
  async block(): Promise<LogEntry[]> {
    if (this.ended) return []
    const alive = this.alive // asked before reading: what a writer wrote before its end is there when it has ended
    const limit = alive ? this.link!.durable : Number.POSITIVE_INFINITY
    while (this.next < limit) {
      if (this.#file === undefined && !(await this.#openChunk())) break
      const entries = await this.#readSome(limit)
      if (entries !== undefined) {
        if (entries.length > 0) return entries
        continue
      }
      if (!(await this.#goOn())) break
    }
    if (!alive) this.ended = true
    return []
  }

  async close(): Promise<void> {
    this.link?.close()
    await this.#file?.close()
    this.#file = undefined
  }

  /** Entries from the open chunk; undefined where no record of this lane starts. */
  async #readSome(limit: number): Promise<LogEntry[] | undefined> {
    if (this.#buffer.length < READ_BYTES_MAX) this.#buffer = Buffer.allocUnsafeSlow(READ_BYTES_MAX)
    const wanted = Math.min(this.#buffer.length, this.#outstanding())
    const length = await this.#file!.read(this.#buffer.subarray(0, wanted), this.#at)
    const bytes = this.#buffer.subarray(0, length)
    const entries: LogEntry[] = []
    let at = 0
    let found = false
    while (this.next < limit) {
      const read = readRecord(bytes, at, this.writer, this.next, this.#parts.chunkBytes)
      if (read.kind === 'record') {
        found = true
        this.#account(read.segment)
        this.next = read.segment.sequence + 1
        this.bytes = read.priorBytes + read.end - at
        at = read.end
        if (this.next > this.#from)
          entries.push({ segment: read.segment, lane: this.writer, next: this.next })
        continue
      }
      if (read.kind === 'more' && length === this.#buffer.length && !found) {
        this.#buffer = Buffer.allocUnsafeSlow(read.bytes)
        return [] // a record larger than the buffer: again, with a larger one
      }
      break
    }
    this.#at += at
    return found || this.next >= limit ? entries : undefined
  }

  /** Bytes that are there to be read, as far as the writer has told: a lone record needs no large read. */
  #outstanding(): number {
    if (!this.alive || this.bytes === undefined) return Number.POSITIVE_INFINITY
    return Math.max(RECORD_HEAD_BYTES, this.link!.durableBytes - this.bytes)
  }

  #account(segment: Segment): void {
    const events = segment.priorEvents - (this.#events ?? segment.priorEvents)
    const bodies = segment.priorBodies - (this.#bodies ?? segment.priorBodies)
    if (events > 0 || bodies > 0 || this.#setAside !== undefined) {
      const { bytes, file } = this.#setAside ?? { bytes: 0, file: '' }
      this.#parts.onDamage({ writer: this.writer, events, bodies, bytes, file })
      this.#setAside = undefined
    }
    this.#events = segment.priorEvents + segment.events
    this.#bodies = segment.priorBodies + segment.bodies
  }

  /** Behind the last record that could be read: a damaged stretch, the next chunk, or the end. */
  async #goOn(): Promise<boolean> {
    const rest = Buffer.allocUnsafeSlow(Math.max(0, (await this.#file!.size()) - this.#at))
    const bytes = rest.subarray(0, await this.#file!.read(rest, this.#at))
    const later = this.#laterRecord(bytes)
    if (later !== undefined) {
      await this.#keep(bytes.subarray(0, later.start))
      this.#at += later.start
      this.next = later.sequence
      return true
    }
    const chunk = this.#chunk!
    const next = (await this.#chunks()).find(({ first }) => first > chunk.first)
    if (next === undefined) return false
    if (next.first > this.next) await this.#keep(withoutZeros(bytes))
    await this.#file!.close()
    this.#file = undefined
    return this.#openNamed(next)
  }

  /**
   * A record of this lane further on that was written after what is missing had been synced. Records of one write
   * prove nothing about each other: when power fails during a write, any part of it may be on disk.
   */
  #laterRecord(bytes: Buffer): { start: number; sequence: number } | undefined {
    for (let magic = bytes.indexOf(MAGIC, 1); magic >= 0; magic = bytes.indexOf(MAGIC, magic + 1)) {
      const start = magic - RECORD_HEAD_BYTES
      if (start <= 0) continue
      const read = readRecord(bytes, start, this.writer, this.next + 1, this.#parts.chunkBytes)
      if (read.kind !== 'record') continue
      const { sequence } = read.segment
      if (sequence - read.inWrite > this.next) return { start, sequence }
    }
    return undefined
  }

  /** Copies what cannot be read to a file of its own. */
  async #keep(bytes: Buffer): Promise<void> {
    const { fs, folder } = this.#parts
    const damaged = join(folder, 'damaged')
    await fs.makeFolder(damaged)
    const name = join(damaged, `${this.writer}-${this.next.toString(16).padStart(16, '0')}.bin`)
    this.#setAside = { bytes: bytes.length, file: name }
    try {
      const file = await fs.open(name, 'create')
      await file.write([bytes], 0)
      await file.sync()
      await file.close()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // kept by an earlier reader
    }
  }

  /** The chunk that has the sequence to read next, or the first behind it. */
  async #openChunk(): Promise<boolean> {
    const chunks = await this.#chunks()
    const last = chunks.findLast(({ first }) => first <= this.next)
    const chunk = last ?? chunks[0]
    if (chunk === undefined) return false
    if (chunk.first < this.next) this.next = chunk.first // its earlier records are passed over
    return this.#openNamed(chunk)
  }

  async #openNamed(chunk: ChunkName): Promise<boolean> {
    try {
      this.#file = await this.#parts.fs.open(join(this.#parts.folder, chunk.name), 'read')
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
    this.#chunk = chunk
    this.#at = 0
    if (chunk.first === 0) {
      this.#events = 0
      this.#bodies = 0
    }
    return true
  }

  async #chunks(): Promise<ChunkName[]> {
    const names = await this.#parts.fs.list(this.#parts.folder)
    const chunks = names.map(parseChunkName).filter((chunk) => chunk?.writer === this.writer) as ChunkName[]
    return chunks.sort((a, b) => a.first - b.first)
  }
}

function withoutZeros(bytes: Buffer): Buffer {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return bytes.subarray(0, end)
}
