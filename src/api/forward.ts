// What the console asks of the data port, by way of the admin port: a page may speak with its own origin only.

import { type IncomingMessage, request as plainRequest, type ServerResponse } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { pipeline } from 'node:stream/promises'
import type { Config } from '../config/config.ts'
import { Problem } from '../errors.ts'
import { FORWARD_SILENT_MS_MAX, FORWARDS_MAX } from '../limits.ts'
import type { AdminRoute } from './admin.ts'

/** What is passed on, by method: reading, and what is done to dead letters. Events are not taken here. */
const forwarded: Readonly<Record<string, RegExp>> = {
  GET: /^\/v1\/(status|measures(\/[^/]+(\/top)?)?|results(\/.+)?|dead-letters(\/[^/]+)?|events\/tail)$/,
  POST: /^\/v1\/dead-letters\/([^/]+\/)?replay$/,
  DELETE: /^\/v1\/dead-letters(\/[^/]+)?$/,
}
/** None of these requests has a body, so nothing is said of one. */
const requestHeaders = ['authorization', 'x-correlation-id', 'traceparent', 'accept']
const answerHeaders = [
  ...['content-type', 'cache-control', 'x-content-type-options'],
  ...['x-correlation-id', 'retry-after', 'www-authenticate', 'allow'],
]

/**
 * Passes requests on to the data port of this daemon, and streams the answers. `http`: where it is, or undefined
 * where there is none. Keys are checked by the admin port, for the scope admin, and then by the data port.
 */
export function forwardRoute(http: () => Config['http'] | undefined): AdminRoute {
  let open = 0
  return {
    methods: Object.keys(forwarded),
    async answer(request, response, url) {
      check(request.method ?? '', url.pathname, response)
      const to = http()
      if (to === undefined) {
        const detail =
          'this daemon has no data port, as its --roles say: ask one that has, such as --roles gateway'
        throw new Problem('no-data-port', detail)
      }
      if (open >= FORWARDS_MAX) {
        throw new Problem('overloaded', `${FORWARDS_MAX} requests are on their way to the data port`)
      }
      open++
      try {
        await forward(request, response, url.pathname + url.search, to)
      } finally {
        open--
      }
    },
  }
}

function check(method: string, path: string, response: ServerResponse): void {
  const methods = Object.keys(forwarded).filter((one) => forwarded[one].test(path))
  if (methods.includes(method)) return
  if (methods.length === 0) {
    throw new Problem('unknown-route', `${path} is not passed on by the admin port: ask the data port`)
  }
  response.setHeader('allow', methods.join(', '))
  throw new Problem('wrong-method', `${path} answers to ${methods.join(', ')} here`)
}

/** Resolves when the answer is through, or whoever asked is gone. */
async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  { listen, tls }: Config['http'],
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const options = {
    host: reachable(listen.host),
    port: listen.port,
    method: request.method,
    path,
    headers: picked(request, requestHeaders),
    agent: false, // a connection each: one that is kept may be closed just when it is used again
    signal: gone.signal,
    timeout: FORWARD_SILENT_MS_MAX,
    // The certificate is for the names that clients know; this connection stays within the machine.
    rejectUnauthorized: false,
  } as const
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = tls === undefined ? plainRequest(options, resolve) : tlsRequest(options, resolve)
      const silent = () => sent.destroy(new Error(`nothing was heard for ${FORWARD_SILENT_MS_MAX / 1000} s`))
      sent.on('error', reject).on('timeout', silent).end()
    })
    response.writeHead(answer.statusCode ?? 502, picked(answer, answerHeaders))
    response.flushHeaders() // a tap may have nothing to tell for long
    await pipeline(answer, response)
  } catch (error) {
    if (gone.signal.aborted) return
    const { message } = error as Error
    throw new Problem('no-data-port', `the data port ${listen.host}:${listen.port}: ${message}`, {
      cause: error,
    })
  }
}

function picked({ headers }: IncomingMessage, names: readonly string[]): Record<string, string> {
  const values = names.map((name) => [name, headers[name]])
  return Object.fromEntries(values.filter(([, value]) => typeof value === 'string'))
}

/** An address that listens everywhere is reached at loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
