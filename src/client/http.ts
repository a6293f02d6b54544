// Bodies over HTTP: many in flight, each under a sequence of its own, so that one that had to be sent again counts once.

import { setMaxListeners } from 'node:events'
import type { Dispatcher, Pool } from 'undici'
import { BODY_BYTES_MAX } from '../limits.ts'
import {
  type Ack,
  type Body,
  type Door,
  type DoorOptions,
  type Durability,
  emptyStats,
  Patience,
  pause,
} from './door.ts'
import { errorOf, MillraceError, ownError, retryAfterMs } from './error.ts'
import { broken, type Target } from './target.ts'
import { type Timings, traced } from './trace.ts'

export interface HttpOptions extends DoorOptions {
  target: Target
  pool: Pool
  /** Bodies in flight at most. */
  concurrency: number
  trace?: ((timings: Timings) => void) | undefined
}

/** One try: what was acknowledged, or why not and whether another try may help. */
type Outcome = { ack: Ack } | { ack?: undefined; final: boolean; error: MillraceError }

export class HttpDoor implements Door {
  readonly bodyBytesMax = BODY_BYTES_MAX
  readonly stats = emptyStats()
  readonly #options: HttpOptions
  readonly #path: string
  /** Nothing is sent again. */
  readonly #stop = new AbortController()
  /** Why what is in flight is not waited for. */
  #gone: MillraceError | undefined
  #sequence: number
  /** Someone answered before: a broken connection is then worth waiting for. */
  #answered = false

  constructor(options: HttpOptions) {
    this.#options = options
    this.#path = `${options.target.prefix}/v1/events`
    this.#sequence = options.sequence
    setMaxListeners(options.concurrency, this.#stop.signal)
  }

  async deliver(body: Body): Promise<Ack> {
    const { stats } = this
    const sequence = this.#sequence++
    const patience = new Patience(this.#options.retryForMs)
    stats.sent += body.events
    for (;;) {
      const outcome = await this.#attempt(body, sequence)
      if (outcome.ack !== undefined) {
        stats.acked += outcome.ack.accepted
        return outcome.ack
      }
      const { error, final } = outcome
      if (final) {
        if (error.refused) stats.refused += body.events
        else stats.unanswered += body.events
        throw error
      }
      const wait = patience.next(error.retryAfterMs)
      if (wait !== undefined) await pause(wait, this.#stop.signal)
      if (wait === undefined || this.#stop.signal.aborted) {
        stats.unanswered += body.events
        if (wait !== undefined) throw this.#stop.signal.reason
        const { code, status, correlationId } = error
        throw new MillraceError(code, patience.spent(error.message), { status, correlationId, cause: error })
      }
      stats.retries++
    }
  }

  stopRetrying(error: MillraceError): void {
    this.#stop.abort(error)
  }

  abort(error: MillraceError): void {
    this.#stop.abort(error)
    this.#gone = error
    this.#options.pool.destroy(error)
  }

  async close(): Promise<void> {}

  async #attempt(body: Body, sequence: number): Promise<Outcome> {
    const { target, producer, trace } = this.#options
    let answer: Dispatcher.ResponseData
    let text: string
    this.stats.requests++
    try {
      const request: Dispatcher.RequestOptions = {
        path: this.#path,
        method: 'POST',
        headers: {
          ...target.headers,
          'content-type': body.type,
          'millrace-producer': producer,
          'millrace-sequence': String(sequence),
        },
        body: body.bytes,
      }
      const { pool } = this.#options
      answer = await (trace === undefined ? pool.request(request) : traced(pool, request, trace))
      text = await answer.body.text()
    } catch (error) {
      if (this.#gone !== undefined) return { final: true, error: this.#gone }
      return broken(target, error as Error, this.#answered)
    }
    this.#answered = true
    const { statusCode, headers } = answer
    if (statusCode !== 202) {
      const error = errorOf(statusCode, text, retryAfterMs(headers['retry-after']))
      return { final: error.refused, error }
    }
    const { accepted, durability } = readAck(text)
    if (accepted === body.events || (accepted !== undefined && body.type === 'application/x-ndjson')) {
      return { ack: { durability: durability as Durability, accepted, producer, sequence } }
    }
    const why = `answered 202, but for ${accepted ?? 'no'} of ${body.events} events: is it a millrace daemon?`
    return { final: true, error: ownError('unexpected-answer', why) }
  }
}

function readAck(text: string): { accepted?: number; durability?: unknown } {
  try {
    const { accepted, durability } = JSON.parse(text) as Record<string, unknown>
    return typeof accepted === 'number' ? { accepted, durability } : {}
  } catch {
    return {}
  }
}
