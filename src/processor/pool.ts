// The threads that fold tasks. One pool, shared by all partitions; tasks are bytes that move in and out.

import { FixedQueue, Piscina } from 'piscina'
import type { Measure } from '../config/config.ts'
import { TASKS_PER_PARTITION_MIN, TASKS_PER_THREAD_MAX } from '../limits.ts'
import { type Done, Runner, type RunnerData, type Task } from './runner.ts'
import { processSeed } from './seed.ts'

export interface Pool {
  /** Tasks that each partition may hand out before the first of them is back. */
  readonly tasksMax: number
  /** `task.frames` is shared, and not to be changed until this resolves. */
  run(task: Task): Promise<Done>
  close(): Promise<void>
}

/**
 * `threads`: 0 folds in the calling thread, for a process that is being profiled as one. `partitions`: that may
 * share the pool.
 */
export function openPool(threads: number, measures: Measure[], partitions: number): Pool {
  if (threads === 0) {
    const runner = new Runner(measures)
    return { tasksMax: 1, run: async (task) => runner.run(task), close: async () => {} }
  }
  const tasksMax = Math.max(TASKS_PER_PARTITION_MIN, Math.ceil((threads * TASKS_PER_THREAD_MAX) / partitions))
  const piscina = new Piscina({
    filename: new URL('./runner.js', import.meta.url).href,
    minThreads: threads,
    maxThreads: threads,
    idleTimeout: Number.POSITIVE_INFINITY,
    maxQueue: tasksMax * partitions,
    concurrentTasksPerWorker: 1,
    recordTiming: false,
    taskQueue: new FixedQueue(),
    workerData: { measures, seed: processSeed } satisfies RunnerData,
  })
  return {
    tasksMax,
    run: (task) => piscina.run(task),
    close: () => piscina.close({ force: true }),
  }
}
