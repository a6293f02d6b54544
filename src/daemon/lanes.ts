// What listeners and gateways have written, as they said last, or as the log says once they are gone. Those of one that is
// gone, replaced or killed, are kept until they are processed: what was accepted stays accepted, and what waits still waits.

import { type LaneReport, waitingIn } from '../api/status.ts'
import { LANES_GONE_MAX } from '../limits.ts'
import type { Left } from '../log/embedded/left.ts'
import type { Written } from '../log/log.ts'
import type { WriterProgress } from '../results/progress.ts'
import type { ListenerReport } from './link.ts'

interface Lane {
  partition: number
  written: Written
  /** Some of it is processed. */
  begun: boolean
  /** Its process is. */
  gone: boolean
  /** Where the log has told of it since: what of it is not there any more. */
  left?: Left['trimmed'] | undefined
  /** Events that waited when it was last looked. */
  waiting: number
}

export interface Lag {
  events: number
  bytes: number
}

/** The writers that the log has something of, by partition; undefined where it does not tell. */
type OnDisk = (partition: number) => ReadonlySet<string> | undefined

export class Lanes {
  readonly #onDisk: OnDisk
  /** By writer; those that are gone in the order in which they went. */
  readonly #lanes = new Map<string, Lane>()
  readonly #last = new Map<object, ListenerReport>()

  constructor(onDisk: OnDisk = () => undefined) {
    this.#onDisk = onDisk
  }

  /** How the lanes of a process stand. */
  told(process: object, report: ListenerReport): void {
    this.#last.set(process, report)
    report.lanes.forEach(({ writer, written }, partition) => {
      const { begun = false, waiting = 0 } = this.#lanes.get(writer) ?? {}
      this.#lanes.set(writer, { partition, written, begun, gone: false, waiting })
    })
  }

  /** True of a writer whose process has told of it, and is not gone. */
  lives(writer: string): boolean {
    return this.#lanes.get(writer)?.gone === false
  }

  /** What the log has of a writer that is gone. */
  left(partition: number, writer: string, left: Left): void {
    const { begun = false, waiting = 0 } = this.#lanes.get(writer) ?? {}
    if (this.lives(writer)) return
    this.#lanes.set(writer, { partition, written: left, begun, gone: true, left: left.trimmed, waiting })
    this.#bound()
  }

  /** The last that a process said. */
  last(process: object): ListenerReport | undefined {
    return this.#last.get(process)
  }

  /**
   * A process is over. `kept`: what it has written does not depend on it. Otherwise returns how many events waited in it when
   * it was last looked.
   */
  gone(process: object, kept: boolean): number {
    let lost = 0
    for (const { writer } of this.#last.get(process)?.lanes ?? []) {
      const lane = this.#lanes.get(writer)
      this.#lanes.delete(writer)
      if (lane === undefined || lane.written.events === 0) continue
      if (kept) this.#lanes.set(writer, { ...lane, gone: true })
      else lost += lane.waiting
    }
    this.#last.delete(process)
    this.#bound()
    return lost
  }

  #bound(): void {
    const gone = [...this.#lanes].filter(([, lane]) => lane.gone)
    for (const [writer] of gone.slice(0, -LANES_GONE_MAX)) this.#lanes.delete(writer)
  }

  all(): LaneReport[] {
    const isBegun = this.#beginnings()
    return [...this.#lanes].map(([writer, lane]) => ({
      writer,
      written: lane.written,
      begun: lane.gone && isBegun(writer, lane),
      left: lane.left,
    }))
  }

  /** Tells of a lane whether it was begun, also where it was processed to its end and forgotten since it was last looked at. */
  #beginnings(): (writer: string, lane: Lane) => boolean {
    const listed = new Map<number, ReadonlySet<string> | undefined>()
    return (writer, { partition, begun }) => {
      if (begun) return true
      if (!listed.has(partition)) listed.set(partition, this.#onDisk(partition))
      return listed.get(partition)?.has(writer) === false
    }
  }

  /**
   * By partition. `progress`: of the writers that the results stores know. Lanes that are over are let go: processed to
   * their end, or so long ago that the store has forgotten them.
   */
  lag(progress: ReadonlyMap<string, WriterProgress>, partitions: number): Lag[] {
    const isBegun = this.#beginnings()
    const lags = Array.from({ length: partitions }, () => ({ events: 0, bytes: 0 }))
    for (const [writer, lane] of this.#lanes) {
      const read = progress.get(writer)
      const { partition, gone } = lane
      const begun = gone && read === undefined && isBegun(writer, lane)
      const { events, bytes } = waitingIn({ ...lane, begun }, read)
      if (gone && events === 0) {
        this.#lanes.delete(writer)
        continue
      }
      lane.begun ||= read !== undefined
      lane.waiting = events
      lags[partition].events += events
      lags[partition].bytes += bytes
    }
    return lags
  }
}
