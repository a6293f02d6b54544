// Folds the bytes of events into aggregates: no object and no string is made for an event.
//
// Events are taken in blocks: their fields are found (fields.ts), then each handler is called for its events
// (handling.ts), which may end the task within the block, then each measure adds the block to its table (aggregates.ts).

import type { Measure } from '../config/config.ts'
import { Aggregates } from './aggregates.ts'
import { Delta } from './delta.ts'
import type { Effects } from './effects.ts'
import { BLOCK_EVENTS, Fields } from './fields.ts'
import { Handling, type Loaded } from './handling.ts'
import { compile } from './measure.ts'
import { processSeed, type Seed } from './seed.ts'

export class Fold {
  readonly #seed: Seed
  readonly #fields: Fields
  readonly #tables: Aggregates[]
  /** The tables of the handlers are behind those of the measures. */
  readonly handling: Handling | undefined
  /** Where the block starts in the frames. */
  #blockFrom = 0
  /** Where the last task ended: before the end of its frames where handlers had done enough by then. */
  stoppedAt = 0
  /** What handlers did in the last task beside emitting to measures. */
  effects: Effects | undefined

  /** `seed`: the one of the process that merges the deltas. */
  constructor(measures: readonly Measure[], seed: Seed = processSeed, handlers: readonly Loaded[] = []) {
    const compiled = compile(
      measures,
      handlers.map(({ plan }) => plan.match),
    )
    this.#seed = seed
    this.#fields = new Fields(compiled.attributes)
    this.#tables = compiled.measures.map((measure) => new Aggregates(measure, seed))
    if (handlers.length > 0) {
      this.handling = new Handling(handlers, compiled.matches, this.#fields, compiled.attributes, seed)
    }
  }

  /**
   * Folds frames laid end to end. `runs`: pairs of where a run ends in them and its time of receipt in Unix
   * milliseconds, which is the time of its events that carry none. The delta is written to `room` where it fits,
   * which may be where the frames are: they are not needed then. Otherwise it is in memory of its own. `from`: where
   * to start. `counts`: whether the measures do, or handlers only.
   */
  task(
    frames: Uint8Array,
    runs: ArrayLike<number>,
    room?: SharedArrayBuffer,
    from = 0,
    counts = true,
  ): ArrayBufferLike {
    const fields = this.#fields
    fields.begin(frames)
    this.#blockFrom = from
    const measures = counts ? this.#tables.length : 0
    let events = 0
    let at = from
    for (let run = 0; run < runs.length && this.handling?.full !== true; run += 2) {
      const end = Math.min(runs[run], frames.length)
      fields.receivedAt(runs[run + 1])
      while (at < end) {
        at = fields.walk(at, end)
        if (fields.size === BLOCK_EVENTS) {
          events += this.#addBlock(at, measures)
          at = this.#blockFrom
          if (this.handling?.full) break
        }
      }
    }
    events += this.#addBlock(at, measures)
    this.stoppedAt = this.#blockFrom
    this.effects = this.handling?.end()
    return this.#delta(events, room)
  }

  #delta(events: number, room: SharedArrayBuffer | undefined): ArrayBufferLike {
    this.#fields.end()
    const tables = this.handling === undefined ? this.#tables : [...this.#tables, ...this.handling.tables]

    const delta = Delta.of(
      events,
      this.#seed,
      tables.map((table) => table.size()),
      room,
    )
    for (let i = 0; i < tables.length; i++) tables[i].take(delta.sections[i])
    return delta.buffer
  }

  /** `to`: where it ends in the frames; handlers may end it before. Returns the number of events in it. */
  #addBlock(to: number, measures: number): number {
    this.#blockFrom = this.handling?.run(this.#blockFrom, to) ?? to
    const { size } = this.#fields
    for (let i = 0; i < measures; i++) this.#tables[i].add(this.#fields)
    this.#fields.clear()
    return size
  }
}
