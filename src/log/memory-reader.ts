// The reading end of the memory log (memory.ts): all lanes, fairly, for ever.

import { unlink } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { READ_BYTES_MAX } from '../limits.ts'
import { isGone, Newest } from './link.ts'
import type { LogEntry, LogReader, Position } from './log.ts'
import { Segment } from './segment.ts'

const RESCAN_INTERVAL_MS = 1000

/** What has come of one lane and is not read yet. The socket is paused while it is more than READ_BYTES_MAX. */
class MemoryLane {
  readonly writer: string
  /** The number after the last segment that was handed out, and below which all is committed. */
  handedOut: number
  committedTo: number
  alive = true
  /** Whether the writer is gone could not be told: another connection may be made. */
  unsure = false
  readonly #socket: Socket
  readonly #commits: Newest
  readonly #heard: () => void
  #segments: Segment[] = []
  #bytes = 0
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(folder: string, writer: string, from: number, heard: () => void) {
    this.writer = writer
    this.handedOut = from
    this.committedTo = from
    this.#heard = heard
    this.#socket = connect(join(folder, `${writer}.sock`), () => this.#commits.send(from))
    this.#commits = new Newest(this.#socket)
    this.#socket.on('data', (data: Buffer) => this.#receive(data))
    this.#socket.on('error', (error) => {
      this.unsure = !isGone(error) && this.#socket.bytesRead === 0
    })
    this.#socket.on('close', () => {
      this.alive = false
      heard()
    })
  }

  /** The writer is gone, and all that had come was handed out and committed. */
  get over(): boolean {
    return !this.alive && this.#segments.length === 0 && this.committedTo >= this.handedOut
  }

  take(): Segment[] {
    const segments = this.#segments
    this.#segments = []
    this.#bytes = 0
    this.#socket.resume()
    return segments
  }

  committed(sequence: number): void {
    if (sequence <= this.committedTo) return
    this.committedTo = sequence
    this.#commits.send(sequence)
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(data: Buffer): void {
    this.#rest.push(data)
    this.#restBytes += data.length
    if (this.#restBytes < this.#needed()) return
    const bytes = this.#rest.length === 1 ? this.#rest[0] : Buffer.concat(this.#rest)
    let at = 0
    while (bytes.length - at >= 4 && bytes.length - at >= 4 + bytes.readUInt32LE(at)) {
      const end = at + 4 + bytes.readUInt32LE(at)
      this.#segments.push(new Segment(bytes.subarray(at + 4, end)))
      this.#bytes += end - at
      at = end
    }
    this.#rest = at < bytes.length ? [bytes.subarray(at)] : []
    this.#restBytes = bytes.length - at
    if (this.#bytes > READ_BYTES_MAX) this.#socket.pause()
    if (at > 0) this.#heard()
  }

  /** Bytes of the message that has begun, as far as its length is known. */
  #needed(): number {
    const [first] = this.#rest
    return first.length < 4 ? 4 : 4 + first.readUInt32LE(0)
  }
}

export interface MemoryReaderParts {
  folder: string
  list(): Promise<string[]>
  watch(changed: () => void): () => void
}

export class MemoryReader implements LogReader {
  readonly kind = 'memory'
  readonly #parts: MemoryReaderParts
  readonly #lanes = new Map<string, MemoryLane>()
  #finished: string[] = []
  #rescan = true
  #news = true
  #wake: () => void = () => {}

  constructor(parts: MemoryReaderParts) {
    this.#parts = parts
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    await this.close()
    this.#rescan = true
    const unwatch = this.#parts.watch(() => this.#changed())
    const timer = setInterval(() => this.#changed(), RESCAN_INTERVAL_MS).unref()
    const wake = () => this.#tell()
    signal.addEventListener('abort', wake)
    // Lanes of an earlier run have nothing left: their memory is gone.
    const gone = new Set(from.keys())
    try {
      while (!signal.aborted) {
        this.#news = false
        if (this.#rescan) await this.#discover(from, gone)
        let read = false
        for (const lane of this.#lanes.values()) {
          for (const segment of lane.take()) {
            if (signal.aborted) return
            lane.handedOut = segment.sequence + 1
            yield { segment, lane: lane.writer, next: lane.handedOut }
            read = true
          }
        }
        await this.#endLanes()
        if (!read && !this.#news && !signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
      }
    } finally {
      signal.removeEventListener('abort', wake)
      unwatch()
      clearInterval(timer)
    }
  }

  committed(position: Position): void {
    for (const [writer, next] of position) {
      const lane = this.#lanes.get(writer)
      lane?.committed(next)
      if (lane?.over) this.#tell()
    }
  }

  finished(): string[] {
    return this.#finished.splice(0)
  }

  async close(): Promise<void> {
    for (const lane of this.#lanes.values()) lane.close()
    this.#lanes.clear()
  }

  async #endLanes(): Promise<void> {
    for (const lane of [...this.#lanes.values()]) {
      if (!lane.over) continue
      if (!lane.unsure) {
        await unlink(join(this.#parts.folder, `${lane.writer}.sock`)).catch(() => {})
        this.#finished.push(lane.writer)
      }
      this.#lanes.delete(lane.writer)
    }
  }

  async #discover(from: Position, gone: Set<string>): Promise<void> {
    this.#rescan = false
    for (const name of await this.#parts.list()) {
      const writer = /^([0-9a-f]{16})\.sock$/.exec(name)?.[1]
      if (writer === undefined || this.#lanes.has(writer)) continue
      gone.delete(writer)
      const next = from.get(writer) ?? 0
      this.#lanes.set(writer, new MemoryLane(this.#parts.folder, writer, next, () => this.#tell()))
    }
    this.#finished.push(...gone)
    gone.clear()
  }

  #changed(): void {
    this.#rescan = true
    this.#tell()
  }

  #tell(): void {
    this.#news = true
    this.#wake()
  }
}
