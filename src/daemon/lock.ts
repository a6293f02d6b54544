// A lock that dies with its holder: a Unix socket in the data directory. A connection that is accepted means that
// the holder lives; one that is refused means that it was killed, and the file is taken over.

import { stat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'

const RETRY_MS = 50

type Unlock = () => Promise<void>

/** Waits up to `patienceMs` for the former holder to end. Returns a function that lets go. */
export async function lock(path: string, patienceMs: number): Promise<Unlock> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const unlock = await tryLock(path)
    if (unlock !== undefined) return unlock
    if (Date.now() > deadline) throw new Error(`${path} is held by a process that is running`)
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** Undefined where a process that lives holds it. */
export async function tryLock(path: string): Promise<Unlock | undefined> {
  for (;;) {
    const server = await listen(path)
    if (server !== undefined && (await isStillOurs(path))) {
      return () => new Promise((resolve) => server.close(() => resolve()))
    }
    if (await isHeld(path)) return undefined
    await unlink(path).catch(ignoreMissing)
  }
}

/** Two may find the same stale file, and the second take away what the first has just made: so it looks again. */
async function isStillOurs(path: string): Promise<boolean> {
  const made = await inode(path)
  await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  return made !== undefined && (await inode(path)) === made
}

async function inode(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    // Workers of one primary share what they listen on, unless they ask for it alone.
    server.listen({ path, exclusive: true }, () => resolve(server.unref()))
  })
}

function isHeld(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT')
    })
  })
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
