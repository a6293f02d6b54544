// Runs handlers over blocks of events, in a thread of the pool. What a handler does for one event takes effect when its
// `map` has ended well, or not at all.

import type { HandlerPlan } from '../config/config.ts'
import { type Emit, type EventView, type HandlerDefinition, type Outcome, ok } from '../handler.ts'
import {
  DEAD_LETTER_REASON_BYTES_MAX,
  DROP_REASON_CHARACTERS_MAX,
  DROP_REASONS_MAX,
  RESULT_BYTES_PER_EVENT_MAX,
  RESULTS_PER_EVENT_MAX,
  TASK_EFFECT_BYTES_TARGET,
} from '../limits.ts'
import { OTHER_REASONS } from '../results/handler-counts.ts'
import { unstorable } from '../results/handler-results.ts'
import type { Aggregates } from './aggregates.ts'
import { type Effects, type Letter, packResults, type Result } from './effects.ts'
import { Emitted } from './emitted.ts'
import { View } from './event-view.ts'
import type { Fields } from './fields.ts'
import { type Condition, compileEmitted, matches } from './measure.ts'
import type { Seed } from './seed.ts'

/** A handler whose module is loaded. */
export interface Loaded {
  plan: HandlerPlan
  map: HandlerDefinition['map']
}

/** An event that a handler is not to be called for again: it starts at `from` in the task's frames. */
export interface Skip {
  handler: number
  from: number
  /** It becomes a dead letter for this. */
  reason: string
}

// Where a thread is, in memory that the pool can read when the thread does not answer: two numbers of 32 bits.
/** The handler that is being called, from 1; 0 is none, LOADING while modules are loaded, LEAVING after the last call. */
export const AT_HANDLER = 0
/** The number of the event in the task, from 0. */
export const AT_EVENT = 1
export const AT_BYTES = 8
export const LOADING = -1
/** What handlers have left for later is running: nobody knows of which event. */
export const LEAVING = -2

const NO_SKIPS: readonly Skip[] = []

export class Handling {
  readonly #running: Running[]
  readonly #fields: Fields
  readonly #view: View
  #at: Int32Array = new Int32Array(AT_BYTES / 4)
  /** Of events in the task. */
  #events = 0
  #skips = NO_SKIPS
  #letters: Letter[] = []
  #results = new Map<string, Result>()
  /** Of results and of rows that were emitted. */
  #bytes = 0

  /** `conditions` of the handlers, over the columns of `fields`; `attributes` are those that these have. */
  constructor(
    handlers: readonly Loaded[],
    conditions: readonly Condition[][],
    fields: Fields,
    attributes: readonly Uint8Array[],
    seed: Seed,
  ) {
    this.#fields = fields
    this.#view = new View(fields, attributes)
    this.#running = handlers.map((one, i) => new Running(one, conditions[i], this.#view, seed))
  }

  /** Of the handlers' measures, in their order. */
  get tables(): Aggregates[] {
    return this.#running.flatMap(({ emitted }) => emitted.map(({ table }) => table))
  }

  /** True when what is there is enough for one task. */
  get full(): boolean {
    return this.#bytes > TASK_EFFECT_BYTES_TARGET
  }

