// The hottest keys of a measure, asked for again and again, but never so often that it would cost the daemon much.

import { setTimeout } from 'node:timers/promises'
import type { Row } from '../client/answers.ts'
import type { Client } from '../client/client.ts'

/** Keys whose counts are watched; of these, the fastest are shown. */
const KEYS_WATCHED = 100
const INTERVAL_MS = 2000
/** A query goes over all rows of the measure: the time between two is this many times what one takes. */
const INTERVAL_QUERIES = 20

export interface HotKey {
  key: string[]
  count: number
  /** Events a second; undefined before the second answer. */
  rate: number | undefined
}

export interface KeysView {
  measure: string | undefined
  by: 'rate' | 'count'
  keys: readonly HotKey[]
  /** Why there are none. */
  problem: string | undefined
}

export class HottestKeys {
  readonly #client: Client
  #view: KeysView
  #counts = new Map<string, number>()
  #askedAt = 0

  /** `measure`: the daemon's first one when undefined. */
  constructor(client: Client, measure: string | undefined, by: 'rate' | 'count') {
    this.#client = client
    this.#view = { measure, by, keys: [], problem: undefined }
  }

  get view(): KeysView {
    return this.#view
  }

  /** Until the signal is aborted. */
  async follow(signal: AbortSignal, changed: () => void): Promise<void> {
    while (!signal.aborted) {
      const startedAt = performance.now()
      try {
        await this.#ask(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#view = { ...this.#view, keys: [], problem: (error as Error).message }
      }
      changed()
      const wait = Math.max(INTERVAL_MS, (performance.now() - startedAt) * INTERVAL_QUERIES)
      await setTimeout(wait, undefined, { signal }).catch(() => {}) // aborted: over at once
    }
  }

  async #ask(signal: AbortSignal): Promise<void> {
    const { by } = this.#view
    const measure = this.#view.measure ?? (await this.#client.measures({ signal }))[0]?.name
    if (measure === undefined) {
      this.#view = { ...this.#view, problem: 'no measure is configured' }
      return
    }
    const rows = await this.#client.top(measure, { by: 'count', limit: KEYS_WATCHED, signal })
    const now = performance.now()
    const keys = rates(rows, this.#counts, (now - this.#askedAt) / 1000)
    if (by === 'rate') keys.sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.count - a.count)
    this.#counts = new Map(rows.map(({ key, count }) => [JSON.stringify(key), count]))
    this.#askedAt = now
    this.#view = { measure, by, keys, problem: undefined }
  }
}

/** `before`: counts by key so many seconds ago. */
function rates(rows: readonly Row[], before: ReadonlyMap<string, number>, seconds: number): HotKey[] {
  return rows.map(({ key, count }) => {
    const then = before.get(JSON.stringify(key))
    return { key, count, rate: then === undefined ? undefined : Math.max(0, count - then) / seconds }
  })
}
