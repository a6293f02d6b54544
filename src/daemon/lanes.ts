// What listeners and gateways have written, as they said last. Those of one that is gone, replaced or killed, are kept until
// they are processed: what was accepted stays accepted, and what waits still waits.

import { LANES_GONE_MAX } from '../limits.ts'
import type { WriterProgress } from '../results/progress.ts'
import type { ListenerReport } from './link.ts'

type Lane = ListenerReport['lanes'][number]

export class Lanes<Child> {
  readonly #said = new Map<Child, ListenerReport>()
  /** By writer, the oldest first. `read`: the store knew of it when it was last asked. */
  readonly #gone = new Map<string, Lane & { read: boolean }>()

  /** Those of the processes that are gone. */
  get gone(): Lane[] {
    return [...this.#gone.values()].map(({ writer, written }) => ({ writer, written }))
  }

  said(child: Child, report: ListenerReport): void {
    this.#said.set(child, report)
  }

  /** The last that it said. */
  last(child: Child): ListenerReport | undefined {
    return this.#said.get(child)
  }

  /** It is over. `kept`: what it has written does not depend on it. */
  over(child: Child, kept: boolean): void {
    for (const lane of this.#said.get(child)?.lanes ?? []) {
      if (kept && lane.written.events > 0) this.#gone.set(lane.writer, { ...lane, read: false })
    }
    this.#said.delete(child)
    for (const writer of this.#gone.keys()) {
      if (this.#gone.size <= LANES_GONE_MAX) break
      this.#gone.delete(writer)
    }
  }

  /** Lets go of those that are processed: to their end, or so long ago that the store has forgotten them. */
  settle(progress: Record<string, WriterProgress>): void {
    for (const [writer, lane] of this.#gone) {
      const { events } = progress[writer] ?? { events: undefined }
      if (events === undefined ? lane.read : events >= lane.written.events) this.#gone.delete(writer)
      lane.read = events !== undefined
    }
  }
}
