// Puts dead letters and results into the stores of a data directory while no daemon runs on it.

import { millrace } from '#proto'
import { DeadLetters } from '../../src/results/dead-letters.ts'
import { putResult } from '../../src/results/handler-results.ts'
import { putCounters, readCounters } from '../../src/results/progress.ts'
import { openStore } from '../../src/results/store.ts'
import type { EventProperties } from './daemon.ts'

export interface Seeds {
  letters?: { handler: string; reason: string; event: Partial<EventProperties>; correlationId?: string }[]
  results?: { key: string; bytes: Uint8Array | string; at: number }[]
}

/** `now`: Unix milliseconds at which they died; a second before that they were received. Returns their ids. */
export async function seed(
  dataDir: string,
  partition: number,
  { letters = [], results = [] }: Seeds,
  now: number,
): Promise<string[]> {
  const store = await openStore(dataDir, partition)
  const epoch = await store.takeOwnership()
  const counters = readCounters(store)
  const dead = new DeadLetters(store, partition, counters)
  const ids = letters.map(({ handler, reason, event, correlationId = '' }, i) => {
    const bytes = millrace.v1.Event.encode({ source: 'test', type: 'test', ...event }).finish()
    return dead.add({ handler, reason, at: now - 1000, correlationId, event: bytes }, now + i)
  })
  await store.commit(epoch, (batch) => {
    dead.write(batch)
    for (const { key, bytes, at } of results) putResult(batch, key, Buffer.from(bytes), at)
    putCounters(batch, counters)
  })
  await store.close()
  return ids
}
