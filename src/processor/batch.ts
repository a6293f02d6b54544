// What goes through the pool as one task, and what it stands for once its effects are merged.

import { EVENT_TAG } from '../frame/tags.ts'
import { TASK_BYTES_TARGET } from '../limits.ts'
import type { Segment } from '../log/segment.ts'
import type { WriterProgress } from '../results/progress.ts'
import { Claims, type Ledger } from './ledger.ts'
import type { Again } from './replays.ts'
import type { About, Rest } from './rest.ts'
import type { Done, Task } from './runner.ts'

export class Batch {
  #claims = new Claims()
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
  /** Of each segment with new events: when it was received, Unix milliseconds, and how many these are. */
  readonly received: number[] = []
  /** Of a dead letter that is handled again. */
  again: Again | undefined
  /** What the pool has made of it and is not merged yet; nothing also where there was nothing to fold. */
  done: Done[] = []
  /** All of it is folded. */
  folded = false
  /** Up to where in the frames it is merged, where some of it is. */
  mergedTo = 0
  /** A part of it is committed, and the rest of it stored (rest.ts). */
  inParts = false
  /** Threads that were ended may still look at its buffers. */
  #split = false
  #frames: Uint8Array<SharedArrayBuffer>
  #bytes = 0
  #runs: number[] = []

  /** Where the delta is written: over the frames, unless these are needed for longer. */
  readonly #room: SharedArrayBuffer | undefined
  /** Of the bodies, where these are needed for longer: where each ends in the frames, and its correlation id. */
  readonly #bodies: { end: number; correlation: string }[] | undefined

