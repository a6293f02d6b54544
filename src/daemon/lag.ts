// What is written and not processed yet, also by listeners that have died since: their lanes are still in the log.

import { METRICS_LANE_MS_MAX, METRICS_LANES_MAX } from '../limits.ts'
import type { Written } from '../log/log.ts'
import type { WriterProgress } from '../results/progress.ts'
import type { ListenerReport } from './link.ts'

interface Lane {
  partition: number
  written: Written
  /** Some of it is processed. */
  begun: boolean
  /** When its listener was found to be gone, by performance.now(). */
  goneAt: number | undefined
}

export interface Lag {
  events: number
  bytes: number
}

export class Lanes {
  /** By writer. */
  readonly #lanes = new Map<string, Lane>()
  readonly #writers = new Map<object, string[]>()

  /** How the lanes of a process stand. */
  told(process: object, report: ListenerReport): void {
    this.#writers.set(
      process,
      report.lanes.map(({ writer }) => writer),
    )
    report.lanes.forEach(({ writer, written }, partition) => {
      const begun = this.#lanes.get(writer)?.begun ?? false
      this.#lanes.set(writer, { partition, written, begun, goneAt: undefined })
    })
  }

  gone(process: object): void {
    for (const writer of this.#writers.get(process) ?? []) this.#lanes.get(writer)!.goneAt = performance.now()
    this.#writers.delete(process)
    const gone = [...this.#lanes].filter(([, { goneAt }]) => goneAt !== undefined)
    for (const [writer] of gone.slice(0, -METRICS_LANES_MAX)) this.#lanes.delete(writer)
  }

  /** By partition. `progress`: of the writers that the results stores know. Lanes that are over are let go. */
  lag(progress: ReadonlyMap<string, WriterProgress>, partitions: number): Lag[] {
    const lags = Array.from({ length: partitions }, () => ({ events: 0, bytes: 0 }))
    const now = performance.now()
    for (const [writer, lane] of this.#lanes) {
      const read = progress.get(writer)
      if (read !== undefined) lane.begun = true
      const { partition, written, begun, goneAt } = lane
      const events = Math.max(0, written.events - (read?.events ?? 0))
      // The stores forget a writer when all of its lane is counted. One that they never knew may be such a one, too.
      const isForgotten = read === undefined && (begun || now - (goneAt ?? now) > METRICS_LANE_MS_MAX)
      if (goneAt !== undefined && (events === 0 || isForgotten)) {
        this.#lanes.delete(writer)
        continue
      }
      if (events === 0) continue
      lags[partition].events += events
      lags[partition].bytes += written.backlogBytes
    }
    return lags
  }
}
