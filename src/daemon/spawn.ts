// How a role is started: as a worker of node:cluster, or inside this process when a profiler watches it.

import cluster from 'node:cluster'
import { EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'
import { linkPair } from './link.ts'
import type { Child } from './supervisor.ts'
import { killSelf, RoleRunner } from './worker.ts'

/**
 * True under a profiler that sees one process only: `clinic flame` (0x) starts node with `--prof` and forbids
 * forks. All roles then run in this process, and tasks are folded in its main thread. Node's own `--cpu-prof` is
 * inherited by forks and threads, and needs nothing of this.
 */
export function isProfiled(): boolean {
  return [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)].includes('--prof')
}

/** Forks a worker. SIGKILL is its end in any case: it holds nothing that is not safe. */
export function forkChild(): Child {
  cluster.setupPrimary({ exec: fileURLToPath(new URL('../index.js', import.meta.url)), args: [] })
  const worker = cluster.fork()
  return {
    pid: worker.process.pid ?? 0,
    link: {
      send: (message, sent) => {
        if (worker.isConnected()) worker.send(message, () => sent?.())
        else sent?.()
      },
      onMessage: (listener) => void worker.on('message', listener),
      onClose: (listener) => void worker.on('disconnect', listener),
    },
    kill: () => worker.process.kill('SIGKILL'),
    onExit: (listener) => {
      worker.on('exit', listener)
      // A process that could not be made has no exit; of any other error the end of the channel tells.
      worker.on('error', (error) => {
        if (worker.process.pid === undefined) listener(null, `no process: ${error.message}`)
      })
    },
  }
}

export function inlineChild(): Child {
  const [ours, theirs] = linkPair()
  const exit = new EventEmitter()
  let over = false
  new RoleRunner(theirs, true, (code) => {
    if (!over) setImmediate(() => exit.emit('exit', code ?? 0, null))
    over = true
  })
  return {
    pid: process.pid,
    link: ours,
    kill: killSelf,
    onExit: (listener) => void exit.on('exit', listener),
  }
}
