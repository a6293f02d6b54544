// Where a body goes: to the one partition's batcher, or, cut by subject, to several.
//
// A body is taken whole or not at all. With one partition a segment is the whole; with several, the parts of a body
// become durable one by one, so:
// - a body whose partition is known to refuse is refused before any part of it is taken;
// - where one part is durable and another is surely not in the log, that part is tried again, for as long as a client
//   may be kept waiting; then the answer is `unconfirmed`, never one that says that nothing is left behind.

import { Problem } from '../errors.ts'
import { CONFIRM_MS_MAX } from '../limits.ts'
import type { LogWriter } from '../log/log.ts'
import { Batcher, type Waiting } from './batcher.ts'
import type { LaneMetrics } from './lane-metrics.ts'
import { Placer } from './placement.ts'
import type { TapSource } from './tap.ts'

const RETRY_MS = 20

export interface Intake {
  /**
   * Takes a copy of the frame, which the scan has passed; empty strings stand for no producer and no correlation id.
   * Throws a Problem where it cannot be taken now.
   */
  add(
    frame: Uint8Array,
    events: number,
    producer: string,
    sequence: number,
    correlation: string,
    waiting: Waiting,
  ): void
  /** Resolves once every body added so far has had its answer. */
  drained(): Promise<void>
}

/** `lanes`: the log's writers, one for each partition; `tap`: is shown what is durable; `metrics`: of each lane. */
export function openIntake(
  lanes: readonly LogWriter[],
  tap?: TapSource,
  metrics: readonly LaneMetrics[] = [],
): Intake {
  if (lanes.length === 1) return new Batcher(lanes[0], tap, metrics[0])
  return new PartitionedIntake(lanes, tap, metrics)
}

class PartitionedIntake implements Intake {
  readonly #batchers: Batcher[]
  readonly #placer: Placer
  /** Bodies of several parts that are not answered yet. */
  readonly #open = new Set<Parts>()

  constructor(lanes: readonly LogWriter[], tap: TapSource | undefined, metrics: readonly LaneMetrics[]) {
    this.#batchers = lanes.map((lane, partition) => new Batcher(lane, tap, metrics[partition]))
    this.#placer = new Placer(lanes.length)
  }

  add(
    frame: Uint8Array,
    events: number,
    producer: string,
    sequence: number,
    correlation: string,
    waiting: Waiting,
  ): void {
    const placer = this.#placer
    placer.place(frame, 0, frame.length)
    const touched: number[] = []
    for (let partition = 0; partition < this.#batchers.length; partition++) {
      if (placer.eventsOf(partition) === 0) continue
      this.#batchers[partition].checkOpen()
      touched.push(partition)
    }
    if (touched.length === 1) {
      this.#batchers[touched[0]].add(frame, events, producer, sequence, correlation, waiting)
      return
    }
    const parts = new Parts(touched.length, waiting, () => this.#open.delete(parts))
    this.#open.add(parts)
    for (const partition of touched) {
      const part = Buffer.from(placer.frameOf(partition)!) // a copy: it may have to be tried again
      const count = placer.eventsOf(partition)
      parts.add((one) => this.#batchers[partition].add(part, count, producer, sequence, correlation, one))
    }
  }

  async drained(): Promise<void> {
    while (this.#open.size > 0) {
      await Promise.all([...this.#open].map((parts) => parts.answered))
    }
    await Promise.all(this.#batchers.map((batcher) => batcher.drained()))
  }
}

/** One body's parts on their way to several partitions. */
class Parts {
  readonly answered: Promise<void>
  readonly #waiting: Waiting
  readonly #deadline = performance.now() + CONFIRM_MS_MAX
  readonly #done: () => void
  #left: number
  #durable = 0
  /** Parts that were refused and wait for the others, and then to be tried again. */
  #refused: { again: () => void; problem: Problem }[] = []

  constructor(parts: number, waiting: Waiting, over: () => void) {
    this.#left = parts
    this.#waiting = waiting
    let done = () => {}
    this.answered = new Promise((resolve) => {
      done = resolve
    })
    this.#done = () => {
      over()
      done()
    }
  }

  /** `send` hands one part to its batcher. */
  add(send: (waiting: Waiting) => void): void {
    const body = this.#waiting
    send({
      get correlationId() {
        return body.correlationId as string // asked of what its client is told
      },
      durable: () => {
        this.#durable++
        this.#settled()
      },
      refused: (problem) => {
        this.#refused.push({ problem, again: () => this.add(send) })
        this.#settled()
      },
    })
  }

  #settled(): void {
    if (--this.#left > 0) return
    const refused = this.#refused
    if (refused.length === 0) {
      this.#done()
      this.#waiting.durable()
      return
    }
    const unsure = refused.find((one) => one.problem.code === 'unconfirmed')
    const { problem } = unsure ?? refused[0]
    const isLeft = this.#durable > 0 || unsure !== undefined
    // One that may be in the log is not sent again: it would be another segment, and be counted too.
    if (!isLeft || unsure !== undefined || performance.now() > this.#deadline) {
      this.#done()
      this.#waiting.refused(isLeft ? unconfirmed(problem) : problem)
      return
    }
    this.#refused = []
    this.#left = refused.length
    setTimeout(() => {
      for (const { again } of refused) again()
    }, RETRY_MS)
  }
}

function unconfirmed(problem: Problem): Problem {
  return new Problem(
    'unconfirmed',
    `a part of this body may be in the log, another is not: ${problem.message}`,
    {
      cause: problem,
    },
  )
}
