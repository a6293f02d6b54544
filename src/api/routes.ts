// The queries: what was counted, and how the daemon is. Every listener answers them from the results store.

import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import { answerJson, answerProblem, type Exchange } from '../answer.ts'
import type { Auth } from '../auth.ts'
import { Problem } from '../errors.ts'
import { QUERIES_MAX } from '../limits.ts'
import type { Query } from '../results/query.ts'
import { parameters } from './parameters.ts'

export interface RouteParts {
  query: Query
  auth: Auth
  status(): Promise<unknown>
  draining(): boolean
  correlationId(req: HttpRequest): string
  refused(problem: Problem, correlationId: string): void
}

type Answer = (request: { name: string; search: URLSearchParams; signal: AbortSignal }) => Promise<unknown>

export function mountQueries(app: TemplatedApp, parts: RouteParts): void {
  const { query } = parts
  let running = 0

  /** A GET route that answers with JSON, or with the problem that `answer` throws. */
  const get = (path: string, answer: Answer) => {
    app.get(path, (res, req) => {
      const gone = new AbortController()
      const exchange = open(res, req, parts, () => gone.abort())
      const name = decode(req.getParameter(0) ?? '')
      const search = new URLSearchParams(req.getQuery())
      const authorization = req.getHeader('authorization')
      const run = async () => {
        parts.auth.check(authorization, 'query')
        if (running >= QUERIES_MAX) throw new Problem('overloaded', `${QUERIES_MAX} queries are running here`)
        running++
        try {
          return await answer({ name, search, signal: gone.signal })
        } finally {
          running--
        }
      }
      run().then(
        (body) => answerJson(exchange, '200 OK', JSON.stringify(body)),
        (error: Error) => refuse(exchange, error, parts),
      )
    })
    app.any(path, (res, req) => {
      const problem = new Problem('wrong-method', `${req.getMethod().toUpperCase()} here: GET is understood`)
      refuse(open(res, req, parts), problem, parts, { allow: 'GET' })
    })
  }

  get('/v1/measures', async () => ({ measures: query.measures() }))
  get('/v1/measures/:name', ({ name, search, signal }) => query.rows(name, parameters.rows(search), signal))
  get('/v1/measures/:name/top', ({ name, search, signal }) => query.top(name, parameters.top(search), signal))
  get('/v1/status', () => parts.status())
}

/** What is left when no route matches. To be mounted last. `publish`: events are taken here. */
export function mountUnknown(app: TemplatedApp, parts: RouteParts, { publish }: { publish: boolean }): void {
  app.any('/v1/events', (res, req) => {
    if (!publish) {
      const problem = new Problem(
        'unknown-route',
        'a gateway takes no events: post them to an ingest listener',
      )
      refuse(open(res, req, parts), problem, parts)
      return
    }
    const problem = new Problem('wrong-method', `${req.getMethod().toUpperCase()} here: POST is understood`)
    refuse(open(res, req, parts), problem, parts, { allow: 'POST' })
  })
  app.any('/*', (res, req) => {
    refuse(open(res, req, parts), new Problem('unknown-route', `there is nothing at ${req.getUrl()}`), parts)
  })
}

export function open(res: HttpResponse, req: HttpRequest, parts: RouteParts, gone?: () => void): Exchange {
  const exchange: Exchange = {
    res,
    correlationId: parts.correlationId(req),
    aborted: false,
    closing: parts.draining(),
  }
  res.onAborted(() => {
    exchange.aborted = true
    gone?.()
  })
  return exchange
}

export function refuse(
  exchange: Exchange,
  error: Error,
  parts: RouteParts,
  headers?: Record<string, string>,
): void {
  const problem =
    error instanceof Problem ? error : new Problem('internal', 'this query failed', { cause: error })
  if (!exchange.aborted) parts.refused(problem, exchange.correlationId)
  answerProblem(exchange, problem, headers)
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
