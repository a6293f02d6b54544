// The reading end of the log: all lanes, fairly, for ever; and what becomes of chunks once they are committed.

import { join } from 'node:path'
import { FREE_SPACE_BYTES_MIN } from '../../limits.ts'
import type { FileSystem } from '../filesystem.ts'
import type { Link } from '../link.ts'
import type { LogEntry, LogReader, Position } from '../log.ts'
import { type LogSize, parseChunkName } from './files.ts'
import { type Damage, Lane } from './lane.ts'
import { Retention } from './retention.ts'

const RETENTION_INTERVAL_MS = 100
const RESCAN_INTERVAL_MS = 1000

export interface ReaderParts {
  fs: FileSystem
  folder: string
  size: LogSize
  /** Milliseconds for which committed chunks are kept while there is room. */
  maxAge: number
  freeSpaceMin?: number
  /** Resolves with undefined where the lane's writer is gone. */
  connect(writer: string, heard: () => void): Promise<Link | undefined>
  /** Calls back when a file of the folder was made, renamed or removed. Returns how to end that. */
  watch(folder: string, changed: () => void): () => void
  onDamage(damage: Damage): void
  onError?(error: Error): void
}

export class EmbeddedReader implements LogReader {
  readonly kind = 'embedded'
  readonly #parts: ReaderParts
  readonly #retention: Retention
  readonly #lanes = new Map<string, Lane>()
  /** For each lane, what was read up to which sequence: to tell its writer how much is committed. */
  readonly #marks = new Map<string, { next: number; bytes: number }[]>()
  readonly #committed = new Map<string, number>()
  #from: Position = new Map()
  #finished: string[] = []
  #stopWatching: () => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #rescan = true
  #news = true
  #wake: () => void = () => {}
  #retainedAt = 0
  #retaining: Promise<void> | undefined
  #closed = false

  constructor(parts: ReaderParts) {
    this.#parts = parts
    const { fs, folder, size, maxAge, freeSpaceMin = FREE_SPACE_BYTES_MIN } = parts
    this.#retention = new Retention({ fs, folder, size, maxAge, freeSpaceMin })
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    this.#from = from
    for (const [lane, next] of from) this.#committed.set(lane, next)
    this.#stopWatching = this.#parts.watch(this.#parts.folder, () => this.#changed())
    this.#timer = setInterval(() => this.#changed(), RESCAN_INTERVAL_MS).unref()
    const wake = () => this.#tell()
    signal.addEventListener('abort', wake)
    try {
      while (!signal.aborted) {
        this.#news = false
        if (this.#rescan) await this.#discover()
        let read = false
        for (const lane of this.#lanes.values()) {
          const entries = await lane.block()
          for (const entry of entries) {
            if (signal.aborted) return
            yield entry
            read = true
          }
          if (entries.length > 0) this.#mark(lane)
        }
        if (!read && !this.#news && !signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  committed(position: Position): void {
    for (const [writer, next] of position) {
      if (next <= (this.#committed.get(writer) ?? 0)) continue
      this.#committed.set(writer, next)
      const marks = this.#marks.get(writer)
      let bytes: number | undefined
      while (marks !== undefined && marks.length > 0 && marks[0].next <= next) bytes = marks.shift()!.bytes
      if (bytes !== undefined) this.#lanes.get(writer)?.link?.committed(bytes)
    }
    this.#retainSoon()
  }

  finished(): string[] {
    return this.#finished.splice(0)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopWatching()
    clearInterval(this.#timer)
    await this.#retaining
    for (const lane of this.#lanes.values()) await lane.close()
  }

  #mark(lane: Lane): void {
    const mark = { next: lane.next, bytes: lane.bytes ?? 0 }
    const marks = this.#marks.get(lane.writer)
    if (marks === undefined) this.#marks.set(lane.writer, [mark])
    else marks.push(mark)
  }

  #changed(): void {
    this.#rescan = true
    this.#retainSoon()
    this.#tell()
  }

  #tell(): void {
    this.#news = true
    this.#wake()
  }

  /** Lanes that are new in the folder: those of a writer that lives, and those that one has left behind. */
  async #discover(): Promise<void> {
    this.#rescan = false
    const { fs, folder, size, connect, onDamage } = this.#parts
    const names = await fs.list(folder)
    const writers = new Set<string>()
    for (const name of names) {
      const writer = parseChunkName(name)?.writer ?? /^([0-9a-f]{16})\.sock$/.exec(name)?.[1]
      if (writer !== undefined && !this.#lanes.has(writer)) writers.add(writer)
    }
    for (const writer of writers) {
      const link = await connect(writer, () => this.#tell())
      const parts = { fs, folder, chunkBytes: size.chunkBytes, onDamage }
      this.#lanes.set(writer, new Lane(parts, writer, this.#from.get(writer) ?? 0, link))
    }
    // Positions of lanes of which nothing is left were finished by an earlier reader that could not say so.
    for (const writer of this.#from.keys()) {
      if (!this.#lanes.has(writer)) this.#finish(writer)
    }
  }

  #finish(writer: string): void {
    if (!this.#committed.delete(writer)) return
    this.#lanes.delete(writer)
    this.#marks.delete(writer)
    this.#finished.push(writer)
  }

  #retainSoon(): void {
    const now = Date.now()
    if (this.#closed || this.#retaining !== undefined || now - this.#retainedAt < RETENTION_INTERVAL_MS)
      return
    this.#retainedAt = now
    this.#retaining = this.#retain(now)
      .catch((error: Error) => this.#parts.onError?.(error))
      .finally(() => {
        this.#retaining = undefined
      })
  }

  async #retain(now: number): Promise<void> {
    const left = await this.#retention.run(now, (writer) => {
      const lane = this.#lanes.get(writer)
      if (lane === undefined) return { committed: 0, over: false }
      const committed = this.#committed.get(writer) ?? 0
      return { committed, over: lane.ended && committed >= lane.next }
    })
    for (const lane of [...this.#lanes.values()]) {
      const committed = this.#committed.get(lane.writer) ?? 0
      if (!lane.ended || committed < lane.next || left.has(lane.writer)) continue
      await this.#parts.fs.remove(join(this.#parts.folder, `${lane.writer}.sock`)).catch(() => {})
      await lane.close()
      this.#committed.set(lane.writer, committed)
      this.#finish(lane.writer)
    }
  }
}
