// The role that counts: owns the results store and reads the log.

import { join } from 'node:path'
import { openReader } from '../log/open.ts'
import { openPool } from '../processor/pool.ts'
import { Processor } from '../processor/processor.ts'
import { openStore, type Store } from '../results/store.ts'
import { lock } from './lock.ts'
import type { Role, RoleParts } from './role.ts'

/** How long a processor whose primary was killed may take to end before its successor gives up waiting. */
const PATIENCE_MS = 4_000

/** The writable stores of this process, by data directory: an LMDB environment is opened once in a process. */
export const openedStores = new Map<string, Store>()

export async function processor({ config, logger, failed, profiled }: RoleParts): Promise<Role> {
  const unlock = await lock(join(config.dataDir, 'processor.sock'), PATIENCE_MS)
  const store = await openStore(config.dataDir, {
    measures: config.measures,
    onNote: (note: string) => logger.warn(note),
  })
  openedStores.set(config.dataDir, store)
  const epoch = await store.takeOwnership()
  const pool = openPool(profiled ? 0 : config.pool.threads, config.measures)
  const reader = await openReader(config, {
    onDamage(damage) {
      running.damaged(damage.events)
      logger.error(damage, 'a part of the log was damaged and has been set aside')
    },
    onError: (error) => logger.error({ err: error }, 'reading the log failed'),
  })
  const running = new Processor({ config, reader, store, epoch, pool, logger })

  const stop = new AbortController()
  const ended = running.run(stop.signal)
  ended.catch((error: Error) => {
    if (!stop.signal.aborted) failed(error)
  })
  return {
    async drain() {
      stop.abort()
      await ended
      await reader.close()
      await pool.close()
      openedStores.delete(config.dataDir)
      await store.close()
      await unlock()
    },
  }
}
