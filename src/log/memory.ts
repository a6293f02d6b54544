// The memory log: segments wait in their listener until the processor has committed them. Nothing is on disk, and
// what a listener holds dies with it; the death of the processor loses nothing, since segments are sent again.
//
// The lane is a Unix socket, as in link.ts, but with the segments themselves:
//
//   reader -> writer   f64 sequence below which all is committed; the first one says from where to send
//   writer -> reader   u32 length, segment

import { unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { MEMORY_LOG_BYTES_MAX, READ_BYTES_MAX } from '../limits.ts'
import { newWriter } from './embedded/writer.ts'
import { cutMessages, listenAt } from './link.ts'
import {
  type LogEntry,
  LogFull,
  type LogReader,
  LogUnavailable,
  type LogWriter,
  type Position,
  type Written,
} from './log.ts'
import { Segment } from './segment.ts'

const COMMITTED_BYTES = 8

export class MemoryWriter implements LogWriter {
  readonly kind = 'memory'
  readonly durability = 'buffered'
  readonly writer = newWriter()
  readonly #path: string
  readonly #server: Server
  readonly #bytesMax: number
  /** Not committed yet, in order; the first has sequence #first. */
  #queue: Segment[] = []
  #first = 0
  #queuedBytes = 0
  #sequence = 0
  #events = 0
  #bodies = 0
  #socket: Socket | undefined
  /** The sequence to send next. */
  #sent = 0
  #blocked = false
  #closed = false
  #emptied: () => void = () => {}

  constructor(folder: string, bytesMax: number) {
    this.#path = join(folder, `${this.writer}.sock`)
    this.#bytesMax = Math.min(bytesMax, MEMORY_LOG_BYTES_MAX)
    this.#server = createServer((socket) => this.#connected(socket))
  }

  async open(): Promise<this> {
    await listenAt(this.#server, this.#path)
    return this
  }

  append(segment: Segment): Promise<void> {
    if (this.#closed) return Promise.reject(new LogUnavailable('the log is closed'))
    if (this.#queuedBytes + segment.bytes.length > this.#bytesMax) {
      return Promise.reject(
        new LogFull(`${this.#queuedBytes} bytes wait in memory to be processed, ${this.#bytesMax} at most`),
      )
    }
    segment.stamp(this.writer, this.#sequence++, this.#events, this.#bodies)
    this.#events += segment.events
    this.#bodies += segment.bodies
    this.#queuedBytes += segment.bytes.length
    this.#queue.push(segment)
    this.#send()
    return Promise.resolve()
  }

  written(): Written {
    return {
      segments: this.#sequence,
      events: this.#events,
      bodies: this.#bodies,
      backlogBytes: this.#queuedBytes,
    }
  }

  /** Waits until the reader has committed everything: this process's memory is all there is. */
  async close(): Promise<void> {
    this.#closed = true
    while (this.#queue.length > 0) {
      await new Promise<void>((resolve) => {
        this.#emptied = resolve
      })
    }
    this.#socket?.end()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await unlink(this.#path).catch(() => {})
  }

  #connected(socket: Socket): void {
    this.#socket?.destroy()
    this.#socket = undefined
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
    })
    socket.on('drain', () => {
      this.#blocked = false
      this.#send()
    })
    cutMessages(socket, COMMITTED_BYTES, (message) => {
      const sequence = message.readDoubleLE(0)
      this.#release(sequence)
      if (this.#socket === socket) return
      this.#socket = socket
      this.#blocked = false
      this.#sent = Math.max(sequence, this.#first)
      this.#send()
    })
  }

  #send(): void {
    while (this.#socket !== undefined && !this.#blocked && this.#sent < this.#sequence) {
      const { bytes } = this.#queue[this.#sent++ - this.#first]
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32LE(bytes.length)
      this.#socket.cork()
      this.#socket.write(length)
      this.#blocked = !this.#socket.write(bytes)
      this.#socket.uncork()
    }
  }

  #release(sequence: number): void {
    const committed = Math.min(sequence, this.#sequence) - this.#first
    if (committed <= 0) return
    for (const segment of this.#queue.splice(0, committed)) this.#queuedBytes -= segment.bytes.length
    this.#first += committed
    if (this.#queue.length === 0) this.#emptied()
  }
}

/** What has come of one lane and is not read yet. The socket is paused while it is more than READ_BYTES_MAX. */
class MemoryLane {
  readonly writer: string
  alive = true
  readonly #socket: Socket
  readonly #heard: () => void
  #segments: Segment[] = []
  #bytes = 0
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(folder: string, writer: string, from: number, heard: () => void) {
    this.writer = writer
    this.#heard = heard
    this.#socket = connect(join(folder, `${writer}.sock`), () => this.committed(from))
    this.#socket.on('data', (data: Buffer) => this.#receive(data))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => {
      this.alive = false
      heard()
    })
  }

  take(): Segment[] {
    const segments = this.#segments
    this.#segments = []
    this.#bytes = 0
    this.#socket.resume()
    return segments
  }

  committed(sequence: number): void {
    if (!this.alive) return
    const message = Buffer.allocUnsafe(COMMITTED_BYTES)
    message.writeDoubleLE(sequence)
    this.#socket.write(message)
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
    this.#heard()
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

const RESCAN_INTERVAL_MS = 1000

export class MemoryReader implements LogReader {
  readonly kind = 'memory'
  readonly #parts: MemoryReaderParts
  readonly #lanes = new Map<string, MemoryLane>()
  readonly #known = new Set<string>()
  #finished: string[] = []
  #rescan = true
  #news = true
  #wake: () => void = () => {}
  #stop: () => void = () => {}

  constructor(parts: MemoryReaderParts) {
    this.#parts = parts
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const unwatch = this.#parts.watch(() => this.#changed())
    const timer = setInterval(() => this.#changed(), RESCAN_INTERVAL_MS).unref()
    this.#stop = () => {
      unwatch()
      clearInterval(timer)
    }
    const wake = () => this.#tell()
    signal.addEventListener('abort', wake)
    // Lanes of an earlier run have nothing left: their memory is gone.
    const gone = new Set(from.keys())
    while (!signal.aborted) {
      this.#news = false
      if (this.#rescan) await this.#discover(from, gone)
      let read = false
      for (const lane of this.#lanes.values()) {
        const alive = lane.alive
        for (const segment of lane.take()) {
          if (signal.aborted) return
          yield { segment, lane: lane.writer, next: segment.sequence + 1 }
          read = true
        }
        if (!alive) this.#end(lane.writer)
      }
      if (!read && !this.#news) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
    signal.removeEventListener('abort', wake)
  }

  committed(position: Position): void {
    for (const [writer, next] of position) this.#lanes.get(writer)?.committed(next)
  }

  finished(): string[] {
    return this.#finished.splice(0)
  }

  async close(): Promise<void> {
    this.#stop()
    for (const lane of this.#lanes.values()) lane.close()
  }

  #end(writer: string): void {
    this.#lanes.delete(writer)
    this.#finished.push(writer)
    void unlink(join(this.#parts.folder, `${writer}.sock`)).catch(() => {})
  }

  async #discover(from: Position, gone: Set<string>): Promise<void> {
    this.#rescan = false
    for (const name of await this.#parts.list()) {
      const writer = /^([0-9a-f]{16})\.sock$/.exec(name)?.[1]
      if (writer === undefined || this.#known.has(writer)) continue
      this.#known.add(writer)
      gone.delete(writer)
      this.#lanes.set(
        writer,
        new MemoryLane(this.#parts.folder, writer, from.get(writer) ?? 0, () => this.#tell()),
      )
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