  /** Starts a task. `only`: the one handler that is to be called. */
  begin(at: Int32Array, skips: readonly Skip[] = NO_SKIPS, only?: string): void {
    this.#at = at
    this.#events = 0
    this.#skips = skips
    for (const one of this.#running) one.begin(only === undefined || one.plan.name === only)
  }

  /**
   * Handles the block in the fields, which stands in frames[from, to). Returns where it ended in the frames: before `to`
   * where that is enough for one task; the events behind that are cut off the block.
   */
  run(from: number, to: number): number {
    const { size } = this.#fields
    const running = this.#running
    const view = this.#view
    const at = this.#at
    view.block(from, to)
    for (let event = 0; event < size; event++) {
      at[AT_EVENT] = this.#events + event
      view.show(event)
      for (let i = 0; i < running.length; i++) {
        const one = running[i]
        if (!one.wants(this.#fields, event)) continue
        if (this.#skips.length > 0 && this.#skipped(i)) continue
        at[AT_HANDLER] = i + 1
        const outcome = one.call(view)
        if (outcome === undefined) this.#bytes += one.keep()
        else this.#settle(one, i, outcome)
        at[AT_HANDLER] = 0
        if (one.results.length > 0) this.#store(one)
      }
      if (this.full && event + 1 < size) {
        this.#events += event + 1
        this.#fields.cut(event + 1)
        return view.to
      }
    }
    this.#events += size
    return to
  }

  /** Ends the task: the tables have all, and the rest is returned. */
  end(): Effects {
    for (const one of this.#running) one.fold()
    const effects: Effects = {
      handled: this.#running.map(({ handled }) => handled),
      dropped: this.#running.flatMap(({ dropped }, handler) =>
        [...dropped].map(([reason, events]) => ({ handler, reason, events })),
      ),
      letters: this.#letters,
      results: packResults(this.#results),
    }
    this.#letters = []
    this.#results = new Map()
    this.#bytes = 0
    this.#view.end()
    return effects
  }

  #skipped(handler: number): boolean {
    const { from } = this.#view
    const skip = this.#skips.find((one) => one.handler === handler && one.from === from)
    if (skip !== undefined) this.#bury(handler, skip.reason)
    return skip !== undefined
  }

  #settle(one: Running, handler: number, outcome: unknown): void {
    const { kind, reason } = outcomeOf(outcome)
    if (kind === 'ok') {
      this.#bytes += one.keep()
      return
    }
    one.forget()
    if (kind === 'drop') one.drop(reason)
    else this.#bury(handler, reason)
  }

  #bury(handler: number, reason: string): void {
    const { from, to } = this.#view
    // Of the reason no more than is kept: a message may be as long as it likes, and each event may have one.
    // A copy: a slice would keep the whole.
    const kept = Buffer.from(reason.slice(0, DEAD_LETTER_REASON_BYTES_MAX)).toString()
    this.#bytes += kept.length
    this.#letters.push({ handler, reason: kept, from, to })
  }

  #store({ results }: Running): void {
    const { from } = this.#view
    for (const [key, bytes] of results) {
      const before = this.#results.get(key)
      this.#bytes += bytes.length - (before?.bytes.length ?? -key.length)
      this.#results.set(key, { from, bytes })
    }
    results.length = 0
  }
}

/** One handler at work. */
class Running {
  readonly plan: HandlerPlan
  readonly #map: HandlerDefinition['map']
  /** What it is given to emit with, and nothing else of this. */
  readonly #emit: Emit
  readonly #conditions: Condition[]
  readonly #view: View
  readonly emitted: Emitted[]
  readonly #byName: Map<string, Emitted>
  #last: Emitted | undefined
  #lastName = ''
  #wanted = true
  /** `map` is being called: what is emitted at any other time would count for another event. */
  #open = false
  handled = 0
  dropped = new Map<string, number>()
  /** Of the event at hand; left when it ended well. */
  results: [key: string, bytes: Uint8Array][] = []
  #resultBytes = 0

  constructor({ plan, map }: Loaded, conditions: Condition[], view: View, seed: Seed) {
    this.plan = plan
    this.#map = map
    this.#conditions = conditions
    this.#view = view
    this.emitted = plan.measures.map(
      (measure, i) => new Emitted(measure.name, measure.by, compileEmitted(measure, i), seed),
    )
    this.#byName = new Map(plan.measures.map(({ name }, i) => [name, this.emitted[i]]))
    this.#emit = Object.freeze({ measure: this.#measure.bind(this), result: this.#result.bind(this) })
  }

  begin(wanted: boolean): void {
    this.#wanted = wanted
    this.handled = 0
    this.dropped = new Map()
  }

