// What listeners and gateways have written, as they said last, or as the log says once they are gone. Those of one that is
// gone, replaced or killed, are kept until they are processed: what was accepted stays accepted, and what waits still waits.

import { waitingIn } from '../api/status.ts'
import { LANES_GONE_MAX } from '../limits.ts'
import type { Written } from '../log/log.ts'
import type { WriterProgress } from '../results/progress.ts'
import type { LaneReport, ListenerReport } from './link.ts'

interface Lane {
  partition: number
  written: Written
  /** Some of it is processed. */
  begun: boolean
  /** Its process is. */
  gone: boolean
  /** The log has told of it, since. */
  left: boolean
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
      this.#lanes.set(writer, { partition, written, begun, gone: false, left: false, waiting })
    })
  }

  /** What the log has of a writer that is gone. */
  left(partition: number, writer: string, written: Written): void {
    const { begun = false, gone = true, waiting = 0 } = this.#lanes.get(writer) ?? {}
    if (gone) this.#lanes.set(writer, { partition, written, begun, gone, left: true, waiting })
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
    const gone = [...this.#lanes].filter(([, lane]) => lane.gone)
    for (const [writer] of gone.slice(0, -LANES_GONE_MAX)) this.#lanes.delete(writer)
    return lost
  }

  all(): LaneReport[] {
    return [...this.#lanes].map(([writer, lane]) => ({
      writer,
      written: lane.written,
      begun: lane.gone && this.#isBegun(writer, lane),
      left: lane.left,
    }))
  }

  /** Also of one that was begun, processed to its end and forgotten since it was last looked at. */
  #isBegun(writer: string, { partition, begun }: Lane): boolean {
    return begun || this.#onDisk(partition)?.has(writer) === false
  }

  /**
   * By partition. `progress`: of the writers that the results stores know. Lanes that are over are let go: processed to
   * their end, or so long ago that the store has forgotten them.
   */
  lag(progress: ReadonlyMap<string, WriterProgress>, partitions: number): Lag[] {
    const lags = Array.from({ length: partitions }, () => ({ events: 0, bytes: 0 }))
    for (const [writer, lane] of this.#lanes) {
      const read = progress.get(writer)
      const { partition, gone } = lane
      const begun = gone && read === undefined && this.#isBegun(writer, lane)
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
