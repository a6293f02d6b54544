// Dead letters and what handlers stored, as a client asks for them.

import type {
  DeadLetter,
  DeadLetterPage,
  DeadLettersChanged,
  HandlerResult,
  HandlerResultPage,
  LetterOutcome,
} from './answers.ts'
import type { Asking, Queries, Search } from './query.ts'

const LETTERS = '/v1/dead-letters'
const RESULTS = '/v1/results'
/** Results that are fetched at once where all are asked for; the daemon ends a page at 4 MiB. */
const PAGE_RESULTS = 1000

/** Which letters; a `*` at either end of a text stands for anything. */
export interface LettersFilter {
  handler?: string | undefined
  reason?: string | undefined
}

export interface LettersQuery extends LettersFilter, Asking {
  /** Letters of the page, 1 to 10,000; 100 without it. */
  limit?: number | undefined
  /** Of the page before. */
  cursor?: string | undefined
}

/** The ids of some letters, those that a filter finds, or all that there are. */
export type WhichLetters = readonly string[] | LettersFilter | 'all'

type Act = 'replay' | 'drop'

export class Letters {
  readonly #queries: Queries

  constructor(queries: Queries) {
    this.#queries = queries
  }

  page({ handler, reason, limit, cursor, signal }: LettersQuery = {}): Promise<DeadLetterPage> {
    const search: Search = [
      ...filterOf({ handler, reason }),
      ['limit', limit?.toString()],
      ['cursor', cursor],
    ]
    return this.#queries.ask('GET', LETTERS, search, { signal })
  }

  one(id: string, asking?: Asking): Promise<DeadLetter> {
    return this.#queries.ask('GET', letterPath(id), [], asking)
  }

  /** Those of a filter page by page: each is durable when the next one is asked for. */
  async change(act: Act, which: WhichLetters, asking?: Asking): Promise<DeadLettersChanged> {
    const done = { replayed: 0, dropped: 0, failed: 0, refused: 0, unknown: 0, failures: [] }
    if (isIds(which)) await this.#some(act, which, done, asking)
    else await this.#all(act, which, done, asking)
    return done
  }

  async #some(act: Act, ids: readonly string[], done: DeadLettersChanged, asking?: Asking): Promise<void> {
    for (const id of ids) {
      const [method, path] =
        act === 'replay'
          ? (['POST', `${letterPath(id)}/replay`] as const)
          : (['DELETE', letterPath(id)] as const)
      const { outcome, reason = '' } = await this.#queries.ask<LetterOutcome>(method, path, [], asking)
      done[outcome]++
      if (outcome === 'failed') done.failures.push({ id, reason })
    }
  }

  async #all(
    act: Act,
    which: LettersFilter | 'all',
    done: DeadLettersChanged,
    asking?: Asking,
  ): Promise<void> {
    const [method, path] =
      act === 'replay' ? (['POST', `${LETTERS}/replay`] as const) : (['DELETE', LETTERS] as const)
    const search: Search = which === 'all' ? [['all', 'true']] : filterOf(which)
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const page = await this.#queries.ask<DeadLettersChanged & { cursor?: string }>(
        method,
        path,
        [...search, ['cursor', cursor]],
        asking,
      )
      for (const name of ['replayed', 'dropped', 'failed', 'refused', 'unknown'] as const) {
        done[name] += page[name]
      }
      done.failures.push(...page.failures)
      cursor = page.cursor
    }
  }

  /** All results under keys that begin so, in the order of their bytes, fetched page by page as they are taken. */
  async *results(prefix: string, asking?: Asking): AsyncGenerator<HandlerResult, void, void> {
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const search: Search = [
        ['prefix', prefix === '' ? undefined : prefix],
        ['limit', String(PAGE_RESULTS)],
        ['cursor', cursor],
      ]
      const page = await this.#queries.ask<HandlerResultPage>('GET', RESULTS, search, asking)
      yield* page.results
      cursor = page.cursor
    }
  }

  result(key: string, asking?: Asking): Promise<Buffer> {
    return this.#queries.bytes('GET', `${RESULTS}/${encodeURIComponent(key)}`, [], asking)
  }
}

function isIds(which: WhichLetters): which is readonly string[] {
  return Array.isArray(which)
}

function filterOf({ handler, reason }: LettersFilter): Search {
  return [
    ['handler', handler],
    ['reason', reason],
  ]
}

function letterPath(id: string): string {
  return `${LETTERS}/${encodeURIComponent(id)}`
}