  wants(fields: Fields, event: number): boolean {
    if (!this.#wanted) return false
    const conditions = this.#conditions
    for (let i = 0; i < conditions.length; i++) {
      const { field } = conditions[i]
      if (!matches(conditions[i], fields.frames, fields.starts[field][event], fields.ends[field][event]))
        return false
    }
    return true
  }

  /** What came of it, or undefined where all is well. */
  call(view: EventView): unknown {
    const map = this.#map // called without `this`, which would be all of this
    this.#open = true
    this.#resultBytes = 0
    try {
      return map(view, this.#emit)
    } catch (error) {
      return { kind: 'deadLetter', reason: messageOf(error) } satisfies Outcome
    } finally {
      this.#open = false
    }
  }

  #measure(name: string, key: string | readonly string[], value?: number, time?: number | bigint): void {
    if (!this.#open) throw tooLate()
    if (name !== this.#lastName || this.#last === undefined) this.#turnTo(name)
    this.#last!.add(this.#view, key, value, time)
  }

  #turnTo(name: string): void {
    const found = this.#byName.get(name)
    if (found === undefined) {
      const names = [...this.#byName.keys()].join(', ') || 'none'
      throw new RangeError(`there is no measure ${name} in this handler's measures: ${names}`)
    }
    this.#last = found
    this.#lastName = name
  }

  #result(key: string, bytes: Uint8Array | string): void {
    if (!this.#open) throw tooLate()
    if (typeof key !== 'string') throw new TypeError('the key of a result is not a text')
    if (typeof bytes !== 'string' && !(bytes instanceof Uint8Array)) {
      throw new TypeError(`the result ${JSON.stringify(key.slice(0, 40))} is neither bytes nor a text`)
    }
    const copy = typeof bytes === 'string' ? Buffer.from(bytes) : Uint8Array.from(bytes)
    const why = unstorable(key, copy)
    if (why !== undefined) throw new RangeError(why)
    if (this.results.length === RESULTS_PER_EVENT_MAX) {
      throw new RangeError(`more than ${RESULTS_PER_EVENT_MAX} results are stored for one event`)
    }
    this.#resultBytes += copy.length
    if (this.#resultBytes > RESULT_BYTES_PER_EVENT_MAX) {
      throw new RangeError(`the results of one event have more than ${RESULT_BYTES_PER_EVENT_MAX} bytes`)
    }
    this.results.push([key, copy])
  }

  /** Returns by how many bytes its tables have grown. */
  keep(): number {
    this.handled++
    const { emitted } = this
    let grown = 0
    for (let i = 0; i < emitted.length; i++) grown += emitted[i].keep()
    return grown
  }

  forget(): void {
    this.results.length = 0
    for (const one of this.emitted) one.forget()
  }

  drop(reason: string): void {
    const short = reason.slice(0, DROP_REASON_CHARACTERS_MAX)
    const known = this.dropped.has(short) || this.dropped.size < DROP_REASONS_MAX
    const counted = known ? short : OTHER_REASONS
    this.dropped.set(counted, (this.dropped.get(counted) ?? 0) + 1)
  }

  fold(): void {
    for (const one of this.emitted) one.fold()
  }
}

function tooLate(): Error {
  return new Error('emit was called after map had returned: what an event leads to has to be known by then')
}

/** Never throws, whatever a handler has returned. */
function outcomeOf(returned: unknown): { kind: Outcome['kind']; reason: string } {
  try {
    return read(returned)
  } catch {
    return { kind: 'deadLetter', reason: 'map returned what cannot be read' }
  }
}

/** Reads what code of others has made: a getter and a conversion to a text may throw. */
function read(returned: unknown): { kind: Outcome['kind']; reason: string } {
  if (returned === ok) return { kind: 'ok', reason: '' }
  const { kind, reason, then } = (returned ?? {}) as { kind?: unknown; reason?: unknown; then?: unknown }
  if (kind === 'ok') return { kind, reason: '' }
  if (kind === 'drop' || kind === 'deadLetter') return { kind, reason: String(reason ?? '') || 'no reason' }
  if (typeof then === 'function') {
    void Promise.resolve(returned).catch(() => {})
    return { kind: 'deadLetter', reason: 'map returned a promise: it has to be done when it returns' }
  }
  const what = returned === null ? 'null' : typeof returned === 'object' ? 'an object' : String(returned)
  const reasons = `map returned ${what.slice(0, 40)}: return nothing, ok, drop(reason) or deadLetter(reason)`
  return { kind: 'deadLetter', reason: reasons }
}

/** Of whatever was thrown. */
function messageOf(error: unknown): string {
  try {
    const message = error instanceof Error ? error.message || error.name : String(error)
    return typeof message === 'string' && message !== '' ? message : 'an error without a message'
  } catch {
    return 'an error that cannot be told'
  }
}
