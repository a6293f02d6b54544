// What the processor does about the log of a dual log that is not consumed, on the real store.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import type { LogReader, Position } from '../../src/log/log.ts'
import { openPool } from '../../src/processor/pool.ts'
import { Processor } from '../../src/processor/processor.ts'
import { readLanes } from '../../src/results/progress.ts'
import { openStore } from '../../src/results/store.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { atEnd, temporaryFolder } from '../e2e/daemon.ts'

test('what was walked is committed also while nothing is read, and told to the log only then', async (t) => {
  const dataDir = await temporaryFolder(t)
  const store = await openStore(dataDir, 0, { measures: [] })
  atEnd(t, () => store.close())
  const stop = new AbortController()
  let told: (position: Position) => void = () => {}
  const committed = new Promise<Position>((resolve) => {
    told = resolve
  })
  const reader: LogReader = {
    kind: 'dual',
    async *read(_from, signal) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
    committed: (position) => told(position),
    finished: () => [],
    close: async () => {},
  }
  const processor = new Processor({
    config: { dataDir, measures: [], log: { retention: {} }, ledger: {} } as unknown as Config,
    reader,
    store,
    epoch: await store.takeOwnership(),
    pool: openPool({ threads: 0, measures: [], plans: [], heap: 0, partitions: 1, onNote() {} }),
    partition: 0,
    logger: createLogger('processor', 'fatal'),
    metrics: new Metrics(),
  })
  const running = processor.run(stop.signal)
  processor.walked('kafka:lane', 7)
  assert.equal((await committed).get('kafka:lane'), 7)
  assert.equal(readLanes(store).get('kafka:lane'), 7)
  stop.abort()
  await running
})
