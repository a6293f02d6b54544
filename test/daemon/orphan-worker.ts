// A primary, and a worker of it that commits to a results store without a pause: orphan-worker.js PATH

import cluster from 'node:cluster'
import { endWithPrimary } from '../../src/daemon/worker.ts'
import { openStore } from '../../src/results/store.ts'

const path = process.argv[2]
if (cluster.isPrimary) {
  const worker = cluster.fork()
  worker.once('message', () => console.log(worker.process.pid))
} else {
  endWithPrimary()
  const store = await openStore(path, 0)
  const epoch = await store.takeOwnership()
  process.send!('committing')
  for (let n = 0; ; n++) await store.commit(epoch, (batch) => batch.putMeta('n', Buffer.from(`${n}`)))
}
