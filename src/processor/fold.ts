// Folds the bytes of events into aggregates: no object and no string is made for an event.
//
// Events are taken in blocks: their fields are found (fields.ts), then each measure adds the block to its table
// (aggregates.ts).

import type { Measure } from '../config/config.ts'
import { Aggregates } from './aggregates.ts'
import { Delta } from './delta.ts'
import { BLOCK_EVENTS, Fields } from './fields.ts'
import { compile } from './measure.ts'
import { processSeed, type Seed } from './seed.ts'

export class Fold {
  readonly #seed: Seed
  readonly #fields: Fields
  readonly #tables: Aggregates[]

  /** `seed`: the one of the process that merges the deltas. */
  constructor(measures: readonly Measure[], seed: Seed = processSeed) {
    const compiled = compile(measures)
    this.#seed = seed
    this.#fields = new Fields(compiled.attributes)
    this.#tables = compiled.measures.map((measure) => new Aggregates(measure, seed))
  }

  /**
   * Folds frames laid end to end. `runs`: pairs of where a run ends in them and its time of receipt in Unix
   * milliseconds, which is the time of its events that carry none. The delta is written to `room` where it fits,
   * which may be where the frames are: they are not needed then. Otherwise it is in memory of its own.
   */
  task(frames: Uint8Array, runs: ArrayLike<number>, room?: SharedArrayBuffer): ArrayBufferLike {
    const fields = this.#fields
    fields.begin(frames)
    let events = 0
    let at = 0
    for (let run = 0; run < runs.length; run += 2) {
      const end = runs[run]
      fields.receivedAt(runs[run + 1])
      while (at < end) {
        at = fields.walk(at, end)
        if (fields.size === BLOCK_EVENTS) events += this.#addBlock()
      }
    }
    events += this.#addBlock()
    fields.end()

    const delta = Delta.of(
      events,
      this.#seed,
      this.#tables.map((table) => table.size()),
      room,
    )
    for (let i = 0; i < this.#tables.length; i++) this.#tables[i].take(delta.sections[i])
    return delta.buffer
  }

  /** Returns the number of events in it. */
  #addBlock(): number {
    const { size } = this.#fields
    for (let i = 0; i < this.#tables.length; i++) this.#tables[i].add(this.#fields)
    this.#fields.clear()
    return size
  }
}
