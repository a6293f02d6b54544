// The kinds of fields that the schema is made of. Each says by itself what is wrong, without naming the place.

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { didYouMean } from './nearest.ts'
import { kindOf, parseDuration, parseSize, quote } from './units.ts'

type Shape = Record<string, z.ZodType>

/** The keys of each section, for those who have to find a key by another spelling. */
const shapes = new WeakMap<z.ZodType, Shape>()

export function shapeOf(schema: z.ZodType): Shape | undefined {
  return shapes.get(schema)
}

/** A map with these keys and no others. */
export function map<T extends Shape>(shape: T) {
  const names = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return wrongKind(issue.input, 'a map of keys and values')
      // One line for each key, in their order: load.ts takes them apart.
      return (issue.keys as string[]).map((name) => unknownKey(name, names)).join('\n')
    },
  })
}

/** A map that may be left out as a whole: its keys have defaults. */
export function section<T extends Shape>(shape: T) {
  const schema = map(shape).prefault({} as never)
  shapes.set(schema, shape)
  return schema
}

/** A word in place of a section, or the section. */
export function sectionOr<const W extends string, T extends Shape>(word: W, shape: T) {
  const schema = wordOr(word, map(shape)).prefault({} as never)
  shapes.set(schema, shape)
  return schema
}

export function unknownKey(name: string, names: readonly string[]): string {
  return `there is no such key${didYouMean(name, names) || `: one of ${names.join(', ')}`}`
}

export function list<T extends z.ZodType>(item: T, what: string) {
  return z.array(item, { error: (issue) => wrongKind(issue.input, `a list of ${what}`) })
}

/** A value that `parse` turns into another one; the RangeError that it throws says what is wrong. */
export function parsed<T>(parse: (value: unknown) => T) {
  return z.unknown().transform((value, context): T => {
    try {
      return parse(value)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      context.addIssue({ code: 'custom', message: error.message })
      return z.NEVER
    }
  })
}

/** Text that is not empty. `check` may throw a RangeError with what else is wrong with it. */
export function text(check: (value: string) => void = () => {}) {
  return parsed((value) => {
    if (typeof value === 'number') throw new RangeError(`must be text: put ${value} in quotes`)
    if (typeof value !== 'string') throw new RangeError(wrongKind(value, 'text'))
    if (value.trim() === '') throw new RangeError('must not be empty')
    check(value)
    return value
  })
}

/** The path of a file that can be read. */
export function readableFile() {
  return text((file) => {
    try {
      readFileSync(file)
    } catch (error) {
      throw new RangeError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`)
    }
  })
}

export function flag() {
  return z.boolean({ error: (issue) => wrongKind(issue.input, 'true or false') })
}

/** A whole number within these bounds, both included. */
export function count(what: string, least: number, most: number) {
  return parsed((value) => wholeNumber(value, what, least, most))
}

/** A whole number, or `auto` for the number that `auto` returns. */
export function countOrAuto(what: string, most: number, auto: () => number) {
  return parsed((value) => (value === 'auto' ? auto() : wholeNumber(value, `auto or ${what}`, 1, most)))
}

export function size(least: number, most: number, bounds: string) {
  return parsed((value) => {
    const bytes = parseSize(value)
    if (bytes < least || bytes > most) throw new RangeError(`${quote(value)} is out of range: ${bounds}`)
    return bytes
  })
}

export function duration(least: number, bounds: string) {
  return parsed((value) => {
    const milliseconds = parseDuration(value)
    if (milliseconds < least) throw new RangeError(`${quote(value)} is too short: ${bounds}`)
    return milliseconds
  })
}

/** One of a few words. */
export function choice<const T extends string>(words: readonly T[]) {
  return parsed((value) => {
    const word = words.find((candidate) => candidate === value)
    if (word !== undefined) return word
    const near = typeof value === 'string' ? didYouMean(value, words) : ''
    throw new RangeError(`must be one of ${words.join(', ')}, not ${kindOf(value)}${near}`)
  })
}

/** A word in place of a map, or the map. */
export function wordOr<const W extends string | true, T extends z.ZodType>(word: W, schema: T) {
  return z.unknown().transform((value, context): W | z.output<T> => {
    if (value === word) return word
    if (typeof value !== 'object') {
      const message = `must be ${String(word)}, or a map, not ${kindOf(value)}`
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    const result = schema.safeParse(value)
    if (result.success) return result.data
    for (const issue of result.error.issues) context.issues.push({ ...issue, input: value } as never)
    return z.NEVER
  })
}

export function wrongKind(value: unknown, expected: string): string {
  return value === undefined ? 'is missing' : `must be ${expected}, not ${kindOf(value)}`
}

function wholeNumber(value: unknown, what: string, least: number, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    throw new RangeError(`must be ${what}, not ${kindOf(value)}`)
  }
  if (value < least || value > most) throw new RangeError(`${value} is out of range: ${least} to ${most}`)
  return value
}
