// The query strings of the query routes, checked: a name that is not known is refused, not ignored.

import { didYouMean } from '../config/nearest.ts'
import { Problem } from '../errors.ts'
import {
  DEAD_LETTERS_PER_REQUEST_MAX,
  LIVE_SAMPLES_MAX,
  QUERY_ROWS_DEFAULT,
  QUERY_ROWS_MAX,
  STRING_BYTES_MAX,
  TAP_RATE_DEFAULT,
  TAP_RATE_MAX,
} from '../limits.ts'
import type { ResultsQuery } from '../results/handler-results.ts'
import type { LettersQuery } from './dead-letters.ts'

/** Times are Unix milliseconds; `from` is included, `to` is not. */
export interface RowsParameters {
  key: string[]
  from?: number
  to?: number
  merge: boolean
  limit: number
  cursor?: string
}

export type Order = 'count' | 'sum' | 'mean' | 'max' | 'min'
const orders: readonly Order[] = ['count', 'sum', 'mean', 'max', 'min']

export interface TopParameters {
  by: Order
  from?: number
  to?: number
  limit: number
}

const TOP_ROWS_DEFAULT = 10

/** `filter`: patterns with `*` at either end; `rate`: events a second. */
export interface TailParameters {
  filter: { type?: string; source?: string; subject?: string }
  rate: number
}

export const parameters = {
  rows(search: URLSearchParams): RowsParameters {
    known(search, ['key', 'from', 'to', 'merge', 'limit', 'cursor'])
    const cursor = search.get('cursor')
    return {
      key: search.getAll('key'),
      ...span(search),
      merge: oneOf(search, 'merge', ['false', 'true']) === 'true',
      limit: limit(search, QUERY_ROWS_DEFAULT),
      ...(cursor === null ? {} : { cursor }),
    }
  },

  top(search: URLSearchParams): TopParameters {
    known(search, ['by', 'from', 'to', 'limit'])
    return { by: oneOf(search, 'by', orders), ...span(search), limit: limit(search, TOP_ROWS_DEFAULT) }
  },

  tail(search: URLSearchParams): TailParameters {
    known(search, ['type', 'source', 'subject', 'rate'])
    const filter: TailParameters['filter'] = {}
    for (const name of ['type', 'source', 'subject'] as const) {
      const given = search.get(name)
      if (given !== null) filter[name] = pattern(name, given)
    }
    return { filter, rate: wholeNumber(search, 'rate', TAP_RATE_DEFAULT, TAP_RATE_MAX) }
  },

  results(search: URLSearchParams): ResultsQuery {
    known(search, ['prefix', 'limit', 'cursor'])
    return {
      prefix: search.get('prefix') ?? '',
      limit: limit(search, QUERY_ROWS_DEFAULT),
      cursor: search.get('cursor') ?? undefined,
    }
  },

  /** Of a profile. */
  seconds(search: URLSearchParams, byDefault: number, most: number): number {
    known(search, ['seconds'])
    return wholeNumber(search, 'seconds', byDefault, most)
  },

  /** Of /live; undefined where it is not said how many. */
  samples(search: URLSearchParams): number | undefined {
    known(search, ['samples'])
    return search.has('samples') ? wholeNumber(search, 'samples', 1, LIVE_SAMPLES_MAX) : undefined
  },

  letters(search: URLSearchParams): LettersQuery {
    known(search, ['handler', 'reason', 'limit', 'cursor'])
    return { ...lettersOf(search), limit: limit(search, QUERY_ROWS_DEFAULT) }
  },

  /** Of requests that change all that they find: they have to say what, so that nobody drops all by a slip. */
  allLetters(search: URLSearchParams): LettersQuery {
    known(search, ['handler', 'reason', 'all', 'limit', 'cursor'])
    const all = oneOf(search, 'all', ['false', 'true']) === 'true'
    const filter = search.has('handler') || search.has('reason')
    if (all === filter) {
      throw new Problem('malformed', 'which dead letters? Give handler or reason, or all=true and neither')
    }
    const most = DEAD_LETTERS_PER_REQUEST_MAX
    return { ...lettersOf(search), limit: limit(search, most, most) }
  },
}

function lettersOf(search: URLSearchParams): Omit<LettersQuery, 'limit'> {
  const text = (name: string) => search.get(name) ?? undefined
  return { handler: text('handler'), reason: text('reason'), cursor: text('cursor') }
}

function known(search: URLSearchParams, names: string[]): void {
  for (const name of search.keys()) {
    if (names.includes(name)) continue
    throw new Problem('malformed', `there is no parameter ${name}${didYouMean(name, names)}`)
  }
}

/** The first choice when the parameter is absent. */
function oneOf<T extends string>(search: URLSearchParams, name: string, choices: readonly T[]): T {
  const given = search.get(name) ?? choices[0]
  const choice = choices.find((candidate) => candidate === given)
  if (choice === undefined) throw new Problem('malformed', `${name}=${given}: one of ${choices.join(', ')}`)
  return choice
}

function limit(search: URLSearchParams, byDefault: number, most = QUERY_ROWS_MAX): number {
  return wholeNumber(search, 'limit', byDefault, most)
}

function wholeNumber(search: URLSearchParams, name: string, byDefault: number, most: number): number {
  const given = search.get(name)
  if (given === null) return byDefault
  const number = /^[0-9]+$/.test(given) ? Number(given) : 0
  if (number < 1 || number > most) {
    throw new Problem('malformed', `${name}=${given}: a whole number from 1 to ${most}`)
  }
  return number
}

function pattern(name: string, given: string): string {
  if (given.slice(1, -1).includes('*')) {
    throw new Problem('malformed', `${name}=${given}: * may stand at either end only`)
  }
  if (Buffer.byteLength(given) > STRING_BYTES_MAX) {
    throw new Problem(
      'malformed',
      `${name} has ${Buffer.byteLength(given)} bytes, ${STRING_BYTES_MAX} at most`,
    )
  }
  return given
}

function span(search: URLSearchParams): { from?: number; to?: number } {
  const times: { from?: number; to?: number } = {}
  for (const name of ['from', 'to'] as const) {
    const given = search.get(name)
    if (given === null) continue
    const time = /^\d{4}-\d\d-\d\d/.test(given) ? Date.parse(given) : Number.NaN
    if (Number.isNaN(time)) {
      throw new Problem('malformed', `${name}=${given}: a time as in RFC 3339, such as 2026-01-31T12:00:00Z`)
    }
    times[name] = time
  }
  return times
}
