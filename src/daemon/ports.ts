// uWebSockets.js shares its port with any process of the same user that asks, so a second daemon would silently
// take half of the connections. Before the listeners start, the port is proven to be free.

import { createServer } from 'node:net'
import type { Listen } from '../config/config.ts'

const RETRY_MS = 50

/** The address of a setting with its port settled: a free one where port 0 was asked for. Waits a little for a former owner. */
export async function freePort(listen: Listen, patienceMs: number, setting: string): Promise<Listen> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const port = await tryBind(listen)
    if (port !== undefined) return { host: listen.host, port }
    if (Date.now() > deadline) {
      throw new Error(
        `${listen.host}:${listen.port} is in use by another process; stop it or set another ${setting}`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

function tryBind({ host, port }: Listen): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(new Error(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error }))
    })
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? address!.port : port))
    })
  })
}
