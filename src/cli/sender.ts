// Sends bodies to a daemon until each is acknowledged: many in flight, each under a sequence of its own, so that a
// body that had to be sent again counts once.

import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Dispatcher, Pool } from 'undici'
import { formatDuration } from '../config/units.ts'
import { codeOf, noAnswer, reasonOf, refusalOf, type Target } from './client.ts'

const ANSWER_MS_MAX = 30_000
const CONNECT_MS_MAX = 5_000
const BACKOFF_MS_MIN = 50
const BACKOFF_MS_MAX = 5_000
/** Answers after which the same body may be taken: busy, restarting, or a proxy that found nobody. */
const TRY_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504])

export interface SenderOptions {
  target: Target
  /** 1 to 128 visible ASCII characters, not used by anyone else: its sequences begin at 0. */
  producer: string
  /** Requests in flight. */
  concurrency: number
  /** Events a second at most. */
  rate?: number | undefined
  /** How long one body is sent again and again, milliseconds. */
  retryForMs: number
}

export interface Body {
  bytes: Uint8Array
  events: number
  type: 'application/x-protobuf' | 'application/x-ndjson'
}

/** What came of everything that was sent. */
export interface Summary {
  producer: string
  sent: number
  acked: number
  refused: number
  /** Given up: they may have been taken, for their answer never came. */
  unanswered: number
  requests: number
  retries: number
  seconds: number
}

/** A body that was not taken. `message` is for people, without the place in the input. */
export class SendFailure extends Error {
  override name = 'SendFailure'
  readonly body: Body
  /** By an answer that trying again would not change; otherwise there was no answer, or none in time. */
  readonly refused: boolean

  constructor(message: string, body: Body, refused: boolean) {
    super(message)
    this.body = body
    this.refused = refused
  }
}

export class Sender {
  readonly #options: SenderOptions
  readonly #pool: Pool
  readonly #path: string
  /** No new bodies. */
  readonly #stop = new AbortController()
  /** Something failed: nothing is tried again. */
  readonly #givingUp = new AbortController()
  readonly #inFlight = new Set<Promise<void>>()
  /** Called when something in flight has come to its end. */
  readonly #waiters: (() => void)[] = []
  readonly #started = performance.now()
  #sequence = 0
  /** When the next body may go, by the rate. */
  #due = 0
  /** Someone answered before: a broken connection is then worth waiting for. */
  #answered = false
  #failure: SendFailure | undefined
  #sent = 0
  #acked = 0
  #refused = 0
  #unanswered = 0
  #requests = 0
  #retries = 0

