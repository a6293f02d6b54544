// The queries: what was counted, and how the daemon is. Every listener answers them from the results store.

import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import { answerBytes, answerJson, answerProblem, type Exchange } from '../answer.ts'
import type { Auth } from '../auth.ts'
import { Problem } from '../errors.ts'
import { CHANGES_MAX, QUERIES_MAX } from '../limits.ts'
import type { Query } from '../results/query.ts'
import { turnTime } from '../telemetry/clock.ts'
import { Route } from '../telemetry/doors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Letters } from './dead-letters.ts'
import { Content, type Results } from './handler-results.ts'
import { parameters } from './parameters.ts'

export interface RouteParts {
  /** Resolves when what was committed before can be read. */
  fresh(): Promise<void>
  query: Query
  results: Results
  letters: Letters
  auth: Auth
  status(): Promise<unknown>
  /** Answers close their connection: someone else takes the next request. */
  closing(): boolean
  correlationId(req: HttpRequest): string
  refused(problem: Problem, correlationId: string): void
  metrics: Metrics
}

type Answer = (request: { name: string; search: URLSearchParams; signal: AbortSignal }) => Promise<unknown>
type Method = 'get' | 'post' | 'del'

/** What a key must allow, and how many of these one listener does at once. */
const kinds = {
  query: { scope: 'query', most: QUERIES_MAX, called: 'queries' },
  change: { scope: 'admin', most: CHANGES_MAX, called: 'changes' },
} as const

export function mountQueries(app: TemplatedApp, parts: RouteParts): void {
  const { query, results, letters } = parts
  const running = { query: 0, change: 0 }

  /** A route that answers with JSON, or with the problem that the method's answer throws. */
  const route = (path: string, answers: Partial<Record<Method, Answer>>) => {
    const counted = new Route(parts.metrics, templateOf(path))
    for (const [method, answer] of Object.entries(answers) as [Method, Answer][]) {
      const kind = method === 'get' ? 'query' : 'change'
      const { scope, most, called } = kinds[kind]
      app[method](path, (res, req) => {
        const gone = new AbortController()
        const exchange = open(res, req, parts, counted, () => gone.abort())
        const name = decode(path.endsWith('*') ? req.getUrl().slice(path.length - 1) : req.getParameter(0))
        const search = new URLSearchParams(req.getQuery())
        const authorization = req.getHeader('authorization')
        const run = async () => {
          parts.auth.check(authorization, scope)
          if (running[kind] >= most) throw new Problem('overloaded', `${most} ${called} are running here`)
          running[kind]++
          try {
            await parts.fresh()
            const body = await answer({ name, search, signal: gone.signal })
            return body instanceof Content ? body : JSON.stringify(body)
          } finally {
            running[kind]--
          }
        }
        run().then(
          (body) => {
            if (body instanceof Content) answerBytes(exchange, body.type, body.bytes)
            else answerJson(exchange, '200 OK', body)
          },
          (error: Error) => refuse(exchange, error, parts),
        )
      })
    }
    const methods = Object.keys(answers).map((method) => (method === 'del' ? 'DELETE' : method.toUpperCase()))
    app.any(path, (res, req) => {
      const understood = `${methods.join(' and ')} ${methods.length === 1 ? 'is' : 'are'} understood`
      const problem = new Problem('wrong-method', `${req.getMethod().toUpperCase()} here: ${understood}`)
      refuse(open(res, req, parts, counted), problem, parts, { allow: methods.join(', ') })
    })
  }
  const get = (path: string, answer: Answer) => route(path, { get: answer })

  get('/v1/measures', async () => ({ measures: query.measures() }))
  get('/v1/measures/:name', ({ name, search, signal }) => query.rows(name, parameters.rows(search), signal))
  get('/v1/measures/:name/top', ({ name, search, signal }) => query.top(name, parameters.top(search), signal))
  get('/v1/results', async ({ search }) => results.list(parameters.results(search)))
  get('/v1/results/*', async ({ name }) => results.one(name))
  route('/v1/dead-letters', {
    get: ({ search, signal }) => letters.list(parameters.letters(search), signal),
    del: ({ search, signal }) => letters.all('drop', parameters.allLetters(search), signal),
  })
  route('/v1/dead-letters/replay', {
    post: ({ search, signal }) => letters.all('replay', parameters.allLetters(search), signal),
  })
  route('/v1/dead-letters/:id', {
    get: async ({ name }) => letters.show(name),
    del: ({ name }) => letters.one('drop', name),
  })
  route('/v1/dead-letters/:id/replay', { post: ({ name }) => letters.one('replay', name) })
  get('/v1/status', () => parts.status())
}

/** What is left when no route matches. To be mounted last. `publish`: events are taken here. */
export function mountUnknown(app: TemplatedApp, parts: RouteParts, { publish }: { publish: boolean }): void {
  const events = new Route(parts.metrics, '/v1/events')
  const other = new Route(parts.metrics, 'other')
  app.any('/v1/events', (res, req) => {
    if (!publish) {
      const problem = new Problem(
        'unknown-route',
        'a gateway takes no events: post them to an ingest listener',
      )
      refuse(open(res, req, parts, events), problem, parts)
      return
    }
    const problem = new Problem('wrong-method', `${req.getMethod().toUpperCase()} here: POST is understood`)
    refuse(open(res, req, parts, events), problem, parts, { allow: 'POST' })
  })
  app.any('/*', (res, req) => {
    refuse(
      open(res, req, parts, other),
      new Problem('unknown-route', `there is nothing at ${req.getUrl()}`),
      parts,
    )
  })
}

export function open(
  res: HttpResponse,
  req: HttpRequest,
  parts: RouteParts,
  route: Route,
  gone?: () => void,
): Exchange {
  const exchange: Exchange = {
    res,
    correlationId: parts.correlationId(req),
    aborted: false,
    closing: parts.closing(),
    route,
    since: turnTime(),
  }
  res.onAborted(() => {
    if (!exchange.aborted) route.aborted(exchange.since, exchange.correlationId)
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

/** Of a path as uWebSockets.js takes it. */
function templateOf(path: string): string {
  return path.replace(/:(\w+)/g, '{$1}').replace('*', '{key}')
}

function decode(part = ''): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
