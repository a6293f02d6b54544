// Reading one lane: its chunks in order, record by record, up to what is durable.
//
// While the writer lives, only what it has said to be durable is read. When it is gone, its files are synced before
// they are read, and the first record that does not check is the torn tail, where the lane ends. It is no torn tail but
// damage where it is proven to have been durable: the writer said so, or a later write or a later chunk followed it.
// What is damaged is set aside, counted by the difference of the running totals that every segment carries, and
// reading goes on behind it.

import { join } from 'node:path'
import { READ_BYTES_MAX } from '../../limits.ts'
import type { File, FileSystem } from '../filesystem.ts'
import { type Durable, type Link, NOTHING } from '../link.ts'
import type { LogEntry } from '../log.ts'
import type { Segment } from '../segment.ts'
import { type ChunkName, isMissing, parseChunkName } from './files.ts'
import { RECORD_HEAD_BYTES, readRecord } from './record.ts'

/** Of a segment (segment.ts), and where in it the writer stands. */
const MAGIC = Buffer.from('MRS1')
const WRITER_AT = 24

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
  onDamage(damage: Damage): void
}

export class Lane {
  readonly writer: string
  /** The sequence to read next. */
  next: number
  /** The number after the last segment that was handed out: when this is committed, all is. */
  handedOut: number
  /** Bytes of all records of the lane up to the last one read; undefined before the first. */
  bytes: number | undefined
  /** What the writer was told. */
  committedBytes = 0
  /** The writer is gone and everything is read. */
  ended = false
  readonly link: Link | undefined
  readonly #parts: LaneParts
  /** Records below this were read by an earlier reader. */
  readonly #from: number
  #chunk: ChunkName | undefined
  #file: File | undefined
  #fileBytes = 0
  /** The file was synced by this reader, because its writer is gone. */
  #synced = false
  #at = 0
  #buffer = Buffer.allocUnsafeSlow(0)
  /** Bytes that the next read takes at least: a record larger than the buffer was begun. */
  #needed = 0
  /** Totals as they should be in the next segment; undefined while not known. */
  #events: number | undefined
  #bodies: number | undefined
  #setAside: { bytes: number; file: string } | undefined

  constructor(parts: LaneParts, writer: string, from: number, link: Link | undefined) {
    this.#parts = parts
    this.writer = writer
    this.next = from
    this.handedOut = from
    this.#from = from
    this.link = link
  }

  /** The first sequence of the chunk that is open here: from it on, nothing may be used again yet. */
  get openFrom(): number {
    return this.#file === undefined ? Number.POSITIVE_INFINITY : this.#chunk!.first
  }

  get alive(): boolean {
    return this.link?.alive === true
  }

