// The floor's file: allocated beforehand, written from its start to its end and then anew, flushed before an answer.
// While one write is being flushed, the next one fills.
//
//   a write: u32 bytes of frames, u32 events, frames

import { fdatasync, openSync, write, writeSync } from 'node:fs'

export const RING_BYTES = 256 * 1024 * 1024
export const HEAD_BYTES = 8
/** Up to so many bytes a copy to the page cache is cheaper than the way to a thread and back. */
const SYNC_BYTES_MAX = 64 * 1024
const FILLING_BYTES = 16 * 1024 * 1024

export class Ring<Waiting> {
  readonly #fd: number
  readonly #durable: (waiting: Waiting[]) => void
  readonly #written: (at: number, bytes: number, events: number) => void
  #filling = Buffer.allocUnsafeSlow(FILLING_BYTES)
  #spare = Buffer.allocUnsafeSlow(FILLING_BYTES)
  #end = HEAD_BYTES
  #events = 0
  #waiting: Waiting[] = []
  #scheduled = false
  #writing = false
  /** Where the next write goes, counted without end, and up to where the file may be written again. */
  #head = 0
  #tail = 0
  /** Where each write that is not freed ends. */
  #ends: number[] = []

  /** `durable`: these may be answered. `written`: the processor may read here. */
  constructor(
    path: string,
    durable: (waiting: Waiting[]) => void,
    written: (at: number, bytes: number, events: number) => void,
  ) {
    this.#durable = durable
    this.#written = written
    this.#fd = openSync(path, 'w+')
    const zeros = Buffer.alloc(4 * 1024 * 1024)
    for (let at = 0; at < RING_BYTES; at += zeros.length) writeSync(this.#fd, zeros, 0, zeros.length, at)
  }

  /** Resolves when the zeros are on disk. */
  ready(): Promise<void> {
    return new Promise((resolve, reject) =>
      fdatasync(this.#fd, (error) => (error === null ? resolve() : reject(error))),
    )
  }

  /** False when there is no room. */
  add(frame: Uint8Array, events: number, waiting: Waiting): boolean {
    if (this.#end + frame.length > FILLING_BYTES) return false
    this.#filling.set(frame, this.#end)
    this.#end += frame.length
    this.#events += events
    this.#waiting.push(waiting)
    if (!this.#writing && !this.#scheduled) {
      this.#scheduled = true
      setImmediate(this.#flush)
    }
    return true
  }

  /** The first so many writes that are not freed yet have been processed. */
  free(writes: number): void {
    if (writes === 0) return
    this.#tail = this.#ends[writes - 1]
    this.#ends.splice(0, writes)
    if (!this.#writing) this.#flush()
  }

  #flush = (): void => {
    this.#scheduled = false
    const bytes = this.#end
    if (this.#writing || this.#waiting.length === 0) return
    const left = RING_BYTES - (this.#head % RING_BYTES)
    const from = bytes > left ? this.#head + left : this.#head
    if (from + bytes - this.#tail > RING_BYTES) return // full: goes on when something is freed
    this.#writing = true
    const [buffer, events, waiting] = [this.#filling, this.#events, this.#waiting]
    buffer.writeUInt32LE(bytes - HEAD_BYTES, 0)
    buffer.writeUInt32LE(events, 4)
    this.#filling = this.#spare
    this.#spare = buffer
    this.#end = HEAD_BYTES
    this.#events = 0
    this.#waiting = []
    this.#head = from + bytes
    this.#ends.push(this.#head)
    const at = from % RING_BYTES
    const sync = () =>
      fdatasync(this.#fd, (error) => {
        if (error !== null) throw error
        this.#writing = false
        this.#written(at, bytes, events)
        this.#flush()
        this.#durable(waiting)
      })
    if (bytes <= SYNC_BYTES_MAX) {
      writeSync(this.#fd, buffer, 0, bytes, at)
      sync()
    } else {
      write(this.#fd, buffer, 0, bytes, at, (error, written) => {
        if (error !== null || written !== bytes) throw error ?? new Error('a short write')
        sync()
      })
    }
  }
}
