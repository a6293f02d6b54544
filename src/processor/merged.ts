// The processor's rows as they stand: a row is read from the store when a delta first touches it, deltas are added to
// it, and those touched since the last commit are put into the next one.

import type { Config, Measure } from '../config/config.ts'
import { MERGED_BUCKETS_MAX, MERGED_ROWS_MAX } from '../limits.ts'
import { identity } from '../results/catalogue.ts'
import { Delta } from './delta.ts'
import { type RowBatch, type RowSource, Rows } from './rows.ts'
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
  #measures: Rows[]
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
    return this.#measures.reduce((sum, { size }) => sum + size, 0)
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

  /** Puts the rows touched since the last call into a commit. Returns how many there were. */
  write(batch: RowBatch): number {
    let rows = 0
    for (const measure of this.#measures) {
      rows += measure.dirtySize
      measure.write(batch)
    }
    return rows
  }

  /**
   * Lets go of rows when there are too many. To be called when the commit of the last `write` has resolved and
   * before the next one: rows not touched since then can be read again from the store.
   */
  letGo(): void {
    const cells = this.#measures.reduce((sum, { buckets }) => sum + buckets.cells, 0)
    if (this.rows <= this.#rowsMax && cells <= MERGED_BUCKETS_MAX) return
    this.#measures = this.#measures.map((measure) => measure.touched())
  }
}