  /** The next records, as many as one read brings. Empty when there is nothing to be read now. */
  async block(): Promise<LogEntry[]> {
    if (this.ended) return []
    const alive = this.alive // asked before reading: what a writer wrote before its end is there when it has ended
    const durable = this.link?.durable ?? NOTHING
    const limit = alive ? durable.sequence : Number.POSITIVE_INFINITY
    while (this.next < limit) {
      if (this.#file === undefined && !(await this.#openChunk())) break
      if (!alive) await this.#settle()
      const entries = await this.#readSome(limit)
      if (entries !== undefined) {
        if (entries.length > 0) return entries
        continue
      }
      if (!(await this.#goOn(alive, durable.sequence))) break
    }
    if (this.next < durable.sequence) await this.#missing(durable)
    if (!alive) await this.#end()
    return []
  }

  async close(): Promise<void> {
    this.link?.close()
    await this.#file?.close()
    this.#file = undefined
  }

  /** A writer that was killed may leave records that are in the page cache only; none is handed out before it is on disk. */
  async #settle(): Promise<void> {
    if (this.#synced) return
    await this.#file!.sync()
    this.#fileBytes = await this.#file!.size()
    this.#synced = true
  }

  async #end(): Promise<void> {
    this.ended = true
    await this.close()
    this.#buffer = Buffer.allocUnsafeSlow(0)
  }

  /** Entries from the open chunk; undefined where no record of this lane starts. */
  async #readSome(limit: number): Promise<LogEntry[] | undefined> {
    const room = Math.max(READ_BYTES_MAX, this.#needed)
    if (this.#buffer.length < room) this.#buffer = Buffer.allocUnsafeSlow(room)
    const wanted = Math.max(Math.min(this.#buffer.length, this.#outstanding()), this.#needed)
    const length = await this.#file!.read(this.#buffer.subarray(0, wanted), this.#at)
    const bytes = this.#buffer.subarray(0, length)
    const recordBytesMax = this.#fileBytes - this.#at
    const entries: LogEntry[] = []
    let at = 0
    let found = false
    while (this.next < limit) {
      const read = readRecord(bytes, at, this.writer, this.next, recordBytesMax)
      if (read.kind === 'record') {
        if (read.segment.sequence !== this.next) break // writers leave no gaps: something is missing before it
        found = true
        this.#account(read.segment)
        this.next = read.segment.sequence + 1
        this.bytes = read.priorBytes + read.end - at
        at = read.end
        if (this.next > this.#from) {
          this.handedOut = this.next
          entries.push({ segment: read.segment, lane: this.writer, next: this.next })
        }
        continue
      }
      if (read.kind === 'more' && !found && length === wanted && read.bytes > wanted) {
        this.#needed = read.bytes
        return []
      }
      break
    }
    this.#needed = 0
    this.#at += at
    return found || this.next >= limit ? entries : undefined
  }

  /** Bytes that are there to be read, as far as the writer has told: a lone record needs no large read. */
  #outstanding(): number {
    if (!this.alive || this.bytes === undefined) return Number.POSITIVE_INFINITY
    return Math.max(RECORD_HEAD_BYTES, this.link!.durable.bytes - this.bytes)
  }

  #account(segment: Segment): void {
    // What was missing before the position of an earlier reader was told by that one.
    if (segment.sequence < this.#from) this.#setAside = undefined
    else this.#report(segment.priorEvents, segment.priorBodies)
    this.#events = segment.priorEvents + segment.events
    this.#bodies = segment.priorBodies + segment.bodies
  }

  /** Tells what is missing between the totals so far and these. */
  #report(priorEvents: number, priorBodies: number): void {
    const events = priorEvents - (this.#events ?? priorEvents)
    const bodies = priorBodies - (this.#bodies ?? priorBodies)
    if (events > 0 || bodies > 0 || this.#setAside !== undefined) {
      const { bytes, file } = this.#setAside ?? { bytes: 0, file: '' }
      this.#parts.onDamage({ writer: this.writer, events, bodies, bytes, file })
      this.#setAside = undefined
    }
  }

  /** Behind the last record that could be read: a damaged stretch, the next chunk, or the end. */
  async #goOn(alive: boolean, durable: number): Promise<boolean> {
    const chunk = this.#chunk!
    const following = (await this.#chunks()).find(({ first }) => first > chunk.first)
    const bytes = await this.#rest()
    const proven = Math.max(durable, following?.first ?? 0)
    const later = this.#laterRecord(bytes, proven, alive ? durable : Number.POSITIVE_INFINITY)
    if (later !== undefined) {
      if (later.sequence > this.next) await this.#keep(bytes.subarray(0, later.start))
      this.#at += later.start
      this.next = later.sequence
      return true
    }
    if (following === undefined) return false
    if (following.first > this.next) {
      await this.#keep(withoutZeros(bytes))
      this.next = following.first
    }
    await this.#file!.close()
    this.#file = undefined
    return this.#openNamed(following)
  }

  /** What is left of the open chunk. */
  async #rest(): Promise<Buffer> {
    const rest = Buffer.allocUnsafeSlow(Math.max(0, this.#fileBytes - this.#at))
    return rest.subarray(0, await this.#file!.read(rest, this.#at))
  }

  /**
   * The first record further on, below `limit`, if what is missing before it had been synced: because everything
   * below `proven` was, or because some record was written after it. Records of one write prove nothing about each
   * other: when power fails during a write, any part of it may be on disk.
   */
  #laterRecord(
    bytes: Buffer,
    proven: number,
    limit: number,
  ): { start: number; sequence: number } | undefined {
    let first: { start: number; sequence: number } | undefined
    let from = RECORD_HEAD_BYTES + 1
    for (;;) {
      const magic = bytes.indexOf(MAGIC, from)
      if (magic < 0) return undefined
      from = magic + 1
      if (bytes.toString('hex', magic + WRITER_AT, magic + WRITER_AT + 8) !== this.writer) continue
      const start = magic - RECORD_HEAD_BYTES
      const read = readRecord(bytes, start, this.writer, this.next, bytes.length)
      if (read.kind !== 'record' || read.segment.sequence >= limit) continue
      const { sequence } = read.segment
      first ??= { start, sequence }
      const nothingMissing = first.sequence === this.next
      if (nothingMissing || proven > this.next || sequence - read.inWrite > this.next) return first
      from = read.end
    }
  }

  /**
   * The writer has said that more was durable than its files have. Where the next record will start is not known: the
   * place stays, and the next one is searched for from there.
   */
  async #missing({ sequence, events, bodies }: Durable): Promise<void> {
    await this.#keep(this.#file === undefined ? Buffer.alloc(0) : withoutZeros(await this.#rest()))
    this.#report(events, bodies)
    this.#events = events
    this.#bodies = bodies
    this.next = sequence
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
    this.next = chunk.first // earlier records of it are passed over
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
    this.#fileBytes = await this.#file.size()
    this.#synced = false
    this.#needed = 0
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
