// The threads that fold tasks. One pool, shared by all partitions; tasks are bytes that move in and out.

import { FixedQueue, Piscina } from 'piscina'
import type { HandlerPlan, Measure } from '../config/config.ts'
import { REPLAYS_AT_ONCE_MAX, TASKS_PER_PARTITION_MIN, TASKS_PER_THREAD_MAX } from '../limits.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { loadPlanned } from './handler-load.ts'
import { PoolMetrics } from './pool-metrics.ts'
import { type Done, Runner, type RunnerData, type Task } from './runner.ts'
import { processSeed } from './seed.ts'
import { Watched } from './watched.ts'

export interface Pool {
  /** Tasks that each partition may hand out before the first of them is back. */
  readonly tasksMax: number
  /**
   * What a task came to, in several parts where it had to be split; the next part is begun when it is asked for.
   * `task.frames` is shared, and not to be changed until the last one.
   */
  run(task: Task): AsyncIterable<Done>
  close(): Promise<void>
}

export interface PoolOptions {
  /** 0 folds in the calling thread, for a process that is being profiled as one: no handler is stopped there. */
  threads: number
  measures: Measure[]
  plans: HandlerPlan[]
  /** Bytes of JavaScript objects of a thread, where there are handlers. */
  heap: number
  /** That may share the pool. */
  partitions: number
  /** Told when a handler has cost a thread. */
  onNote(note: string, about: Record<string, unknown>): void
  metrics?: Metrics
}

export function openPool(options: PoolOptions): Pool {
  const { threads, metrics } = options
  if (metrics === undefined) return open(options, () => {})
  const measured = new PoolMetrics(metrics, Math.max(1, threads))
  const pool = open(options, () => measured.replaced())
  return { ...pool, run: (task) => measured.run(pool.run(task)) }
}

/** `replaced`: told of each thread that is replaced. */
function open(
  { threads, measures, plans, heap, partitions, onNote }: PoolOptions,
  replaced: () => void,
): Pool {
  if (threads === 0) return openInline(measures, plans)
  const tasksMax = Math.max(TASKS_PER_PARTITION_MIN, Math.ceil((threads * TASKS_PER_THREAD_MAX) / partitions))
  const threadsOf = (size: number, maxQueue: number) =>
    new Piscina({
      filename: new URL('./runner.js', import.meta.url).href,
      minThreads: size,
      maxThreads: size,
      idleTimeout: Number.POSITIVE_INFINITY,
      maxQueue,
      concurrentTasksPerWorker: 1,
      recordTiming: false,
      taskQueue: new FixedQueue(),
      workerData: { measures, plans, seed: processSeed } satisfies RunnerData,
      ...(plans.length === 0 ? {} : { resourceLimits: { maxOldGenerationSizeMb: heap / 2 ** 20 } }),
    })
  if (plans.length > 0) {
    const pool = threadsOf(threads, (tasksMax + REPLAYS_AT_ONCE_MAX) * partitions)
    const watched = new Watched({ pool, fresh: () => threadsOf(1, 1), plans, onNote, replaced })
    return { tasksMax, run: (task) => watched.run(task), close: () => watched.close() }
  }
  const piscina = threadsOf(threads, tasksMax * partitions)
  return {
    tasksMax,
    run: (task) => one(piscina.run(task)),
    close: () => piscina.close({ force: true }),
  }
}

async function* one(done: Promise<Done>): AsyncIterable<Done> {
  yield await done
}

function openInline(measures: Measure[], plans: HandlerPlan[]): Pool {
  let loading: Promise<Runner> | undefined
  const load = () => loadPlanned(plans).then((handlers) => new Runner(measures, processSeed, handlers))
  return {
    tasksMax: 1,
    async *run(task) {
      for (let from = task.from ?? 0; ; ) {
        loading ??= load()
        const runner = await loading
        let done: Done
        try {
          done = runner.run({ ...task, from, room: from === 0 ? task.room : undefined })
        } catch (error) {
          loading = undefined // its tables hold a part of this task
          throw error
        }
        yield done
        from = done.to
        if (from >= task.bytes) return
      }
    },
    close: async () => {},
  }
}
