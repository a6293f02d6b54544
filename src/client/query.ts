// Questions to a daemon.

import type { Dispatcher, Pool } from 'undici'
import type { Measure, Order, Page, Row, Status } from './answers.ts'
import { errorOf, ownError, retryAfterMs } from './error.ts'
import { type Target, unreachable } from './target.ts'

const ANSWER_MS_MAX = 60_000
/** Rows that are fetched at once where all are asked for. */
const PAGE_ROWS = 1000

export interface Asking {
  signal?: AbortSignal | undefined
}

/** Bounds of the starts of windows: from <= start < to. RFC 3339, or a Date. */
export interface Span {
  from?: string | Date | undefined
  to?: string | Date | undefined
}

export interface RowsQuery extends Span, Asking {
  /** The parts of a key, in the order of the measure's `by`; fewer of them ask for all keys that begin so. */
  key?: string | readonly string[] | undefined
  /** Folds the windows of a key into one row. */
  merge?: boolean | undefined
}

export interface PageQuery extends RowsQuery {
  /** Rows of the page, 1 to 10,000; 100 without it. */
  limit?: number | undefined
  /** Of the page before. */
  cursor?: string | undefined
}

export interface TopQuery extends Span, Asking {
  by?: Order | undefined
  /** Keys, 1 to 10,000; 10 without it. */
  limit?: number | undefined
}

export type Search = [name: string, value: string | undefined][]

/** What can be asked. Everything rejects with a MillraceError; nothing is asked again by itself. */
export class Queries {
  readonly #target: Target
  readonly #pool: Pool

  constructor(target: Target, pool: Pool) {
    this.#target = target
    this.#pool = pool
  }

  async measures({ signal }: Asking = {}): Promise<Measure[]> {
    return (await this.#get<{ measures: Measure[] }>('/v1/measures', [], signal)).measures
  }

  page(measure: string, query: PageQuery = {}): Promise<Page> {
    const { key = [], merge, limit, cursor, signal } = query
    const parts = typeof key === 'string' ? [key] : key
    const search: Search = [
      ...parts.map((part): [string, string] => ['key', part]),
      ...spanOf(query),
      ['merge', merge ? 'true' : undefined],
      ['limit', limit?.toString()],
      ['cursor', cursor],
    ]
    return this.#get(pathOf(measure), search, signal)
  }

  /** All rows, fetched page by page as they are taken. */
  async *rows(measure: string, query: RowsQuery = {}): AsyncGenerator<Row, void, void> {
    for (let cursor: string | undefined; ; ) {
      const page: Page = await this.page(measure, { ...query, limit: PAGE_ROWS, cursor })
      yield* page.rows
      if (page.cursor === undefined) return
      cursor = page.cursor
    }
  }

  async top(measure: string, query: TopQuery = {}): Promise<Row[]> {
    const { by, limit, signal } = query
    const search: Search = [['by', by], ['limit', limit?.toString()], ...spanOf(query)]
    return (await this.#get<{ rows: Row[] }>(`${pathOf(measure)}/top`, search, signal)).rows
  }

  status({ signal }: Asking = {}): Promise<Status> {
    return this.#get('/v1/status', [], signal)
  }

  #get<T>(path: string, search: Search, signal: AbortSignal | undefined): Promise<T> {
    return this.ask('GET', path, search, { signal })
  }

  /** Of a route that has no method of its own here: what it answers, which has to be JSON. */
  async ask<T>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    search?: Search,
    asking?: Asking,
  ): Promise<T> {
    const bytes = await this.bytes(method, path, search, asking)
    try {
      return JSON.parse(bytes.toString()) as T
    } catch {
      const { origin } = this.#target
      throw ownError('unexpected-answer', `${origin} did not answer with JSON: is it a millrace daemon?`)
    }
  }

  /** The same, of whatever kind. */
  async bytes(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    search: Search = [],
    { signal }: Asking = {},
  ): Promise<Buffer> {
    const { prefix, headers } = this.#target
    const given = search.filter((pair): pair is [string, string] => pair[1] !== undefined)
    const query = given.length > 0 ? `?${new URLSearchParams(given)}` : ''
    let answer: Dispatcher.ResponseData
    let bytes: Buffer
    try {
      answer = await this.#pool.request({
        path: `${prefix}${path}${query}`,
        method,
        headers,
        headersTimeout: ANSWER_MS_MAX,
        signal,
      })
      bytes = Buffer.from(await answer.body.arrayBuffer())
    } catch (error) {
      if (signal?.aborted) throw ownError('aborted', undefined, signal.reason)
      throw unreachable(this.#target, error as Error)
    }
    if (answer.statusCode !== 200) {
      throw errorOf(answer.statusCode, bytes.toString(), retryAfterMs(answer.headers['retry-after']))
    }
    return bytes
  }
}

function spanOf({ from, to }: Span): Search {
  const text = (time: string | Date | undefined) => (time instanceof Date ? time.toISOString() : time)
  return [
    ['from', text(from)],
    ['to', text(to)],
  ]
}

function pathOf(measure: string): string {
  return `/v1/measures/${encodeURIComponent(measure)}`
}