  /**
   * Fills `frames`, or a larger buffer in its place. `room`: given where the frames are needed until the batch is
   * merged, since handlers may have to be called again.
   */
  constructor(frames: SharedArrayBuffer, room?: SharedArrayBuffer) {
    this.#frames = new Uint8Array(frames)
    this.#room = room
    if (room !== undefined) this.#bodies = []
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
  /** Its buffers may be used again once it is merged. */
  get reusable(): boolean {
    return !this.#split
  }

  /** The claims, which are counted with the next commit: each once. */
  takeClaims(): Claims {
    const claims = this.#claims
    this.#claims = new Claims()
    return claims
  }

  /** The next part of what the pool has made of it. */
  folds(done: Done): void {
    this.done.push(done)
    this.folded = done.to >= this.bytes
    // A thread that has its delta elsewhere may follow one that was ended.
    if (done.delta !== undefined && this.room !== this.frames) this.#split = true
  }

  /** What is stored of it while it is committed in parts. */
  about(): About {
    const { events, bodies, duplicateEvents, duplicateBodies, redeliveredEvents, lastReceivedAt } = this
    return {
      lanes: [...this.lanes],
      writers: [...this.writers],
      runs: this.#runs,
      bodies: this.#bodies ?? [],
      events,
      bodyCount: bodies,
      duplicateEvents,
      duplicateBodies,
      redeliveredEvents,
      lastReceivedAt,
    }
  }

  /** Makes an empty batch what was left of one. */
  resume({ about, frames, at }: Rest): void {
    this.#copy(frames, 0)
    this.#runs = about.runs
    this.#bodies?.push(...about.bodies)
    for (const [lane, next] of about.lanes) this.lanes.set(lane, next)
    for (const [writer, progress] of about.writers) this.writers.set(writer, progress)
    this.events = about.events
    this.bodies = about.bodyCount
    this.duplicateEvents = about.duplicateEvents
    this.duplicateBodies = about.duplicateBodies
    this.redeliveredEvents = about.redeliveredEvents
    this.lastReceivedAt = about.lastReceivedAt
    this.mergedTo = at
    this.inParts = true
  }

  /** Adds what is new of a segment. `now`: Unix milliseconds. */
  add(segment: Segment, lane: string, next: number, ledger: Ledger, now: number): void {
    const { events, bodies, receivedAt } = segment
    const { writer, sequence } = segment
    this.lanes.set(lane, next)
    if (!ledger.claimSegment(writer, sequence, receivedAt, this.#claims)) {
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
      if (this.#bodies !== undefined) this.#note(segment, this.#bodies)
      this.#copy(frames, receivedAt)
      this.events += events
      this.bodies += bodies
      this.received.push(receivedAt, events)
      return
    }
    const before = this.events
    let from = 0 // frames from here on are new, and not copied yet
    for (const body of segment.table()) {
      if (body.producer === undefined || ledger.claimBody(body.producer, body.sequence, now, this.#claims)) {
        this.events += body.events
        this.bodies++
        this.#bodies?.push({ end: this.#bytes + body.end - from, correlation: body.correlation })
        continue
      }
      this.#copy(frames.subarray(from, body.start), receivedAt)
      from = body.end
      this.duplicateEvents += body.events
      this.duplicateBodies++
    }
    this.#copy(frames.subarray(from), receivedAt)
    if (this.events > before) this.received.push(receivedAt, this.events - before)
  }

  /** Where the bodies of a segment will be. */
  #note(segment: Segment, bodies: { end: number; correlation: string }[]): void {
    for (const { end, correlation } of segment.table()) bodies.push({ end: this.#bytes + end, correlation })
  }

  /** Makes an empty batch the event of a dead letter: in no lane, and of no producer. */
  handleAgain(again: Again): void {
    const { event, at } = again.letter
    const head = [EVENT_TAG]
    let length = event.length
    for (; length > 127; length >>>= 7) head.push((length & 127) | 128)
    head.push(length)
    this.#copy(Uint8Array.from(head), at)
    this.#copy(event, at)
    this.again = again
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

  /** The bytes to fold: shared with the thread, which may write the delta over them where there is no other room. */
  task(): Task {
    return {
      frames: this.#frames.buffer,
      bytes: this.#bytes,
      runs: Float64Array.from(this.#runs),
      room: this.room,
      from: this.mergedTo,
      ...(this.again === undefined ? {} : { only: this.again.letter.handler }),
    }
  }

  /** Where a delta is that is nowhere else. */
  get room(): SharedArrayBuffer {
    return this.#room ?? this.frames
  }

  /** The bytes of an event that stands here in the frames; only where there is room beside them. */
  event(from: number, to: number): Uint8Array {
    return this.#frames.slice(from, to)
  }

  /** When what stands at `at` in the frames was received, Unix milliseconds. */
  receivedAt(at: number): number {
    const runs = this.#runs
    let run = 0
    while (run < runs.length - 2 && runs[run] <= at) run += 2
    return runs[run + 1]
  }

  /** The correlation id of the request that it came with, or empty. */
  correlationId(at: number): string {
    const bodies = this.#bodies ?? []
    let first = 0
    for (let past = bodies.length; first < past; ) {
      const middle = (first + past) >>> 1
      if (bodies[middle].end <= at) first = middle + 1
      else past = middle
    }
    return bodies[first]?.correlation ?? ''
  }
}

/** Buffers of TASK_BYTES_TARGET and a little more, used again and again. */
export class Buffers {
  #free: SharedArrayBuffer[] = []

  take(): SharedArrayBuffer {
    return this.#free.pop() ?? new SharedArrayBuffer(TASK_BYTES_TARGET * 2)
  }

  /** Those of a batch that is merged. */
  giveAll(batch: Batch): void {
    if (!batch.reusable) return
    this.give(batch.frames)
    if (batch.room !== batch.frames) this.give(batch.room)
  }

  /** Keeps those of the usual size; larger ones, made for a large body, are let go. */
  give(buffer: SharedArrayBuffer): void {
    if (buffer.byteLength === TASK_BYTES_TARGET * 2) this.#free.push(buffer)
  }
}
