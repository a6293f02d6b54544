// What a handler's module imports from this package: `import { defineHandler, drop, deadLetter } from 'millrace'`.

/** An event as a handler sees it. A field is decoded when it is read; the view holds until `map` returns. */
export interface EventView {
  readonly id: string
  readonly source: string
  readonly type: string
  readonly subject: string
  /** Unix milliseconds, rounded down: the event's own time, or that of its receipt where it carries none. */
  readonly time: number
  /** The same in nanoseconds. */
  readonly timeUnixNano: bigint
  /** Undefined where the event carries none. */
  readonly value: number | undefined
  /** A copy of the bytes. */
  readonly data: Uint8Array
  readonly datacontenttype: string
  /** All of them, decoded. */
  readonly attributes: Readonly<Record<string, string>>
  /** One of them, without decoding the others; empty where the event has none of this name. */
  attribute(name: string): string
  /** `data` as JSON; throws SyntaxError where it is none. */
  json(): unknown
}

/** What a handler may do with an event. All of it takes effect together, or nothing where `map` does not end well. */
export interface Emit {
  /**
   * Counts `value` under a key in a measure that the handler declares. `key`: one text for each name in its `by`, a
   * lone one also by itself. `value` is ignored where the measure takes none. `time`: Unix milliseconds, or
   * nanoseconds as a bigint; the event's where it is left out. Throws where something of this is not so.
   */
  measure(name: string, key: string | readonly string[], value?: number, time?: number | bigint): void
  /** Stores bytes, or UTF-8 of a text, under a key, in place of what was there. Both are copied. */
  result(key: string, bytes: Uint8Array | string): void
}

/** What came of an event. Where `map` returns nothing, it is `ok`. */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'drop'; readonly reason: string }
  | { readonly kind: 'deadLetter'; readonly reason: string }

export const ok: Outcome = Object.freeze({ kind: 'ok' })

/** The event is of no use: what was emitted for it is forgotten, and it is counted under the reason. */
export function drop(reason: string): Outcome {
  return { kind: 'drop', reason }
}

/** The event is wrong: what was emitted for it is forgotten, and it is kept with the reason. */
export function deadLetter(reason: string): Outcome {
  return { kind: 'deadLetter', reason }
}

/** A measure that a handler emits to: as in the configuration, but that `by` names what its keys are made of. */
export interface HandlerMeasure {
  name: string
  by: readonly string[]
  /** `none` counts, and takes no value. */
  value?: 'value' | 'none'
  /** `1m` where it is left out, or `all`. */
  window?: string
  quantiles?: boolean
}

export interface HandlerDefinition {
  name: string
  /** Fields (`type`, `source`, `subject`, `attributes.x`) and patterns, `*` at either end: which events to map. */
  match?: Readonly<Record<string, string>>
  /** For one event: milliseconds or a duration such as `500ms`; 1s where it is left out. */
  timeLimit?: number | string
  measures?: readonly HandlerMeasure[]
  /** Called for each event that matches. What it throws makes the event a dead letter. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most return nothing
  map(event: EventView, emit: Emit): Outcome | void
}

/** The default export of a handler's module. */
export function defineHandler(definition: HandlerDefinition): HandlerDefinition {
  return definition
}
