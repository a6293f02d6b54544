// The partitions that a processor works on: opened when they become its own, drained when they go to another.

import type { Logger } from '../telemetry/logger.ts'

/** How long a partition that was taken away while it ran is left alone, where it is still said to be ours. */
const FENCED_PAUSE_MS = 1_000

/** A partition at work. */
export interface Work {
  /** Resolves or rejects when it is over. */
  readonly ended: Promise<void>
  /** Finishes what was begun and lets go. */
  close(): Promise<void>
}

export interface PartitionsParts {
  open(partition: number): Promise<Work>
  /** True for the error of one whose partition has another owner now. */
  isFenced(error: Error): boolean
  logger: Logger
  /** Something else went wrong: this process cannot go on. */
  failed(error: Error): void
}

export class Partitions {
  readonly #parts: PartitionsParts
  #owned: ReadonlySet<number> = new Set()
  readonly #working = new Map<number, Work>()
  /** Those that are being opened or closed. */
  readonly #tending = new Map<number, Promise<void>>()
  readonly #pausing = new Map<number, NodeJS.Timeout>()
  #failure: Error | undefined

  constructor(parts: PartitionsParts) {
    this.#parts = parts
  }

  /** These are owned now, and no others. */
  own(owned: ReadonlySet<number>): void {
    const before = this.#owned
    this.#owned = new Set(owned)
    for (const partition of new Set([...before, ...owned])) this.#tend(partition)
  }

  /** Resolves when everything is as the last call of `own` says. */
  async settled(): Promise<void> {
    while (this.#tending.size > 0) await Promise.all(this.#tending.values())
  }

  /** Rejects when something could not be finished. */
  async close(): Promise<void> {
    for (const timer of this.#pausing.values()) clearTimeout(timer)
    this.own(new Set())
    await this.settled()
    if (this.#failure !== undefined) throw this.#failure
  }

  #tend(partition: number): void {
    if (this.#tending.has(partition)) return
    const tending = this.#bring(partition)
      .catch((error: Error) => this.#ended(partition, error))
      .finally(() => this.#tending.delete(partition))
    this.#tending.set(partition, tending)
  }

  async #bring(partition: number): Promise<void> {
    for (;;) {
      const work = this.#working.get(partition)
      const wanted = this.#owned.has(partition) && !this.#pausing.has(partition)
      if (wanted === (work !== undefined)) return
      if (work !== undefined) {
        this.#working.delete(partition)
        await work.close()
        continue
      }
      const opened = await this.#parts.open(partition)
      this.#working.set(partition, opened)
      opened.ended.catch(() => {
        if (this.#working.get(partition) !== opened) return // it is being closed, which rejects as well
        this.#working.delete(partition)
        void opened.close().catch((failure: Error) => this.#ended(partition, failure))
      })
    }
  }

  #ended(partition: number, error: Error): void {
    const { isFenced, logger, failed } = this.#parts
    if (!isFenced(error)) {
      this.#failure ??= error
      failed(error)
      return
    }
    logger.warn({ partition }, 'this partition has another owner now')
    if (this.#pausing.has(partition)) return
    const again = () => {
      this.#pausing.delete(partition)
      this.#tend(partition)
    }
    this.#pausing.set(partition, setTimeout(again, FENCED_PAUSE_MS))
  }
}
