// The schema of `measures`.

import { z } from 'zod'
import { ATTRIBUTE_NAME_BYTES_MAX, KEY_PARTS_MAX, MEASURE_NAME_CHARACTERS_MAX } from '../limits.ts'
import { choice, flag, list, map, parsed, text, wrongKind } from './fields.ts'
import { didYouMean } from './nearest.ts'
import { kindOf, parseDuration, quote } from './units.ts'

const fields = ['subject', 'source', 'type']
const attribute = 'attributes.'

/** A name that can stand in addresses. */
export const name = text((given) => {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(given) || given.length > MEASURE_NAME_CHARACTERS_MAX) {
    throw new RangeError(
      `${quote(given)} cannot be a name: up to ${MEASURE_NAME_CHARACTERS_MAX} letters, digits, dots, dashes and ` +
        'underscores, a letter or digit first',
    )
  }
})

/** `*` stands for anything, at either end. */
const pattern = parsed((value) => {
  if (typeof value === 'number' || typeof value === 'boolean') {
    throw new RangeError(`must be text: put ${value} in quotes`)
  }
  if (typeof value !== 'string') {
    throw new RangeError(`must be text, with * at either end for anything, not ${kindOf(value)}`)
  }
  if (value.slice(1, -1).includes('*') && value !== '**') {
    throw new RangeError(`${quote(value)} has * in the middle: it may stand at either end only`)
  }
  return value
})

/** Fields and patterns: which events are meant. */
export const where = z
  .unknown()
  .transform((value, context): Record<string, string> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      context.addIssue({ code: 'custom', message: wrongKind(value, 'a map of fields and patterns') })
      return z.NEVER
    }
    const conditions: Record<string, string> = {}
    for (const [field, given] of Object.entries(value)) {
      const wrong = field === 'attributes' ? 'write attributes.NAME, one for each' : wrongField(field)
      if (wrong !== undefined) {
        context.issues.push({
          code: 'unrecognized_keys',
          keys: [field],
          message: wrong,
          input: value,
        } as never)
        continue
      }
      const result = pattern.safeParse(given)
      if (result.success) conditions[field] = result.data
      else {
        const { message } = result.error.issues[0]
        context.addIssue({
          code: 'custom',
          path: [field],
          message: given === undefined ? 'is missing' : message,
        })
      }
    }
    return conditions
  })
  .prefault({})

const by = list(
  parsed((value) => {
    if (typeof value !== 'string') throw new RangeError(wrongKind(value, 'the name of a field'))
    const wrong = wrongField(value)
    if (wrong !== undefined) throw new RangeError(wrong)
    return value
  }),
  'fields, such as [subject]',
)
  .min(1, 'must name one field at least, such as [subject]')
  .max(KEY_PARTS_MAX, `has more than ${KEY_PARTS_MAX} fields`)
  .refine((names) => new Set(names).size === names.length, 'names a field twice')

const window = parsed((value): number | 'all' => (value === 'all' ? 'all' : parseDuration(value)))

/** How a measure counts, whoever gives it what it counts. */
export const counting = {
  value: choice(['value', 'none']).prefault('value'),
  window: window.prefault('1m'),
  quantiles: flag().default(false),
}

/** What `refine` takes to hold these to each other. */
export const consistent = [
  ({ quantiles, value }: { quantiles: boolean; value: string }) => !(quantiles && value === 'none'),
  { path: ['quantiles'], error: 'needs numbers, and with value: none there are none' },
] satisfies [unknown, unknown]

const measure = map({ name, where, by, ...counting }).refine(...consistent)

/** What is counted when nothing is configured. */
const byDefault = [{ name: 'by-subject', by: ['subject'], value: 'value', window: '1m', quantiles: true }]

export const measures = list(measure, 'measures')
  .check((payload) => {
    const seen = new Set<string>()
    payload.value.forEach((one, i) => {
      if (seen.has(one.name)) {
        const message = `there is another measure ${one.name}: names must differ`
        payload.issues.push({ code: 'custom', path: [i, 'name'], message, input: payload.value })
      }
      seen.add(one.name)
    })
  })
  .prefault(byDefault as never)

/** What is wrong with a field's name, or undefined. */
function wrongField(field: string): string | undefined {
  if (fields.includes(field)) return undefined
  if (field.startsWith(attribute)) {
    const bytes = Buffer.byteLength(field) - attribute.length
    if (bytes > 0 && bytes <= ATTRIBUTE_NAME_BYTES_MAX) return undefined
    return `${quote(field)}: an attribute's name has 1 to ${ATTRIBUTE_NAME_BYTES_MAX} bytes`
  }
  const dot = field.indexOf('.')
  if (dot > 0) {
    const near = didYouMean(field.slice(0, dot), ['attributes'])
    if (near !== '') return `there is no field ${field}; did you mean attributes${field.slice(dot)}?`
  }
  return unknownField(field)
}

function unknownField(field: string): string {
  const near = didYouMean(field, fields)
  return `there is no field ${field}${near || `: one of ${fields.join(', ')}, attributes.NAME`}`
}
