// How an HTTP answer is written on uWebSockets.js. All of it happens inside one cork, so it leaves in one write.

import type { HttpResponse } from 'uWebSockets.js'
import { STATUS_CODES } from 'node:http'
import type { Problem } from './errors.ts'
import type { Route } from './telemetry/doors.ts'

/** A response that may be gone: the client can go away at any time, and writing then would end the process. */
export interface Exchange {
  readonly res: HttpResponse
  readonly correlationId: string
  aborted: boolean
  /** Set while draining: the connection closes behind the answer. */
  closing: boolean
  /** Told of the answer. */
  readonly route: Route
  /** When its headers came, by turnTime(). */
  readonly since: number
}

export function answerJson(exchange: Exchange, status: string, json: string): void {
  write(exchange, status, 'application/json', json)
}

/** `type`: a media type. */
export function answerBytes(exchange: Exchange, type: string, bytes: Uint8Array | string): void {
  write(exchange, '200 OK', type, bytes, { 'x-content-type-options': 'nosniff' })
}

export function answerProblem(exchange: Exchange, problem: Problem, headers?: Record<string, string>): void {
  const status = `${problem.status} ${STATUS_CODES[problem.status]}`
  const { retryAfter } = problem
  const all = retryAfter === undefined ? headers : { ...headers, 'retry-after': String(retryAfter) }
  write(exchange, status, 'application/problem+json', problem.body(exchange.correlationId), all)
}

function write(
  exchange: Exchange,
  status: string,
  type: string,
  body: string | Uint8Array,
  headers?: Record<string, string>,
): void {
  if (exchange.aborted) return
  exchange.aborted = true // answered: nothing may be written after this
  exchange.route.answered(Number(status.slice(0, 3)), exchange.since, exchange.correlationId)
  const { res } = exchange
  res.cork(() => {
    res.writeStatus(status).writeHeader('content-type', type)
    res.writeHeader('x-correlation-id', exchange.correlationId)
    if (headers !== undefined) for (const name in headers) res.writeHeader(name, headers[name])
    res.end(body, exchange.closing)
  })
}
