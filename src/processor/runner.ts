// What runs in a thread of the pool: bytes in, bytes out. It keeps its tables between tasks.

import { workerData } from 'piscina'
import type { Measure } from '../config/config.ts'
import { Fold } from './fold.ts'
import { processSeed, type Seed } from './seed.ts'

/** A run of frames to fold. `runs` holds pairs: where a run ends in `frames`, and its time of receipt in Unix ms. */
export interface Task {
  frames: SharedArrayBuffer
  bytes: number
  runs: Float64Array
}

/** The effects of a task: a delta, undefined where it lies over the task's frames. */
export interface Done {
  delta: ArrayBufferLike | undefined
}

/** Folds tasks one after the other; the same in a thread and in the one process of a profiled run. */
export class Runner {
  readonly #fold: Fold

  constructor(measures: Measure[], seed: Seed = processSeed) {
    this.#fold = new Fold(measures, seed)
  }

  run({ frames, bytes, runs }: Task): Done {
    const delta = this.#fold.task(new Uint8Array(frames, 0, bytes), runs, frames)
    return { delta: delta === frames ? undefined : delta }
  }
}

/** What a thread is given when it starts. */
export interface RunnerData {
  measures: Measure[]
  seed: Seed
}

let runner: Runner | undefined

/**
 * Piscina's entry: frames and delta are shared, neither is copied. Nor is one moved: V8 checks every use of a typed
 * array for being detached once a buffer of the thread was, and folding is 12 % slower.
 */
export default function run(task: Task): Done {
  if (runner === undefined) {
    const { measures, seed } = workerData as RunnerData
    runner = new Runner(measures, seed)
  }
  return runner.run(task)
}
