// Looks through the log that is not consumed, so that it does not grow without bound although nobody commits it: what
// the ledger has may go. It stays at the first segment that was not counted: one that will be read from the other log
// in a moment, or one that the other log lacks, which only `millrace reconcile` can settle.
//
// It is one long reading of that log, paused while nothing is to be done, and never in the way of the other one.

import { OVERDUE_MS, WALK_INTERVAL_MS_MAX, WALK_SEGMENTS_PER_TURN } from '../../limits.ts'
import type { BrokerReader } from '../broker.ts'
import type { LogEntry, Position } from '../log.ts'
import type { Segment } from '../segment.ts'

export interface WalkHooks {
  /**
   * All of this lane below `next` is counted: the position from which it would be consumed. What was counted may still
   * have to reach the disk: the lane is trimmed once this position has. `receivedAt`: of the segment before it.
   */
  onWalked(lane: string, next: number, receivedAt: number): void
  /** The log that is consumed has long passed where this segment should have been. Told once for each. */
  onOverdue(kind: BrokerReader['kind'], writer: string, sequence: number): void
  /** The log cannot be read; it is tried again. */
  onError(error: Error): void
}

export interface WalkParts {
  reader: BrokerReader
  /** It goes on when so many bytes were read from the other log. */
  bytes: number
  counted(writer: string, sequence: number, receivedAt: number): boolean
  hooks: WalkHooks
}

export class Walk {
  readonly #parts: WalkParts
  /** Read from the other log since it was last gone on. */
  #bytes = 0
  /** Of what was read from the other log: Unix milliseconds. */
  #newest = 0
  #wake: () => void = () => {}
  /** Where its lane stands: for a reading that begins anew. */
  readonly #place: Map<string, number>

  /** `from`: where the lane stood when this process began. */
  constructor(parts: WalkParts, from: Position) {
    this.#parts = parts
    this.#place = new Map(from)
  }

  /** A segment was read from the other log. */
  yielded(segment: Segment): void {
    this.#newest = Math.max(this.#newest, segment.receivedAt)
    this.#bytes += segment.bytes.length
    if (this.#bytes >= this.#parts.bytes) this.#wake()
  }

  /** Never rejects. Ends when the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#due(signal)
      if (signal.aborted) return
      try {
        await this.#walk(signal)
      } catch (error) {
        this.#parts.hooks.onError(error as Error)
      }
    }
  }

  async #walk(signal: AbortSignal): Promise<void> {
    const { reader, hooks } = this.#parts
    let turn = 0
    for await (const entry of reader.read(new Map(this.#place), signal)) {
      const { receivedAt } = entry.segment
      await this.#until(entry, signal)
      if (signal.aborted) return
      this.#place.set(entry.lane, entry.next)
      hooks.onWalked(entry.lane, entry.next, receivedAt)
      if (++turn % WALK_SEGMENTS_PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Waits until this segment is counted. */
  async #until({ segment }: LogEntry, signal: AbortSignal): Promise<void> {
    const { reader, counted, hooks } = this.#parts
    const { writer, sequence, receivedAt } = segment
    for (let overdue = 0; !counted(writer, sequence, receivedAt); ) {
      // Told when it is so for the second time: what was read a moment ago may be counted in the next one.
      if (this.#newest - receivedAt > OVERDUE_MS) overdue++
      if (overdue === 2) hooks.onOverdue(reader.kind, writer, sequence)
      await this.#due(signal)
      if (signal.aborted) return
    }
  }

  /** Resolves when enough was read from the other log, when it was long ago, or at the end. */
  async #due(signal: AbortSignal): Promise<void> {
    if (this.#bytes < this.#parts.bytes && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, WALK_INTERVAL_MS_MAX)
        timer.unref()
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
        signal.addEventListener('abort', this.#wake, { once: true })
      })
      signal.removeEventListener('abort', this.#wake)
    }
    this.#bytes = 0
  }
}
