// When results become visible, and when they are safe: one commit at a time, as often as the writing of the last one
// allows; after each the store is flushed, and the log told how far it may let go.

import { statfs } from 'node:fs/promises'
import {
  COMMIT_INTERVAL_MS_BUSY,
  COMMIT_INTERVAL_MS_CALM,
  COMMIT_INTERVAL_MS_MAX,
  COMMIT_SHARE_BUSY,
  COMMIT_SHARE_CALM,
  IDLE_SHARE_MIN,
  STORE_FREE_BYTES_MIN,
} from '../limits.ts'
import type { Position } from '../log/log.ts'
import type { Store } from '../results/store.ts'
import type { StoreBatch } from '../results/writes.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Histogram, Metrics } from '../telemetry/metrics.ts'
import { Idle } from './idle.ts'

const SPACE_INTERVAL_MS = 250

export interface CommitsParts {
  /** Opened for writing. */
  store: Store
  /** Of the ownership that was taken: a commit under an older one is refused. */
  epoch: number
  /** Whose disk is to have room. */
  folder: string
  logger: Logger
  metrics: Metrics
  /** Puts what there is into a commit; returns how many rows that were. What it throws is the commit's failure. */
  write(write: StoreBatch): number
  /** More waits than may wait for its time. */
  isFull(): boolean
  /** There is something to commit, whether or not more comes. */
  hasMore(): boolean
  /** What was written last can be queried. Returns up to where it accounts for the log. */
  committed(): Position
  /** The log may let go of what is before this. */
  flushed(position: Position): void
  /** A commit is over: there may be room for what waited. */
  moved(): void
  /** A flush is over. Throws nothing. */
  tell(): void
  failed(error: Error): void
}

interface Waiter {
  resolve(): void
  reject(error: Error): void
}

export class Commits {
  readonly #parts: CommitsParts
  readonly #idle = new Idle()
  /** From when one is wanted until it is over. */
  #committing = false
  /** While it waits for its time. */
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  #count = 0
  /** As of the last one. */
  #position: Position = new Map()
  #flushing = false
  #spaceSeenAt = Number.NEGATIVE_INFINITY
  /** Those who wait for what is merged to be on disk; and whether some came since the last commit began. */
  readonly #waiters = new Set<Waiter>()
  #awaited = false
  #failure: Error | undefined
  readonly #seconds: Histogram
  readonly #rows: Histogram

  constructor(parts: CommitsParts) {
    this.#parts = parts
    this.#seconds = parts.metrics.histogram('millrace_commit_seconds', {})
    this.#rows = parts.metrics.histogram('millrace_commit_rows', {})
  }

  /** A commit is made, or wanted. */
  get committing(): boolean {
    return this.#committing
  }
  get flushing(): boolean {
    return this.#flushing
  }
  /** When the next one may start, by performance.now(). */
  get dueAt(): number {
    return this.#dueAt
  }

  /** Resolves when all that is merged so far is on disk. */
  durable(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiters.add({ resolve, reject })
      this.#awaited = true
      this.soon()
    })
  }

  /** Has one made when its time has come; at once where too much waits. */
  soon(): void {
    const now = this.#parts.isFull()
    const waiting = this.#timer !== undefined
    if (this.#committing && !(now && waiting)) return
    this.#committing = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    const wait = now ? 0 : this.#dueAt - performance.now()
    const commit = () => {
      this.#timer = undefined
      this.#commit().catch((error: Error) => this.#parts.failed(error))
    }
    if (wait > 0) this.#timer = setTimeout(commit, wait)
    else commit()
  }

  async #commit(): Promise<void> {
    const parts = this.#parts
    await this.#space()
    const startedAt = performance.now()
    let waiters: readonly Waiter[] = []
    await parts.store.commit(parts.epoch, (write) => {
      waiters = [...this.#waiters]
      this.#awaited = false
      const begunAt = performance.now()
      this.#rows.observe(parts.write(write))
      const writing = performance.now() - begunAt
      this.#dueAt = startedAt + commitInterval(writing, this.#idle.share(startedAt))
    })
    this.#seconds.observe((performance.now() - startedAt) / 1000)
    this.#position = parts.committed()
    this.#count++
    this.#committing = false
    void this.#flush()
    if (waiters.length > 0) void this.#release(waiters)
    if (this.#awaited || parts.hasMore()) this.soon()
    parts.moved()
  }

  /** The log may let go only of what is flushed: a power cut takes the store back to there. */
  async #flush(): Promise<void> {
    if (this.#flushing) return
    this.#flushing = true
    try {
      for (let flushed = 0; flushed !== this.#count; ) {
        flushed = this.#count
        const position = this.#position
        await this.#parts.store.flushed()
        this.#parts.flushed(position)
      }
    } catch (error) {
      this.#parts.failed(error as Error)
    }
    this.#flushing = false
    this.#parts.tell()
  }

  /** These waited for the commit that was called last. */
  async #release(waiters: readonly Waiter[]): Promise<void> {
    try {
      await this.#parts.store.flushed()
    } catch {
      return // whoever waits is told of the failure
    }
    for (const waiter of waiters) {
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  /** Waits while the disk is too full to write the store. */
  async #space(): Promise<void> {
    const { folder, logger } = this.#parts
    if (performance.now() - this.#spaceSeenAt < SPACE_INTERVAL_MS) return
    for (let told = false; ; told = true) {
      const { bavail, bsize } = await statfs(folder)
      this.#spaceSeenAt = performance.now()
      if (bavail * bsize >= STORE_FREE_BYTES_MIN) return
      if (!told) logger.error({ free: bavail * bsize }, 'the disk is full: commits wait until there is room')
      await new Promise((resolve) => setTimeout(resolve, SPACE_INTERVAL_MS))
    }
  }

  /** Whoever waits, or comes to wait, is told. */
  fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiters) reject(error)
    this.#waiters.clear()
  }
}

/** The least time from the start of a commit that took so long to be written to the next one's, milliseconds. */
function commitInterval(writing: number, idle: number): number {
  const wanted =
    idle < IDLE_SHARE_MIN
      ? Math.max(COMMIT_INTERVAL_MS_BUSY, writing / COMMIT_SHARE_BUSY)
      : Math.max(COMMIT_INTERVAL_MS_CALM, writing / COMMIT_SHARE_CALM)
  return Math.min(wanted, COMMIT_INTERVAL_MS_MAX)
}
