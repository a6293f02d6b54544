// What listeners and gateways have written, as they said last. Those of one that is gone, replaced or killed, are kept
// until they are processed: what was accepted stays accepted, and what waits still waits.

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
  /** Events that waited when it was last looked. */
  waiting: number
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
      const { begun = false, waiting = 0 } = this.#lanes.get(writer) ?? {}
      this.#lanes.set(writer, { partition, written, begun, gone: false, waiting })
    })
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
    return [...this.#lanes].map(([writer, { written, begun, gone }]) => ({
      writer,
      written,
      begun: begun && gone,
    }))
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
      lane.waiting = events
      if (events === 0) continue
      lags[partition].events += events
      lags[partition].bytes += written.backlogBytes
    }
    return lags
  }
}
