// The reading end of the log: all lanes, fairly, for ever; and what becomes of chunks once they are committed.

import { join } from 'node:path'
import { FREE_SPACE_BYTES_MIN } from '../../limits.ts'
import type { FileSystem } from '../filesystem.ts'
import type { Link } from '../link.ts'
import type { LogEntry, LogReader, Position } from '../log.ts'
import { type LogSize, parseChunkName } from './files.ts'
import { type Damage, Lane } from './lane.ts'
import { Retention } from './retention.ts'

/** Writers that are quick must not find the log full of what is committed. */
const RETENTION_INTERVAL_MS = 25
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
  #retainedAt = Number.NEGATIVE_INFINITY
  #retaining: Promise<void> | undefined
  #retentionTimer: NodeJS.Timeout | undefined
  /** Something has changed since the last round began. */
  #retentionDue = false
  #closed = false

  constructor(parts: ReaderParts) {
    this.#parts = parts
    const { fs, folder, size, maxAge, freeSpaceMin = FREE_SPACE_BYTES_MIN } = parts
    this.#retention = new Retention({ fs, folder, size, maxAge, freeSpaceMin })
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    await this.#forget()
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
          if (entries.length > 0) this.#mark(lane)
          else this.#tellCommitted(lane)
          for (const entry of entries) {
            if (signal.aborted) return
            yield entry
            read = true
          }
        }
        if (!read && !this.#news && !signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
      }
    } finally {
      signal.removeEventListener('abort', wake)
      this.#stopWatching()
      clearInterval(this.#timer)
    }
  }

  committed(position: Position): void {
    for (const [writer, next] of position) {
      if (next <= (this.#committed.get(writer) ?? 0)) continue
      this.#committed.set(writer, next)
      const lane = this.#lanes.get(writer)
      if (lane !== undefined) this.#tellCommitted(lane)
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
    clearTimeout(this.#retentionTimer)
    await this.#retaining
    await this.#forget()
  }

  /** Reading begins anew, from wherever it is told. */
  async #forget(): Promise<void> {
    for (const lane of this.#lanes.values()) await lane.close()
    this.#lanes.clear()
    this.#marks.clear()
    this.#committed.clear()
    this.#rescan = true
  }

  /** Tells a lane's writer how many bytes of its records are committed. */
  #tellCommitted(lane: Lane): void {
    const { writer, link } = lane
    if (link === undefined) return
    const committed = this.#committed.get(writer) ?? 0
    const marks = this.#marks.get(writer) ?? []
    let past = 0
    while (past < marks.length && marks[past].next <= committed) past++
    let bytes = past > 0 ? marks[past - 1].bytes : 0
    marks.splice(0, past)
    // Where an earlier reader committed all there is, nothing is read, and its bytes are known only by the writer.
    if (committed >= link.durable.sequence) bytes = link.durable.bytes
    if (bytes > lane.committedBytes) {
      lane.committedBytes = bytes
      link.committed(bytes)
    }
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
    const { fs, folder, connect, onDamage, onError } = this.#parts
    const names = await fs.list(folder)
    const writers = new Set<string>()
    for (const name of names) {
      const writer = parseChunkName(name)?.writer ?? /^([0-9a-f]{16})\.sock$/.exec(name)?.[1]
      if (writer !== undefined) writers.add(writer)
    }
    for (const writer of writers) {
      if (this.#lanes.has(writer)) continue
      try {
        const link = await connect(writer, () => this.#tell())
        const from = this.#from.get(writer) ?? 0
        this.#lanes.set(writer, new Lane({ fs, folder, onDamage }, writer, from, link))
      } catch (error) {
        onError?.(error as Error) // whether its writer lives cannot be told now: tried again at the next scan
      }
    }
    // Positions of lanes of which nothing is left were finished by an earlier reader that could not say so.
    const gone = [...this.#from.keys()].filter(
      (writer) => !writers.has(writer) && !this.#lanes.has(writer) && this.#committed.has(writer),
    )
    await this.#finish(gone)
  }

  /** Before anyone is told, the folder is synced: a power cut must not bring back a lane that was forgotten since. */
  async #finish(writers: string[]): Promise<void> {
    if (writers.length === 0) return
    await this.#parts.fs.syncFolder(this.#parts.folder)
    for (const writer of writers) {
      this.#committed.delete(writer)
      this.#lanes.delete(writer)
      this.#marks.delete(writer)
      this.#finished.push(writer)
    }
  }

  /** At once, or when the last round is long enough ago. */
  #retainSoon(): void {
    this.#retentionDue = true
    if (this.#closed || this.#retaining !== undefined || this.#retentionTimer !== undefined) return
    const wait = this.#retainedAt + RETENTION_INTERVAL_MS - performance.now()
    if (wait > 0) {
      this.#retentionTimer = setTimeout(() => {
        this.#retentionTimer = undefined
        this.#retainSoon()
      }, wait).unref()
      return
    }
    this.#retentionDue = false
    this.#retainedAt = performance.now()
    this.#retaining = this.#retain()
      .catch((error: Error) => this.#parts.onError?.(error))
      .finally(() => {
        this.#retaining = undefined
        if (this.#retentionDue) this.#retainSoon()
      })
  }

  async #retain(): Promise<void> {
    const lanes = [...this.#lanes.values()]
    const wereOver = lanes.filter((lane) => this.#isOver(lane))
    const live = lanes.filter((lane) => lane.alive).length
    const left = await this.#retention.run(Date.now(), live, (writer) => {
      const lane = this.#lanes.get(writer)
      if (lane === undefined) return { committed: 0, over: false, empty: false }
      return {
        committed: Math.min(this.#committed.get(writer) ?? 0, lane.openFrom),
        over: wereOver.includes(lane),
        empty: lane.handedOut === 0,
      }
    })
    const over = wereOver.filter((lane) => !left.has(lane.writer))
    for (const { writer } of over) {
      await this.#parts.fs.remove(join(this.#parts.folder, `${writer}.sock`)).catch(() => {})
    }
    await this.#finish(over.map(({ writer }) => writer))
  }

  #isOver(lane: Lane): boolean {
    return lane.ended && (this.#committed.get(lane.writer) ?? 0) >= lane.handedOut
  }
}
