// The schema of `handlers`, and of what a handler's module exports.

import { z } from 'zod'
import {
  HANDLER_MEASURES_MAX,
  HANDLER_MS_DEFAULT,
  HANDLER_MS_MAX,
  HANDLER_MS_MIN,
  HANDLERS_MAX,
  KEY_PARTS_MAX,
} from '../limits.ts'
import type { HandlerPlan } from './config.ts'
import { list, map, parsed, text } from './fields.ts'
import { consistent, counting, name, where } from './measures.ts'
import { formatDuration, kindOf, parseDuration, quote } from './units.ts'

/** A list, or its paths with commas between, as environment variables have it. */
export const handlers = z
  .preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((path) => path.trim()) : value),
    list(text(), 'paths of modules, such as [./handlers/example.mjs]')
      .max(HANDLERS_MAX, `has more than ${HANDLERS_MAX} handlers`)
      .refine((paths) => new Set(paths).size === paths.length, 'names a module twice'),
  )
  .prefault([])

const timeLimit = parsed((value) => {
  const ms = typeof value === 'number' ? value : parseDuration(value)
  if (!(ms >= HANDLER_MS_MIN && ms <= HANDLER_MS_MAX)) {
    const bounds = `${formatDuration(HANDLER_MS_MIN)} to ${formatDuration(HANDLER_MS_MAX)}`
    throw new RangeError(`${quote(value)} is out of range: ${bounds}`)
  }
  return ms
})

const measure = map({
  name,
  by: list(text(), 'names of what the key is made of, such as [state]')
    .min(1, 'must name one part of the key at least, such as [state]')
    .max(KEY_PARTS_MAX, `has more than ${KEY_PARTS_MAX} parts`)
    .refine((names) => new Set(names).size === names.length, 'names a part twice'),
  ...counting,
}).refine(...consistent)

const definition = map({
  name,
  match: where,
  timeLimit: timeLimit.prefault(HANDLER_MS_DEFAULT),
  measures: list(measure, 'measures')
    .max(HANDLER_MEASURES_MAX, `has more than ${HANDLER_MEASURES_MAX} measures`)
    .prefault([]),
  map: parsed((value) => {
    if (typeof value !== 'function') {
      throw new RangeError(`must be a function of an event and emit, not ${kindOf(value)}`)
    }
    if (value.constructor.name === 'AsyncFunction') {
      throw new RangeError('is asynchronous: what an event leads to has to be known when map returns')
    }
    return value
  }),
})

/** What the default export of a module says of itself, or everything that is wrong with it, a line each. */
export function planOf(
  exported: unknown,
  path: string,
): { plan: HandlerPlan; map: unknown } | { problems: string[] } {
  if (exported === undefined) {
    return { problems: ['has no default export: export default defineHandler({ name, match, map })'] }
  }
  if (typeof exported !== 'object' || exported === null || Array.isArray(exported)) {
    return { problems: [`its default export is ${kindOf(exported)}: it must be what defineHandler returns`] }
  }
  const result = definition.safeParse(exported)
  if (!result.success) return { problems: result.error.issues.flatMap(describe) }
  const { name: handler, match, timeLimit: ms, measures, map: call } = result.data
  const plans = measures.map((one) => ({
    name: one.name,
    where: {},
    by: one.by,
    value: one.value,
    window: one.window,
    quantiles: one.quantiles,
    handler,
  }))
  return { plan: { name: handler, path, match, timeLimit: ms, measures: plans }, map: call }
}

function describe(issue: z.core.$ZodIssue): string[] {
  const messages = issue.message.split('\n')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key, i) => `${dotted([...issue.path, key])}: ${messages[i]}`)
  }
  return [`${dotted(issue.path)}: ${messages[0]}`]
}

function dotted(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .slice(1)
}
