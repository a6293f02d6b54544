// A process beside the test: `again DIR N` opens a store for reading N times, each time anew; `each DIR N` opens the stores of
// N partitions once, each a little after it was made.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { closeKept } from '../../src/results/environment.ts'
import { openStore } from '../../src/results/store.ts'

const OWNED_MS = 8
const [, , what, dir, count] = process.argv

async function again(): Promise<void> {
  for (let n = 0; n < Number(count); n++) {
    const store = await openStore(dir, 0, { readOnly: true })
    store.getMeta('position')
    await store.close()
    await closeKept(join(dir, 'results', '0'))
  }
}

async function each(): Promise<void> {
  for (let partition = 0; partition < Number(count); partition++) {
    while (!existsSync(join(dir, 'results', String(partition)))) await setImmediate()
    await sleep(Math.random() * OWNED_MS)
    const store = await openStore(dir, partition, { readOnly: true })
    store.getMeta('position')
    process.send?.(partition)
  }
}

await { again, each }[what as 'again' | 'each']()
process.exit() // as a daemon's process does: it leaves open what it has open
