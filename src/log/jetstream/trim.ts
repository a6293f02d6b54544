// Removes from the stream what is committed and no longer kept as history.
//
// The newest committed message of each partition stays, where the budget is large enough for that. The stream's first
// number says little where partitions share it: it passes our position when others are trimmed. With that message in place
// it cannot, unless somebody else has removed messages.

import type { Config } from '../../config/config.ts'
import { TRIM_INTERVAL_MS } from '../../limits.ts'
import type { History } from '../history.ts'
import type { Link } from './connection.ts'
import { managerOf, messageBytesMax } from './stream.ts'

/** Part of the budget that may be taken by messages that are kept for that reason alone. */
const KEPT_PART = 1 / 4

export function newestStays(config: Config): boolean {
  const { partitions, retention } = config.log
  return partitions * messageBytesMax(config) <= retention.maxBytes * KEPT_PART
}

export interface TrimmerParts {
  link: Link
  config: Config
  subject: string
  history: () => History
}

export class Trimmer {
  readonly #parts: TrimmerParts
  readonly #kept: number
  readonly #timer: NodeJS.Timeout
  #committed = 0
  /** All below it may go. */
  #below = 0
  #done = 0
  #running: Promise<void> | undefined

  constructor(parts: TrimmerParts) {
    this.#parts = parts
    this.#kept = newestStays(parts.config) ? 1 : 0
    this.#timer = setInterval(() => this.#trim(), TRIM_INTERVAL_MS).unref()
  }

  /** Everything before this number is committed. */
  committed(next: number): void {
    this.#committed = next
  }

  /** The numbers speak of other messages now. */
  reset(): void {
    this.#committed = 0
    this.#below = 0
    this.#done = 0
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  #trim(): void {
    if (this.#running !== undefined) return
    const below = this.#parts.history().trimTo(this.#committed, performance.now())
    if (below !== undefined) this.#below = Math.max(this.#below, below)
    const to = Math.min(this.#below, this.#committed - this.#kept)
    if (to <= this.#done || this.#parts.link.connection === undefined) return
    this.#running = this.#purge(to)
      .then(() => {
        this.#done = to
      })
      .catch(() => {}) // what could not be removed now is at the next turn
      .finally(() => {
        this.#running = undefined
      })
  }

  async #purge(to: number): Promise<void> {
    const { link, config, subject } = this.#parts
    const connection = link.connection
    if (connection === undefined) throw new Error('away')
    const { stream } = config.log.jetstream
    const { streams } = await managerOf(connection)
    // By number alone it takes no time at all, but it takes every subject's messages: those of partitions that were
    // configured once are not ours to remove.
    const alone = config.log.partitions === 1 && (await streams.info(stream)).state.num_subjects === 1
    await streams.purge(stream, alone ? { seq: to } : { seq: to, filter: subject })
  }
}
