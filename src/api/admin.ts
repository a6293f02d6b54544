// The admin port of the primary: is the daemon alive, does it take events, and what is going on in it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP } from 'node:net'
import type { Auth } from '../auth.ts'
import type { Listen } from '../config/config.ts'
import { Problem } from '../errors.ts'

/** What answers at a path of the admin port. A Problem that it throws is answered as one. */
export interface AdminRoute {
  /** GET (with HEAD) by default. */
  methods?: readonly string[]
  /** Open to everyone who reaches the port, also where the configuration has keys: others need the scope admin. */
  open?: true
  answer(request: IncomingMessage, response: ServerResponse, url: URL): void | Promise<void>
}

export interface AdminParts {
  listen: Listen
  /** The keys in force at this moment: a reload may change them. */
  auth(): Auth
  /** By path; one that ends in `/` answers for all paths below it that have no route of their own. */
  routes: Readonly<Record<string, AdminRoute>>
  /** Of a request: what the client sent, or a new one. */
  correlationId(request: IncomingMessage): string
  /** Told, for the log, of each answer that says that the daemon could not do what it should. */
  failed(problem: Problem, correlationId: string): void
}

/** /healthz and /readyz. `notReady`: why the daemon is not ready, or undefined when it is. */
export function healthRoutes(notReady: () => string | undefined): Record<string, AdminRoute> {
  const text = (response: ServerResponse, status: number, body: string) =>
    void response.writeHead(status, { 'content-type': 'text/plain' }).end(body)
  return {
    '/healthz': { open: true, answer: (_, response) => text(response, 200, 'ok\n') },
    '/readyz': {
      open: true,
      answer(_, response) {
        const reason = notReady()
        text(response, reason === undefined ? 200 : 503, `${reason ?? 'ready'}\n`)
      },
    },
  }
}

/** Listens, and returns the server with the address it got. */
export function openAdmin(parts: AdminParts): Promise<{ server: Server; address: Listen }> {
  const { listen } = parts
  const server = createServer((request, response) => {
    void answer(parts, request, response).catch((error) => {
      if (response.destroyed) return // whoever asked is gone
      const problem =
        error instanceof Problem ? error : new Problem('internal', (error as Error).message, { cause: error })
      const correlationId = parts.correlationId(request)
      if (problem.status >= 500) parts.failed(problem, correlationId)
      answerProblem(response, problem, correlationId)
    })
  })
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(new Error(`the admin port ${listen.host}:${listen.port}: ${error.message}`, { cause: error }))
    })
    server.listen(listen.port, listen.host, () => {
      const { port } = server.address() as AddressInfo
      resolve({ server, address: { host: listen.host, port } })
    })
  })
}

async function answer(
  { auth, routes }: AdminParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const target = request.url?.replace(/^[/\\]+/, '/') ?? '/'
  if (!URL.canParse(target, 'http://admin')) throw new Problem('malformed', 'this is no address')
  const url = new URL(target, 'http://admin')
  const route = routeOf(routes, url.pathname)
  if (route === undefined) throw new Problem('unknown-route', `there is nothing at ${url.pathname}`)
  const methods = route.methods ?? ['GET', 'HEAD']
  if (!methods.includes(request.method ?? '')) {
    response.setHeader('allow', methods.join(', '))
    throw new Problem('wrong-method', `${url.pathname} answers to ${methods.join(', ')}`)
  }
  if (route.open !== true) {
    checkOrigin(request)
    auth().check(request.headers.authorization ?? '', 'admin')
  }
  await route.answer(request, response, url)
}

function routeOf(routes: AdminParts['routes'], path: string): AdminRoute | undefined {
  if (Object.hasOwn(routes, path)) return routes[path]
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
    const below = path.slice(0, end + 1)
    if (Object.hasOwn(routes, below)) return routes[below]
  }
  return undefined
}

/**
 * A page of another site that is open in a browser on this machine reaches loopback too: directly, which its Origin tells,
 * or Sec-Fetch-Site where it only wants to have something done, or under a name of its own that it points here (DNS
 * rebinding), which the Host tells: such a name has a dot, which names in a cluster of containers do without.
 */
function checkOrigin({ headers }: IncomingMessage): void {
  const { host = '', origin, 'sec-fetch-site': site, authorization } = headers
  const isForeign = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`
  if (isForeign || (site !== undefined && site !== 'same-origin' && site !== 'none')) {
    throw new Problem('out-of-scope', `pages of ${origin ?? 'another site'} may not use the admin port`)
  }
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (authorization === undefined && name.includes('.') && isIP(name) === 0) {
    throw new Problem(
      'out-of-scope',
      `without a key the admin port is reached by its address, not as ${name}`,
    )
  }
}

function answerProblem(response: ServerResponse, problem: Problem, correlationId: string): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { retryAfter } = problem
  response.setHeader('x-correlation-id', correlationId)
  if (retryAfter !== undefined) response.setHeader('retry-after', String(retryAfter))
  if (problem.code === 'unauthenticated') response.setHeader('www-authenticate', 'Bearer')
  response
    .writeHead(problem.status, { 'content-type': 'application/problem+json' })
    .end(problem.body(correlationId))
}
