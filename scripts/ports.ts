// Ports for servers of tests, demos and benches that have to come back on the same one.
//
// A port that the system chose is one of those that it gives to any socket, so while its server is down, a stranger may
// be given it. These are from below that range, as it is by default, and whoever asks gets one of its own for as long
// as its process lives: a UDP socket of the same number, which nothing else here uses, keeps others off.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

const HOST = '127.0.0.1'
const LOWEST = 10_000
const COUNT = 20_000
const TRIES_MAX = 1000

/** A free TCP port of loopback that is this process's until it ends. Rejects where none is found. */
export async function reservePort(): Promise<number> {
  for (let n = 0; n < TRIES_MAX; n++) {
    const port = LOWEST + Math.floor(Math.random() * COUNT)
    if ((await reserve(port)) && (await isFree(port))) return port
  }
  throw new Error(`none of ${TRIES_MAX} ports is free`)
}

async function reserve(port: number): Promise<boolean> {
  const socket = createSocket('udp4')
  try {
    socket.bind({ port, address: HOST, exclusive: true })
    await once(socket, 'listening')
    socket.unref()
    return true
  } catch (error) {
    socket.close()
    return taken(error as NodeJS.ErrnoException)
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen({ host: HOST, port, exclusive: true })
    await once(server, 'listening')
    server.close()
    await once(server, 'close')
    return true
  } catch (error) {
    return taken(error as NodeJS.ErrnoException)
  }
}

/** False, for it is not free; throws where that is not the reason. */
function taken(error: NodeJS.ErrnoException): false {
  if (error.code === 'EADDRINUSE' || error.code === 'EACCES') return false
  throw error
}
