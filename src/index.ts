#!/usr/bin/env node
// `node dist`: the command line, or one of the daemon's worker processes.

import cluster from 'node:cluster'

if (cluster.isWorker) {
  const { worker } = await import('./daemon/worker.ts')
  worker()
} else {
  const { main } = await import('./cli/main.ts')
  process.exitCode = await main(process.argv.slice(2))
}
