// Group commit: while one write is being made durable, the next segment fills. No timer is involved: an idle log
// gets the bodies of one turn of the event loop at once, a busy one gets whatever came while it was busy.

import { Problem, type ProblemCode } from '../errors.ts'
import { SEGMENT_BYTES_TARGET } from '../limits.ts'
import { LogFull, LogUnconfirmed, type LogWriter } from '../log/log.ts'
import { SegmentBuilder } from '../log/segment.ts'
import { newTurnTime } from '../telemetry/clock.ts'
import type { LaneMetrics } from './lane-metrics.ts'
import type { TapSource } from './tap.ts'

/** How long a refusal stands for the next body too, where a body has parts in several partitions. */
const REFUSAL_HOLDS_MS = 50

/** A body that waits for its segment to be durable. Exactly one of the two is called, once. */
export interface Waiting {
  /** Durable: only now may success be told. */
  durable(): void
  refused(problem: Problem): void
  /** True when something that has to come before it was refused: where it can still be kept out of the log, it is. */
  readonly overtaking?: boolean
  /** What the client is told; asked for by taps. */
  readonly correlationId?: string
}

export class Batcher {
  readonly #log: LogWriter
  readonly #tap: TapSource | undefined
  readonly #metrics: LaneMetrics | undefined
  #builder = new SegmentBuilder(64 * 1024)
  #waiting: Waiting[] = []
  #appending = 0
  #flushScheduled = false
  #idle: (() => void) | undefined
  /** The last append was refused for this, at this time. */
  #refusal: { problem: Problem; at: number } | undefined

  /** `tap`: is shown what is durable; `metrics`: counts it. */
  constructor(log: LogWriter, tap?: TapSource, metrics?: LaneMetrics) {
    this.#log = log
    this.#tap = tap
    this.#metrics = metrics
  }

  /** Takes a copy of the frame. Empty strings stand for no producer and no correlation id. */
  add(
    frame: Uint8Array,
    events: number,
    producer: string,
    sequence: number,
    correlation: string,
    waiting: Waiting,
  ): void {
    const now = this.#builder.bodies === 0 ? Date.now() : 0 // a segment has the time of its first body
    this.#builder.add(frame, events, producer, sequence, correlation, now)
    this.#waiting.push(waiting)
    if (this.#builder.full || this.#builder.frameBytes >= SEGMENT_BYTES_TARGET) this.#flush()
    else if (this.#appending === 0 && !this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(this.#flushOnIdle)
    }
  }

  /** Throws what the last body was refused for, but now and then nothing, so that it is tried again. */
  checkOpen(): void {
    const refusal = this.#refusal
    if (refusal === undefined) return
    const now = performance.now()
    if (now - refusal.at < REFUSAL_HOLDS_MS) throw refusal.problem
    refusal.at = now
  }

  /** Resolves once every body added so far has had its answer. */
  async drained(): Promise<void> {
    while (this.#appending > 0 || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
  }

  #flushOnIdle = (): void => {
    this.#flushScheduled = false
    if (this.#appending === 0) this.#flush()
  }

  #flush(): void {
    if (this.#waiting.length === 0) return
    const segment = this.#builder.seal()
    const waiting = this.#waiting
    this.#waiting = []
    this.#appending++
    const since = performance.now()
    this.#log.append(segment).then(
      () => {
        this.#refusal = undefined
        this.#metrics?.durable(segment, since, newTurnTime())
        if (this.#tap?.active) this.#tap.durable(segment, (body) => waiting[body].correlationId)
        if (this.#log.givesBack) this.#builder.reuse(segment)
        this.#settled()
        for (let i = 0; i < waiting.length; i++) waiting[i].durable()
      },
      (error: Error) => {
        const problem = asProblem(error)
        this.#refusal = { problem, at: performance.now() }
        this.#metrics?.refused(problem.code)
        for (let i = 0; i < waiting.length; i++) waiting[i].refused(problem)
        this.#withdrawOvertaking(problem)
        this.#settled()
      },
    )
  }

  /** The bodies that have gathered meanwhile, without those that must not go before what was just refused. */
  #withdrawOvertaking(problem: Problem): void {
    const gathered = this.#waiting
    if (!gathered.some(({ overtaking }) => overtaking)) return
    this.#waiting = []
    const segment = this.#builder.seal()
    const { frames, receivedAt } = segment
    let i = 0
    for (const { start, end, events, producer = '', sequence, correlation } of segment.table()) {
      const waiting = gathered[i++]
      if (waiting.overtaking) waiting.refused(problem)
      else {
        this.#waiting.push(waiting)
        this.#builder.add(frames.subarray(start, end), events, producer, sequence, correlation, receivedAt)
      }
    }
  }

  /** Before the answers go out, the next segment is on its way to the disk. */
  #settled(): void {
    this.#appending--
    if (this.#appending === 0) this.#flush()
    if (this.#appending === 0) this.#idle?.()
  }
}

function asProblem(error: Error): Problem {
  return new Problem(codeOf(error), error.message, { cause: error })
}

function codeOf(error: Error): ProblemCode {
  if (error instanceof LogFull) return 'backlog-full'
  return error instanceof LogUnconfirmed ? 'unconfirmed' : 'log-unavailable'
}
