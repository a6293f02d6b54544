// A process beside the test: `write DIR` commits without end, `keep DIR` puts what handlers leave and stays, `run DIR N`
// puts rows of N keys into runs and stays, `own DIR` takes the store over and stays, `read DIR` answers what it sees when
// asked, `make DIR N` makes N stores.

import { encodeParts, rowKey } from '../../src/results/keys.ts'
import { encodeRuns, RunWriter, runsKey } from '../../src/results/runs.ts'
import { openStore } from '../../src/results/store.ts'

const KEYS = 50
const RUNS = 3
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

/** Rows of the only measure, each run with every second key of the one before, and the run's number as value. */
async function run(): Promise<void> {
  const store = await openStore(dir, 0, { measures: await measuresOf(dir) })
  const epoch = await store.takeOwnership()
  const [{ id }] = store.measures()
  const writer = new RunWriter()
  await store.commit(epoch, (batch) => {
    for (let n = 0; n < RUNS; n++) {
      writer.begin(batch, id, n)
      for (let k = 0; k < Number(count); k += 2 ** n) {
        const key = rowKey(id, encodeParts([String(k).padStart(6, '0')]), 0)
        const at = writer.reserve(key.length + 1)
        const keyEnd = at + writer.room.write(key.toString('latin1'), at, 'latin1')
        writer.add(at, keyEnd, keyEnd + writer.room.write(String(n), keyEnd))
      }
      writer.end()
    }
    batch.putMeta(runsKey(id), encodeRuns({ first: 0, next: RUNS }))
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

async function own(): Promise<void> {
  const store = await openStore(dir, 0, { measures: await measuresOf(dir) })
  await store.takeOwnership()
  process.on('message', () => {}) // it stays as long as it can be told something
  process.send?.('owned')
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

await { write, keep, run, own, read, make }[what as 'write']()
