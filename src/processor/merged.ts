// The processor's rows as they stand: a row is read from the store when a delta first touches it, deltas are added to
// it, and those touched since the last commit are put into the next one.

import type { Config, Measure } from '../config/config.ts'
import {
  CHECKPOINT_ROWS_MAX,
  COMMITTED_ROWS_MAX,
  MERGED_BUCKETS_MAX,
  MERGED_KEY_BYTES_MAX,
  MERGED_ROWS_MAX,
} from '../limits.ts'
import { identity } from '../results/catalogue.ts'
import { Delta } from './delta.ts'
import type { RowBatch } from './placement.ts'
import { type RowSource, Rows } from './rows.ts'
import { processSeed } from './seed.ts'

/** The small part of the store that is needed here. */
export interface RowStore extends RowSource {
  measures(): { id: number; measure: Measure }[]
}

/** What is counted, in the order of the sections of a delta: what the configuration names, then what handlers emit to. */
export function measuresOf({ measures, plans = [] }: Pick<Config, 'measures' | 'plans'>): Measure[] {
  return [...measures, ...plans.flatMap((plan) => plan.measures)]
}

export class Merged {
  /** In the order of the configuration. */
  readonly #measures: readonly Rows[]
  readonly #rowsMax: number

  /** `measures` as configured; the store's owner has given them ids. `rowsMax`: to be kept, once committed. */
  constructor(store: RowStore, measures: readonly Measure[], rowsMax = MERGED_ROWS_MAX) {
    this.#rowsMax = rowsMax
    const known = new Map(store.measures().map(({ id, measure }) => [JSON.stringify(measure), id]))
    this.#measures = measures.map((measure) => {
      const id = known.get(JSON.stringify(identity(measure)))
      if (id === undefined) throw new Error(`measure ${measure.name} has no id: was the store taken over?`)
      const numbers = measure.value === 'value'
      return new Rows(id, numbers, numbers && measure.quantiles, store)
    })
  }

  /** Rows held in memory. */
  get rows(): number {
    return this.#sum(({ size }) => size)
  }

  #sum(of: (rows: Rows) => number): number {
    return this.#measures.reduce((sum, rows) => sum + of(rows), 0)
  }

  /** Adds a delta; returns its bytes. The store must be as it was after the last `write`: the same owner throughout. */
  merge(buffer: ArrayBufferLike): number {
    const delta = new Delta(buffer)
    const { seed, sections } = delta
    if (seed.start !== processSeed.start || seed.multiplier !== processSeed.multiplier) {
      throw new Error('a delta of another seed: its hashes say nothing here')
    }
    for (let i = 0; i < sections.length; i++) this.#measures[i].merge(sections[i])
    return delta.bytes
  }

  /** True while rows are not in their places in the store: commits are to go on, also without new rows. */
  get behind(): boolean {
    return this.#measures.some(({ behind }) => behind)
  }

  /** True when no more may be merged before the next commit, so that none takes too long. */
  get full(): boolean {
    const dirty = this.#sum(({ dirtySize }) => dirtySize)
    // In a hurry each row comes into its place, with another one.
    return dirty >= (this.#fullness > 1 ? CHECKPOINT_ROWS_MAX / 2 : COMMITTED_ROWS_MAX)
  }

  /** What is in memory, as a part of what may be: the greatest of these parts. */
  get #fullness(): number {
    const cells = this.#sum((measure) => measure.cells)
    const keyBytes = this.#sum((measure) => measure.keyBytes)
    return Math.max(this.rows / this.#rowsMax, cells / MERGED_BUCKETS_MAX, keyBytes / MERGED_KEY_BYTES_MAX)
  }

  /** Puts the rows touched since the last call into a commit. Returns how many there were. */
  write(batch: RowBatch): number {
    const hurry = this.#fullness > 1
    let rows = 0
    for (const measure of this.#measures) {
      rows += measure.dirtySize
      measure.write(batch, hurry)
    }
    return rows
  }

  /**
   * Lets go of rows that were not touched for long, and when there are too many, and half of them can go, of all that can. To be
   * called when the commit of the last `write` has resolved and before the next one: they can be read again from the store.
   */
  letGo(): void {
    const kept = this.#sum(({ keptSize }) => keptSize)
    const all = this.#fullness > 1 && kept * 2 <= this.rows
    // One measure at a time: it takes as long as a large commit.
    if (!all) this.#measures.some((measure) => measure.letGo(false))
    else this.#measures.reduce((a, b) => (b.size - b.keptSize > a.size - a.keptSize ? b : a)).letGo(true)
  }
}
