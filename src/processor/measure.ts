// Measures made ready for folding: fields by number, patterns as bytes.
//
// A field that an event does not carry is the empty string, everywhere: `*` matches it, and it can be part of a
// key. That is what the wire format says too, where an empty string and an absent one are the same.

import type { Measure } from '../config/config.ts'

/** Fields that conditions and keys can name: these, and from FIELD_ATTRIBUTES on the attributes that measures use. */
export const FIELD_SOURCE = 0
export const FIELD_TYPE = 1
export const FIELD_SUBJECT = 2
export const FIELD_ATTRIBUTES = 3

const ATTRIBUTE = 'attributes.'

/** How a pattern matches. */
export const MATCH_EXACT = 0
export const MATCH_PREFIX = 1
export const MATCH_SUFFIX = 2
export const MATCH_CONTAINS = 3

export interface Condition {
  field: number
  match: number
  /** The pattern without its `*`. */
  bytes: Uint8Array
}

export interface CompiledMeasure {
  /** Its place in the configuration. */
  index: number
  conditions: Condition[]
  /** Fields that make the key. */
  by: number[]
  /** Only events that carry a value count, and it is summed up. */
  numbers: boolean
  /** Milliseconds; 0 is one window without end. */
  windowMs: number
  sketch: boolean
}

export interface CompiledMeasures {
  measures: CompiledMeasure[]
  matches: Condition[][]
  /** Names of the attributes that are looked for; the first is field FIELD_ATTRIBUTES. */
  attributes: Uint8Array[]
}

/**
 * `matches`: conditions of handlers, which look for fields of the same events. Throws RangeError for a field that there
 * is not; the configuration was checked for that before.
 */
export function compile(
  measures: readonly Measure[],
  matches: readonly Record<string, string>[] = [],
): CompiledMeasures {
  const attributes: string[] = []
  const field = (name: string): number => {
    if (name === 'source') return FIELD_SOURCE
    if (name === 'type') return FIELD_TYPE
    if (name === 'subject') return FIELD_SUBJECT
    if (!name.startsWith(ATTRIBUTE)) throw new RangeError(`measures know no field ${name}`)
    const attribute = name.slice(ATTRIBUTE.length)
    if (!attributes.includes(attribute)) attributes.push(attribute)
    return FIELD_ATTRIBUTES + attributes.indexOf(attribute)
  }
  const conditions = (where: Record<string, string>) =>
    Object.entries(where).flatMap(([name, pattern]) => condition(field(name), pattern))
  const compiled = measures.map((measure, index) => ({
    index,
    conditions: conditions(measure.where),
    by: measure.by.map(field),
    ...shapeOf(measure),
  }))
  const compiledMatches = matches.map(conditions)
  return {
    measures: compiled,
    matches: compiledMatches,
    attributes: attributes.map((name) => Buffer.from(name)),
  }
}

/** A measure that a handler emits to: all that it is given counts, and the parts of its key are numbered. */
export function compileEmitted(measure: Measure, index: number): CompiledMeasure {
  return { index, conditions: [], by: measure.by.map((_, part) => part), ...shapeOf(measure) }
}

function shapeOf({ value, window, quantiles }: Measure) {
  return {
    numbers: value === 'value',
    windowMs: window === 'all' ? 0 : window,
    sketch: quantiles && value === 'value',
  }
}

/** No condition where the pattern matches everything. */
function condition(field: number, pattern: string): Condition[] {
  const open = pattern.startsWith('*')
  const rest = open ? pattern.slice(1) : pattern
  const openEnd = rest.endsWith('*')
  const bytes = Buffer.from(openEnd ? rest.slice(0, -1) : rest)
  if (bytes.length === 0 && (open || openEnd)) return []
  const match = open ? (openEnd ? MATCH_CONTAINS : MATCH_SUFFIX) : openEnd ? MATCH_PREFIX : MATCH_EXACT
  return [{ field, match, bytes }]
}

/** True when bytes[start, end) match. */
export function matches(condition: Condition, bytes: Uint8Array, start: number, end: number): boolean {
  const pattern = condition.bytes
  const spare = end - start - pattern.length
  if (spare < 0) return false
  switch (condition.match) {
    case MATCH_EXACT:
      return spare === 0 && same(pattern, bytes, start)
    case MATCH_PREFIX:
      return same(pattern, bytes, start)
    case MATCH_SUFFIX:
      return same(pattern, bytes, start + spare)
    default:
      for (let at = start; at <= start + spare; at++) if (same(pattern, bytes, at)) return true
      return false
  }
}

/** True when all of `expected` stands in `bytes` at `at`. */
export function same(expected: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < expected.length; i++) if (expected[i] !== bytes[at + i]) return false
  return true
}
