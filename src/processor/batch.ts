// What goes through the pool as one task, and what it stands for once its effects are merged.

import { TASK_BYTES_TARGET } from '../limits.ts'
import type { Segment } from '../log/segment.ts'
import type { WriterProgress } from '../results/progress.ts'
import { Claims, type Ledger } from './ledger.ts'
import type { Task } from './runner.ts'

export class Batch {
  readonly claims = new Claims()
  /** Where each lane, and each writer, stands when this batch is committed. */
  readonly lanes = new Map<string, number>()
  readonly writers = new Map<string, WriterProgress>()
  events = 0
  bodies = 0
  /** Came again from their producer. */
  duplicateEvents = 0
  duplicateBodies = 0
  /** Came again from the log, which may yield a segment more than once. */
  redeliveredEvents = 0
  lastReceivedAt = 0
  /** Set once the pool has folded it; undefined also where there was nothing to fold. */
  delta: ArrayBufferLike | undefined
  folded = false
  #frames: Uint8Array<SharedArrayBuffer>
  #bytes = 0
  #runs: number[] = []

  /** Fills `frames`, or a larger buffer in its place. */
  constructor(frames: SharedArrayBuffer) {
    this.#frames = new Uint8Array(frames)
  }

  get bytes(): number {
    return this.#bytes
  }
  get frames(): SharedArrayBuffer {
    return this.#frames.buffer
  }
  get empty(): boolean {
    return this.lanes.size === 0
  }

  /** Adds what is new of a segment. `now`: Unix milliseconds. */
  add(segment: Segment, lane: string, next: number, ledger: Ledger, now: number): void {
    const { events, bodies, receivedAt } = segment
    const { writer, sequence } = segment
    this.lanes.set(lane, next)
    if (!ledger.claimSegment(writer, sequence, receivedAt, this.claims)) {
      this.redeliveredEvents += events
      return
    }
    this.lastReceivedAt = Math.max(this.lastReceivedAt, receivedAt)
    if ((this.writers.get(writer)?.sequence ?? 0) <= sequence) {
      this.writers.set(writer, {
        sequence: sequence + 1,
        events: segment.priorEvents + events,
        bodies: segment.priorBodies + bodies,
        receivedAt,
      })
    }
    const { frames } = segment
    if (!segment.hasProducers) {
      this.#copy(frames, receivedAt)
      this.events += events
      this.bodies += bodies
      return
    }
    let from = 0 // frames from here on are new, and not copied yet
    for (const body of segment.table()) {
      if (body.producer === undefined || ledger.claimBody(body.producer, body.sequence, now, this.claims)) {
        this.events += body.events
        this.bodies++
        continue
      }
      this.#copy(frames.subarray(from, body.start), receivedAt)
      from = body.end
      this.duplicateEvents += body.events
      this.duplicateBodies++
    }
    this.#copy(frames.subarray(from), receivedAt)
  }

  #copy(frames: Uint8Array, receivedAt: number): void {
    if (frames.length === 0) return
    const end = this.#bytes + frames.length
    if (end > this.#frames.length) {
      const grown = new Uint8Array(new SharedArrayBuffer(Math.max(end, this.#frames.length * 2)))
      grown.set(this.#frames.subarray(0, this.#bytes))
      this.#frames = grown
    }
    this.#frames.set(frames, this.#bytes)
    this.#bytes = end
    const runs = this.#runs
    if (runs.length > 0 && runs[runs.length - 1] === receivedAt) runs[runs.length - 2] = end
    else runs.push(end, receivedAt)
  }

  /** The bytes to fold: shared with the thread, which may write the delta over them. */
  task(): Task {
    return {
      frames: this.#frames.buffer,
      bytes: this.#bytes,
      runs: Float64Array.from(this.#runs),
    }
  }
}

/** Buffers of TASK_BYTES_TARGET and a little more, used again and again. */
export class Buffers {
  #free: SharedArrayBuffer[] = []

  take(): SharedArrayBuffer {
    return this.#free.pop() ?? new SharedArrayBuffer(TASK_BYTES_TARGET * 2)
  }

  /** Keeps those of the usual size; larger ones, made for a large body, are let go. */
  give(buffer: SharedArrayBuffer): void {
    if (buffer.byteLength === TASK_BYTES_TARGET * 2) this.#free.push(buffer)
  }
}
