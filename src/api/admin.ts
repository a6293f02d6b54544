// The admin port of the primary: is the daemon alive, and does it take events.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Listen } from '../config/config.ts'
import { Problem } from '../errors.ts'

export interface AdminParts {
  listen: Listen
  /** Why the daemon is not ready, or undefined when it is. */
  notReady(): string | undefined
}

/** Listens, and returns the server with the address it got. */
export function openAdmin({ listen, notReady }: AdminParts): Promise<{ server: Server; address: Listen }> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string) => {
      response.writeHead(status, { 'content-type': type }).end(body)
    }
    const path = request.url?.split('?')[0]
    if (path === '/healthz') answer(200, 'text/plain', 'ok\n')
    else if (path === '/readyz') {
      const reason = notReady()
      answer(reason === undefined ? 200 : 503, 'text/plain', `${reason ?? 'ready'}\n`)
    } else {
      const problem = new Problem('unknown-route', `there is nothing at ${path}`)
      answer(problem.status, 'application/problem+json', problem.body(''))
    }
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