  constructor(options: SenderOptions) {
    this.#options = options
    setMaxListeners(options.concurrency, this.#givingUp.signal)
    this.#path = `${options.target.prefix}/v1/events`
    this.#pool = new Pool(options.target.origin, {
      connections: options.concurrency,
      pipelining: 1,
      headersTimeout: ANSWER_MS_MAX,
      bodyTimeout: ANSWER_MS_MAX,
      connect: { timeout: CONNECT_MS_MAX },
    })
  }

  get summary(): Summary {
    return {
      producer: this.#options.producer,
      sent: this.#sent,
      acked: this.#acked,
      refused: this.#refused,
      unanswered: this.#unanswered,
      requests: this.#requests,
      retries: this.#retries,
      seconds: (performance.now() - this.#started) / 1000,
    }
  }

  /** True once nothing more is sent: after a failure, or `stop`. */
  get stopped(): boolean {
    return this.#stop.signal.aborted
  }

  /** No new bodies; those that wait for their turn are not sent, those in flight go on. */
  stop(): void {
    this.#stop.abort()
  }

  /**
   * Resolves when the body is on its way and there is room for another one, so awaiting it bounds what is in flight.
   * Throws the SendFailure of this or an earlier body. The bytes may not change until it is acknowledged.
   */
  async send(body: Body): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await this.#turn(body.events)
    if (this.stopped) return
    const sequence = this.#sequence++
    this.#sent += body.events
    const delivery = this.#deliver(body, sequence).finally(() => {
      this.#inFlight.delete(delivery)
      for (const waiter of this.#waiters.splice(0)) waiter()
    })
    this.#inFlight.add(delivery)
    if (this.#inFlight.size >= this.#options.concurrency) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Waits for everything in flight. The first failure, if any, is in the answer. */
  async close(): Promise<{ summary: Summary; failure: SendFailure | undefined }> {
    await Promise.all(this.#inFlight)
    const { summary } = this
    await this.#pool.destroy()
    return { summary, failure: this.#failure }
  }

  async #turn(events: number): Promise<void> {
    const { rate } = this.#options
    if (rate === undefined) return
    const now = performance.now()
    this.#due = Math.max(this.#due, now)
    const wait = this.#due - now
    this.#due += (events / rate) * 1000
    if (wait > 1) await pause(wait, this.#stop.signal)
  }

  /** Never rejects: what went wrong is kept for `send` and `close`. */
  async #deliver(body: Body, sequence: number): Promise<void> {
    let deadline = Number.POSITIVE_INFINITY
    let backoff = BACKOFF_MS_MIN
    for (;;) {
      const outcome = await this.#attempt(body, sequence)
      if (outcome.acked !== undefined) {
        this.#acked += outcome.acked
        return
      }
      if (outcome.final) {
        this.#refused += outcome.refused ? body.events : 0
        this.#unanswered += outcome.refused ? 0 : body.events
        this.#fail(new SendFailure(outcome.why, body, outcome.refused))
        return
      }
      const now = performance.now()
      deadline = Math.min(deadline, now + this.#options.retryForMs)
      const wait = outcome.afterMs + backoff * (0.5 + Math.random() / 2)
      if (now + wait > deadline) {
        const why = `gave up after ${formatDuration(this.#options.retryForMs)} of trying again: ${outcome.why}`
        this.#fail(new SendFailure(why, body, false))
      } else await pause(wait, this.#givingUp.signal)
      if (this.#failure !== undefined) {
        this.#unanswered += body.events
        return
      }
      backoff = Math.min(2 * backoff, BACKOFF_MS_MAX)
      this.#retries++
    }
  }

  async #attempt(body: Body, sequence: number): Promise<Outcome> {
    const { target, producer } = this.#options
    let answer: Dispatcher.ResponseData
    let text: string
    this.#requests++
    try {
      answer = await this.#pool.request({
        path: this.#path,
        method: 'POST',
        headers: {
          ...target.headers,
          'content-type': body.type,
          'millrace-producer': producer,
          'millrace-sequence': String(sequence),
        },
        body: body.bytes,
      })
      text = await answer.body.text()
    } catch (error) {
      return this.#broken(error as Error)
    }
    this.#answered = true
    const { statusCode, headers } = answer
    if (statusCode === 202) {
      const accepted = acceptedOf(text)
      if (accepted === body.events || (accepted !== undefined && body.type === 'application/x-ndjson')) {
        return { acked: accepted }
      }
      const why = `answered 202, but for ${accepted ?? 'no'} of ${body.events} events: is it a millrace daemon?`
      return { final: true, refused: false, afterMs: 0, why }
    }
    const final = !TRY_AGAIN.has(statusCode)
    const why = refusalOf(statusCode, text)
    return { final, refused: final, afterMs: retryAfterMs(headers['retry-after']), why }
  }

  /** Nobody was ever there: that is told at once. Otherwise it is worth waiting for. */
  #broken(error: Error): Outcome {
    const code = codeOf(error)
    const nobody = /^(?:ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code)
    const untrusted = /^(?:ERR_TLS|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|ERR_SSL)/.test(code)
    const final = untrusted || (nobody && !this.#answered)
    const why = final ? noAnswer(this.#options.target, error) : `no answer (${reasonOf(error)})`
    return { final, refused: false, afterMs: 0, why }
  }

  #fail(failure: SendFailure): void {
    this.#failure ??= failure
    this.#stop.abort()
    this.#givingUp.abort()
  }
}

/** Returns early when the signal is aborted. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {})
}

/** `acked`: events. `final`: trying again would not help. `refused`: by an answer. */
type Outcome =
  | { acked: number }
  | { acked?: undefined; final: boolean; refused: boolean; afterMs: number; why: string }

function acceptedOf(text: string): number | undefined {
  try {
    const { accepted } = JSON.parse(text) as { accepted?: unknown }
    return typeof accepted === 'number' ? accepted : undefined
  } catch {
    return undefined
  }
}

/** `Retry-After` as RFC 9110 has it: seconds, or a date. 0 where there is none. */
function retryAfterMs(header: string | string[] | undefined): number {
  if (typeof header !== 'string') return 0
  if (/^[0-9]+$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now())
}
