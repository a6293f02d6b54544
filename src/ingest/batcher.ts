// Group commit: while one write is being made durable, the next segment fills. No timer is involved: an idle log
// gets the bodies of one turn of the event loop at once, a busy one gets whatever came while it was busy.

import { Problem } from '../errors.ts'
import { SEGMENT_BYTES_TARGET } from '../limits.ts'
import { LogFull, type LogWriter } from '../log/log.ts'
import { SegmentBuilder } from '../log/segment.ts'

/** A body that waits for its segment to be durable. Exactly one of the two is called, once. */
export interface Waiting {
  /** Durable: only now may success be told. */
  durable(): void
  refused(problem: Problem): void
}

export class Batcher {
  readonly #log: LogWriter
  #builder = new SegmentBuilder(64 * 1024)
  #waiting: Waiting[] = []
  #appending = 0
  #flushScheduled = false
  #idle: (() => void) | undefined

  constructor(log: LogWriter) {
    this.#log = log
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
    this.#builder.add(frame, events, producer, sequence, correlation, Date.now())
    this.#waiting.push(waiting)
    if (this.#builder.full || this.#builder.frameBytes >= SEGMENT_BYTES_TARGET) this.#flush()
    else if (this.#appending === 0 && !this.#flushScheduled) {
      this.#flushScheduled = true
      setImmediate(this.#flushOnIdle)
    }
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
    this.#log.append(segment).then(
      () => {
        this.#settled()
        for (let i = 0; i < waiting.length; i++) waiting[i].durable()
      },
      (error: Error) => {
        this.#settled()
        const problem = asProblem(error)
        for (let i = 0; i < waiting.length; i++) waiting[i].refused(problem)
      },
    )
  }

  /** Before the answers go out, the next segment is on its way to the disk. */
  #settled(): void {
    this.#appending--
    if (this.#appending === 0) this.#flush()
    if (this.#appending === 0) this.#idle?.()
  }
}

function asProblem(error: Error): Problem {
  const code = error instanceof LogFull ? 'backlog-full' : 'log-unavailable'
  return new Problem(code, error.message, { cause: error })
}
