// The role that counts: owns the results stores of its partitions and reads their log.

import { openReader, type ReaderHooks } from '../log/open.ts'
import { measuresOf } from '../processor/merged.ts'
import { openPool, type Pool } from '../processor/pool.ts'
import { Processor } from '../processor/processor.ts'
import { partitionOf } from '../results/dead-letters.ts'
import { Fenced, openStore } from '../results/store.ts'
import { brokerLines } from './broker-lines.ts'
import { openedStores } from './opened-stores.ts'
import { openOwnership, seatsOf } from './ownership.ts'
import { Partitions, type Work } from './partitions.ts'
import type { Role, RoleParts } from './role.ts'
import { takeSeat } from './seat.ts'

/** How long a processor whose primary was killed may take to end before its successor gives up waiting. */
const PATIENCE_MS = 4_000

export async function processor(parts: RoleParts): Promise<Role> {
  const { config, logger, failed, profiled, metrics } = parts
  const seat = await takeSeat(config.dataDir, seatsOf(config), PATIENCE_MS)
  const pool = openPool({
    threads: profiled ? 0 : config.pool.threads,
    heap: config.pool.heap,
    measures: config.measures,
    plans: config.plans ?? [],
    partitions: config.log.partitions,
    onNote: (note, about) => logger.warn(about, note),
    metrics,
  })
  const stop = new AbortController()
  let draining = false
  const working = new Map<number, Processor>()
  const partitions = new Partitions({
    open: (partition, signal) => openPartition(parts, partition, pool, working, signal),
    isFenced: (error) => error instanceof Fenced,
    logger,
    failed: (error) => {
      if (!draining) failed(error)
    },
  })
  const ownership = await openOwnership(config, seat, brokerLines(logger, metrics))
  let ended!: Promise<void>
  await new Promise<void>((resolve, reject) => {
    const changed = (owned: ReadonlySet<number>) => {
      if (draining) return
      logger.debug({ partitions: [...owned] }, 'partitions owned')
      partitions.own(owned)
      resolve()
    }
    ended = ownership.run(changed, stop.signal)
    ended.catch((error: Error) => {
      reject(error)
      if (!draining) failed(error)
    })
  })
  await partitions.settled()
  return {
    async letters({ act, ids }) {
      const orders = [...working].map(([partition, one]) =>
        one.letters({ act, ids: ids.filter((id) => partitionOf(id) === partition) }),
      )
      return (await Promise.all(orders)).flat()
    },
    /** The partitions first: whoever takes them over finds all that was begun. */
    async drain() {
      draining = true
      await partitions.close()
      stop.abort()
      await ended
      await pool.close()
      await seat.leave()
    },
  }
}

async function openPartition(
  { config, logger, metrics }: RoleParts,
  partition: number,
  pool: Pool,
  working: Map<number, Processor>,
  signal: AbortSignal,
): Promise<Work> {
  const store = await openStore(config.dataDir, partition, {
    measures: measuresOf(config),
    onNote: (note: string) => logger.warn({ partition }, note),
  })
  openedStores.set(partition, store)
  const unmeasured = metrics.reading(
    'millrace_store_bytes',
    { partition: String(partition) },
    () => store.fileBytes,
  )
  const closeStore = async () => {
    unmeasured()
    openedStores.delete(partition)
    await store.close()
  }
  try {
    const epoch = await store.takeOwnership()
    const hooks: ReaderHooks = {
      ...brokerLines(logger, metrics),
      onDamage(damage) {
        processor.damaged(damage.events)
        logger.error({ partition, ...damage }, 'a part of the log was damaged and has been set aside')
      },
      onError: (error) => logger.error({ partition, err: error }, 'reading the log failed'),
      onLost(lane, from, to) {
        // A stream's numbers are shared by all partitions: how many of them were ours is not known.
        const sharers = lane.startsWith('jetstream:') ? config.log.partitions : 1
        const segments = Math.ceil((to - from) / sharers)
        processor.lost(segments)
        logger.error(
          { partition, lane, from, to, segments },
          'the broker does not hold these segments any more',
        )
      },
      onForeign(lane, at, reason) {
        processor.lost(1)
        logger.error({ partition, lane, at, reason }, 'something in the log is no segment: skipped')
      },
      onOverdue: (broker, writer, sequence) =>
        logger.error(
          { partition, broker, writer, sequence },
          `a segment is in ${broker} only, which is not read: run millrace reconcile`,
        ),
      onWalked: (lane, next) => processor.walked(lane, next),
      counted: (writer, sequence, receivedAt) => processor.hasCounted(writer, sequence, receivedAt),
    }
    const reader = await openReader(config, partition, hooks, signal)
    const processor = new Processor({ config, reader, store, partition, epoch, pool, logger, metrics })
    working.set(partition, processor)
    const stop = new AbortController()
    const ended = processor.run(stop.signal)
    return {
      ended,
      async close() {
        stop.abort()
        working.delete(partition)
        try {
          await ended
        } finally {
          await reader.close()
          await closeStore()
        }
      },
    }
  } catch (error) {
    await closeStore()
    throw error
  }
}
