// The memory log: segments wait in their listener until the processor has committed them. Nothing is on disk, and
// what a listener holds dies with it; the death of the processor loses nothing, since segments are sent again.
//
// The lane is a Unix socket, as in link.ts, but with the segments themselves:
//
//   reader -> writer   f64 sequence below which all is committed; the first one says from where to send
//   writer -> reader   u32 length, segment

import type { Socket } from 'node:net'
import { join } from 'node:path'
import { MEMORY_CLOSE_MS_MAX, MEMORY_LOG_BYTES_MAX } from '../limits.ts'
import { newWriter } from './embedded/writer.ts'
import { cutMessages, LaneSocket } from './link.ts'
import { LogFull, LogUnavailable, type LogWriter, type Written } from './log.ts'
import type { Segment } from './segment.ts'

const COMMITTED_BYTES = 8

export class MemoryWriter implements LogWriter {
  readonly kind = 'memory'
  readonly durability = 'buffered'
  readonly writer = newWriter()
  readonly #lane: LaneSocket
  readonly #bytesMax: number
  readonly #closeMsMax: number
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
  #closed = false
  #emptied: () => void = () => {}

  constructor(folder: string, bytesMax: number, closeMsMax = MEMORY_CLOSE_MS_MAX) {
    this.#lane = new LaneSocket(join(folder, `${this.writer}.sock`), (socket) => this.#connected(socket))
    this.#bytesMax = Math.min(bytesMax, MEMORY_LOG_BYTES_MAX)
    this.#closeMsMax = closeMsMax
  }

  async open(): Promise<this> {
    await this.#lane.listen()
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

  /**
   * Waits until the reader has committed everything: this process's memory is all there is. Where that does not come
   * in time, rejects with LogUnavailable, which says how much is lost.
   */
  async close(): Promise<void> {
    this.#closed = true
    const emptied = this.#queue.length === 0 || (await this.#empty())
    await this.#lane.close()
    if (emptied) return
    const lost = this.#events - this.#queue[0].priorEvents
    throw new LogUnavailable(
      `${lost} events in memory are lost: the processor did not take them within ${this.#closeMsMax} ms`,
    )
  }

  /** Resolves with false when it took too long. */
  #empty(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), this.#closeMsMax)
      this.#emptied = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }

  #connected(socket: Socket): void {
    this.#socket?.destroy()
    this.#socket = undefined
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
    })
    socket.on('drain', () => this.#send())
    cutMessages(socket, COMMITTED_BYTES, (message) => {
      const sequence = message.readDoubleLE(0)
      this.#release(sequence)
      if (this.#socket === socket || socket.destroyed) return
      this.#socket = socket
      this.#sent = Math.max(sequence, this.#first)
      this.#send()
    })
  }

  #send(): void {
    const socket = this.#socket
    while (socket !== undefined && !socket.writableNeedDrain && this.#sent < this.#sequence) {
      const { bytes } = this.#queue[this.#sent++ - this.#first]
      const length = Buffer.allocUnsafe(4)
      length.writeUInt32LE(bytes.length)
      socket.cork()
      socket.write(length)
      socket.write(bytes)
      socket.uncork()
    }
  }

  #release(sequence: number): void {
    const committed = Math.min(sequence, this.#sequence) - this.#first
    if (committed <= 0) return
    for (const segment of this.#queue.splice(0, committed)) this.#queuedBytes -= segment.bytes.length
    this.#first += committed
    this.#sent = Math.max(this.#sent, this.#first)
    if (this.#queue.length === 0) this.#emptied()
  }
}
