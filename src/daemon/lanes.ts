// What listeners and gateways have written, as they said last. Those of one that is gone, replaced or killed, are kept
// until they are processed: what was accepted stays accepted, and what waits still waits.

import { LANES_GONE_MAX } from '../limits.ts'
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
}

export interface Lag {
  events: number
  bytes: number
}

export class Lanes {
  /** By writer; those that are gone in the order in which they went. */
  readonly #lanes = new Map<string, Lane>()
  readonly #last = new Map<object, ListenerReport>()

  /** How the lanes of a process stand. */
  told(process: object, report: ListenerReport): void {
    this.#last.set(process, report)
    report.lanes.forEach(({ writer, written }, partition) => {
      const begun = this.#lanes.get(writer)?.begun ?? false
      this.#lanes.set(writer, { partition, written, begun, gone: false })
    })
  }

  /** The last that a process said. */
  last(process: object): ListenerReport | undefined {
    return this.#last.get(process)
  }

  /** A process is over. `kept`: what it has written does not depend on it. */
  gone(process: object, kept: boolean): void {
    for (const { writer } of this.#last.get(process)?.lanes ?? []) {
      const lane = this.#lanes.get(writer)
      this.#lanes.delete(writer)
      if (kept && lane !== undefined && lane.written.events > 0)
        this.#lanes.set(writer, { ...lane, gone: true })
    }
    this.#last.delete(process)
    const gone = [...this.#lanes].filter(([, lane]) => lane.gone)
    for (const [writer] of gone.slice(0, -LANES_GONE_MAX)) this.#lanes.delete(writer)
  }

  all(): ListenerReport['lanes'] {
    return [...this.#lanes].map(([writer, { written }]) => ({ writer, written }))
  }

  /**
   * By partition. `progress`: of the writers that the results stores know. Lanes that are over are let go: processed to
   * their end, or so long ago that the store has forgotten them.
   */
  lag(progress: ReadonlyMap<string, WriterProgress>, partitions: number): Lag[] {
    const lags = Array.from({ length: partitions }, () => ({ events: 0, bytes: 0 }))
    for (const [writer, lane] of this.#lanes) {
      const read = progress.get(writer)
      const { partition, written, begun, gone } = lane
      const events = Math.max(0, written.events - (read?.events ?? 0))
      if (gone && (events === 0 || (begun && read === undefined))) {
        this.#lanes.delete(writer)
        continue
      }
      lane.begun ||= read !== undefined
      if (events === 0) continue
      lags[partition].events += events
      lags[partition].bytes += written.backlogBytes
    }
    return lags
  }
}
