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
  /** The signal is aborted when it is not wanted any more before it is open. */
  open(partition: number, signal: AbortSignal): Promise<Work>
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
  readonly #opening = new Map<number, AbortController>()
  /** Those that ended by themselves, and are still to be closed. */
  readonly #over = new WeakSet<Work>()
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

  #isWanted(partition: number): boolean {
    return this.#owned.has(partition) && !this.#pausing.has(partition)
  }

  #tend(partition: number): void {
    if (!this.#isWanted(partition)) this.#opening.get(partition)?.abort()
    if (this.#tending.has(partition)) return
    const tending = this.#bring(partition)
      .catch((error: Error) => this.#ended(partition, error))
      .finally(() => {
        this.#tending.delete(partition)
        // It may have been taken away, or have broken, a moment ago.
        if (this.#failure === undefined && !this.#isAsWanted(partition)) this.#tend(partition)
      })
    this.#tending.set(partition, tending)
  }

  #isAsWanted(partition: number): boolean {
    const work = this.#working.get(partition)
    return this.#isWanted(partition) ? work !== undefined && !this.#over.has(work) : work === undefined
  }

  async #bring(partition: number): Promise<void> {
    while (!this.#isAsWanted(partition)) {
      const work = this.#working.get(partition)
      if (work === undefined) {
        await this.#open(partition)
        continue
      }
      this.#working.delete(partition)
      await work.close() // rejects with what it broke of
    }
  }

  async #open(partition: number): Promise<void> {
    const opening = new AbortController()
    this.#opening.set(partition, opening)
    try {
      const work = await this.#parts.open(partition, opening.signal)
      this.#working.set(partition, work)
      work.ended.catch(() => {
        this.#over.add(work)
        this.#tend(partition)
      })
    } catch (error) {
      if (!opening.signal.aborted) throw error
    } finally {
      this.#opening.delete(partition)
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
