// Whether a server is there at all: it speaks first. The client keeps the socket of an attempt that got no answer, so that
// a server that is stopped for an hour would cost a thousand of them; it is not let try before this has.

import { createConnection } from 'node:net'
import { CONNECT_MS_MAX } from '../../limits.ts'
import { LogUnavailable } from '../log.ts'

/** `host:port`, also `[::1]:port`. */
export function addressOf(server: string): { host: string; port: number } {
  const colon = server.lastIndexOf(':')
  return { host: server.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(server.slice(colon + 1)) }
}

/** Resolves once the server has said something. Rejects with the socket's error, or LogUnavailable. */
export function greeting(server: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(addressOf(server))
    const silent = () => socket.destroy(new LogUnavailable(`${server} does not answer`))
    const timer = setTimeout(silent, CONNECT_MS_MAX)
    socket
      .on('data', () => {
        socket.destroy()
        resolve()
      })
      .on('error', reject)
      .on('end', () => socket.destroy(new LogUnavailable(`${server} closes the connection at once`)))
      .on('close', () => clearTimeout(timer))
  })
}
