// What handlers did beside emitting to measures, as it stands since the last commit: results, dead letters, and how many
// events were handled or dropped. Put into the commit that counts the events.

import type { HandlerPlan } from '../config/config.ts'
import type { DeadLetters } from '../results/dead-letters.ts'
import {
  addDropped,
  type HandlerCounts,
  putHandlerCounts,
  readHandlerCounts,
} from '../results/handler-counts.ts'
import { getResult, putResult, type ResultBatch, type ResultSource } from '../results/handler-results.ts'
import type { MetaBatch, MetaReader } from '../results/progress.ts'
import type { Batch } from './batch.ts'
import { type Effects, unpackResults } from './effects.ts'

interface Stored {
  at: number
  bytes: Uint8Array
}

export class Handled {
  readonly letters: DeadLetters
  readonly #names: string[]
  readonly #counts: HandlerCounts[]
  readonly #changed = new Set<number>()
  readonly #store: ResultSource
  #results = new Map<string, Stored>()
  /** Those of the last `write`, which the store may not show yet. */
  #written = new Map<string, Stored>()

  constructor(store: MetaReader & ResultSource, plans: readonly HandlerPlan[], letters: DeadLetters) {
    this.#store = store
    this.letters = letters
    this.#names = plans.map(({ name }) => name)
    this.#counts = this.#names.map((name) => readHandlerCounts(store, name))
  }

  /** Adds the effects of a batch, or of a part of it. In log order. */
  merge(effects: Effects, batch: Pick<Batch, 'event' | 'receivedAt' | 'correlationId' | 'again'>): void {
    const { handled, dropped, letters, results } = effects
    handled.forEach((events, handler) => {
      if (events > 0) this.#changes(handler).handled += events
    })
    for (const { handler, reason, events } of dropped) {
      addDropped(this.#changes(handler).dropped, reason, events)
    }
    const now = Date.now()
    for (const { handler, reason, from, to } of letters) {
      this.#changes(handler).deadLettered++
      const letter = { handler: this.#names[handler], reason, event: batch.event(from, to) }
      const about = { at: batch.receivedAt(from), correlationId: batch.correlationId(from) }
      this.letters.add({ ...letter, ...about }, now)
    }
    for (const [key, { from, bytes }] of unpackResults(results)) {
      const at = batch.receivedAt(from)
      // A dead letter that is handled again comes behind its time: what a later event has stored stays.
      if (batch.again !== undefined && this.#storedAt(key) > at) continue
      this.#results.set(key, { at, bytes })
    }
  }

  /** Puts what has changed since the last call into a commit, but for the letters, whose owner does that. */
  write(batch: ResultBatch & MetaBatch): void {
    for (const [key, { at, bytes }] of this.#results) putResult(batch, key, bytes, at)
    this.#written = this.#results
    this.#results = new Map()
    for (const handler of this.#changed) putHandlerCounts(batch, this.#names[handler], this.#counts[handler])
    this.#changed.clear()
  }

  /** To be called when the commit of the last `write` has resolved. */
  letGo(): void {
    this.#written = new Map()
  }

  #storedAt(key: string): number {
    const stored = this.#results.get(key) ?? this.#written.get(key) ?? getResult(this.#store, key)
    return stored?.at ?? Number.NEGATIVE_INFINITY
  }

  #changes(handler: number): HandlerCounts {
    this.#changed.add(handler)
    return this.#counts[handler]
  }
}
