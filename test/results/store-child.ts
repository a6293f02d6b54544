// A process beside the test: `write DIR` commits without end, `keep DIR` puts what handlers leave and stays, `run DIR`
// puts the rows that there are into a run, with the value 2, and stays, `read DIR` answers what it sees when asked,
// `make DIR N` makes N stores.

import { after, measureKey } from '../../src/results/keys.ts'
import { encodeRuns, RunWriter, runsKey } from '../../src/results/runs.ts'
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

async function run(): Promise<void> {
  const store = await openStore(dir, 0, { measures: await measuresOf(dir) })
  const epoch = await store.takeOwnership()
  const [{ id }] = store.measures()
  const snapshot = store.snapshot()
  const keys = [...snapshot.range(measureKey(id), after(measureKey(id)))].map(({ key }) => key)
  snapshot.done()
  await store.commit(epoch, (batch) => {
    const writer = new RunWriter()
    writer.begin(batch, id, 0)
    for (const key of keys) {
      const at = writer.reserve(key.length + 1)
      writer.room.set(key, at)
      writer.room.write('2', at + key.length)
      writer.add(at, at + key.length, at + key.length + 1)
    }
    writer.end()
    batch.putMeta(runsKey(id), encodeRuns({ first: 0, next: 1 }))
  })
  process.send?.('put')
}

/** As they are counted. */
async function measuresOf(path: string) {
  const store = await openStore(path, 0, { readOnly: true })
  const measures = store.measures().map(({ measure }) => measure)
  await store.close()
  return measures
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

await { write, keep, run, read, make }[what as 'write']()
