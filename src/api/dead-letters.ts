// Dead letters over HTTP. Lists and letters are read from the stores; who owns them is asked to replay or drop them.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { millrace } from '#proto'
import { Problem } from '../errors.ts'
import { DEAD_LETTER_KINDS_MAX, DEAD_LETTERS_TOLD_MAX, QUERY_ROWS_PER_TURN } from '../limits.ts'
import {
  type Head,
  heads,
  isLetterId,
  type Order,
  type Outcome,
  readLetter,
} from '../results/dead-letters.ts'
import { decodeEvent } from '../results/decode-event.ts'
import type { Stores } from '../results/stores.ts'
import { Content, readable } from './handler-results.ts'
import { letterCounts } from './status.ts'

/** Which letters: `handler` and `reason` may have a * at either end. */
export interface LettersQuery {
  handler: string | undefined
  reason: string | undefined
  limit: number
  /** Of the answer before. */
  cursor: string | undefined
}

type Act = Order['act']

export class Letters {
  readonly #stores: Stores
  readonly #order: (order: Order) => Promise<Outcome[]>

  /** `order`: has it done by those who own the letters; resolves when it is durable, with an outcome for each id. */
  constructor(stores: Stores, order: (order: Order) => Promise<Outcome[]>) {
    this.#stores = stores
    this.#order = order
  }

  /** A page of them, the oldest first; the first page also counts all that match, by handler and reason. */
  async list(query: LettersQuery, signal: AbortSignal) {
    const kinds = new Map<string, { handler: string; reason: string; count: number }>()
    const others = { count: 0 }
    const count = ({ handler, reason }: Head) => {
      const key = JSON.stringify([handler, reason])
      const known = kinds.get(key)
      if (known !== undefined) known.count++
      else if (kinds.size < DEAD_LETTER_KINDS_MAX) kinds.set(key, { handler, reason, count: 1 })
      else others.count++
    }
    const { found, cursor } = await this.#find(query, signal, query.cursor === undefined ? count : undefined)
    return {
      letters: found.map(outline),
      ...(cursor === undefined ? {} : { cursor }),
      ...(query.cursor === undefined
        ? { kinds: [...kinds.values()].sort((a, b) => b.count - a.count), otherKinds: others.count }
        : {}),
      ...letterCounts(this.#stores.counters()),
    }
  }

  /**
   * A letter with its event in the JSON that `POST /v1/events` takes, and the event's data besides where it is JSON or
   * other text.
   */
  show(id: string) {
    const letter = readLetter(this.#stores, id)
    if (letter === undefined) throw unknown(id)
    const event = decodeEvent(letter.event)
    const { json, text } = event.data.length > 0 ? readable(event.data) : {}
    const whole = millrace.v1.Event.toObject(event, { longs: String, bytes: String, json: true })
    if (whole.timeUnixNano === '0') delete whole.timeUnixNano // no time, as everywhere
    const told = JSON.stringify({ ...outline(letter), event: whole, ...(text === undefined ? {} : { text }) })
    // As it stands in the event: what can be parsed may be nested too deep to be written again.
    return new Content('application/json', json === undefined ? told : `${told.slice(0, -1)},"json":${json}}`)
  }

  async one(act: Act, id: string) {
    if (!isLetterId(id)) throw unknown(id)
    const [outcome] = await this.#order({ act, ids: [id] })
    if (outcome.outcome === 'unknown') throw unknown(id)
    if (outcome.outcome === 'refused') throw new Problem(outcome.code, outcome.reason)
    return outcome
  }

  /** A page of those that match, the oldest first. */
  async all(act: Act, query: LettersQuery, signal: AbortSignal) {
    const { found, cursor } = await this.#find(query, signal)
    const outcomes = found.length === 0 ? [] : await this.#order({ act, ids: found.map(({ id }) => id) })
    const counts = { replayed: 0, dropped: 0, failed: 0, refused: 0, unknown: 0 }
    for (const { outcome } of outcomes) counts[outcome]++
    const [first] = outcomes
    if (first?.outcome === 'refused' && counts.refused === outcomes.length) {
      throw new Problem(first.code, first.reason)
    }
    const failures = outcomes.filter((one) => one.outcome === 'failed' || one.outcome === 'refused')
    return {
      ...counts,
      failures: failures.slice(0, DEAD_LETTERS_TOLD_MAX),
      ...(cursor === undefined ? {} : { cursor }),
    }
  }

  /** `visit` is called for all that match, also for those that are past the page. */
  async #find(query: LettersQuery, signal: AbortSignal, visit?: (head: Head) => void) {
    const { cursor, limit } = query
    if (cursor !== undefined && !isLetterId(cursor)) {
      throw new Problem('malformed', 'cursor: not one that a query like this has answered with')
    }
    const isHandler = matcher(query.handler)
    const isReason = matcher(query.reason)
    const found: Head[] = []
    let more = false
    let read = 0
    const snapshot = this.#stores.snapshot()
    try {
      for (const head of heads(snapshot, cursor)) {
        if (++read % QUERY_ROWS_PER_TURN === 0) await nextTurn()
        signal.throwIfAborted()
        if (!isHandler(head.handler) || !isReason(head.reason)) continue
        visit?.(head)
        if (found.length < limit) found.push(head)
        else more = true
        if (more && visit === undefined) break
      }
    } finally {
      snapshot.done()
    }
    return { found, cursor: more ? found[found.length - 1].id : undefined }
  }
}

function outline({ id, handler, reason, attempts, at, diedAt, ...rest }: Head) {
  const { correlationId, bytes, type, source, subject } = rest
  return {
    id,
    handler,
    reason,
    attempts,
    diedAt: new Date(diedAt).toISOString(),
    receivedAt: new Date(at).toISOString(),
    ...(correlationId === '' ? {} : { correlationId }),
    type,
    source,
    ...(subject === '' ? {} : { subject }),
    bytes,
  }
}

function unknown(id: string): Problem {
  return new Problem(
    'not-found',
    `there is no dead letter ${JSON.stringify(id)}: it may have left, or have been replayed`,
  )
}

/** Of a text with a * at either end, which stands for anything; undefined matches all. */
function matcher(pattern = '*'): (text: string) => boolean {
  const anyStart = pattern.startsWith('*')
  const rest = anyStart ? pattern.slice(1) : pattern
  const anyEnd = rest.endsWith('*')
  const part = anyEnd ? rest.slice(0, -1) : rest
  if (anyStart && (anyEnd || part === '')) return (text) => text.includes(part)
  if (anyStart) return (text) => text.endsWith(part)
  return anyEnd ? (text) => text.startsWith(part) : (text) => text === part
}
