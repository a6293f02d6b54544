// A process beside the test: opens a store for reading COUNT times, each time anew, and says so.

import { closeKept } from '../../src/results/environment.ts'
import { openStore } from '../../src/results/store.ts'

const [, , dir, count] = process.argv
for (let n = 0; n < Number(count); n++) {
  const store = await openStore(dir, 0, { readOnly: true })
  store.getMeta('position')
  await store.close()
  await closeKept(`${dir}/results/0`)
}
process.disconnect()
