// A process beside the test: `write DIR` commits without end, `keep DIR` puts what handlers leave and stays, `read DIR`
// answers what it sees when asked, `make DIR N` makes N stores.

import { openStore } from '../../src/results/store.ts'

const KEYS = 50
const [, , what, dir, count] = process.argv

async function write(): Promise<void> {
  const store = await openStore(dir, 0)
  const epoch = await store.takeOwnership()
  for (let n = Number(store.getMeta('position') ?? 0) + 1; ; n++) {
    const value = Buffer.from(String(n))
    await store.commit(epoch, (batch) => {
      for (let k = 0; k < KEYS; k++)
        batch.putRow(Buffer.of(0, 1, k), Buffer.concat([value, Buffer.alloc(200)]))
      batch.putLedger('w:1', value)
      batch.putMeta('position', value)
    })
  }
}

async function keep(): Promise<void> {
  const store = await openStore(dir, 0)
  const one = Buffer.from('1')
  await store.commit(await store.takeOwnership(), (batch) => {
    for (const name of ['results', 'letters', 'letterEvents'] as const) batch.put(name, one, one)
  })
  process.send?.('kept')
}

async function read(): Promise<void> {
  const store = await openStore(dir, 0, { readOnly: true })
  const held = store.snapshot()
  const bytesOf = (snapshot: ReturnType<typeof store.snapshot>) => {
    let bytes = 0
    for (const { value } of snapshot.range(Buffer.alloc(4), Buffer.of(0xff))) bytes += value.length
    return bytes
  }
  process.on('message', () => {
    const before = bytesOf(held)
    held.done()
    const now = store.snapshot()
    process.send?.({ before, now: bytesOf(now) })
    now.done()
  })
  process.send?.({ before: bytesOf(held) })
}

async function make(): Promise<void> {
  for (let partition = 0; partition < Number(count); partition++) await openStore(dir, partition)
  process.exit()
}

await { write, keep, read, make }[what as 'write']()
