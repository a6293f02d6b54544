// What runs in a thread of the pool: bytes in, bytes out. It keeps its tables between tasks, and shares nothing.

import { move, transferableSymbol, valueSymbol, workerData } from 'piscina'
import type { Measure } from '../config/config.ts'
import { Fold } from './fold.ts'
import { processSeed, type Seed } from './seed.ts'

/** A run of frames to fold. `runs` holds pairs: where a run ends in `frames`, and its time of receipt in Unix ms. */
export interface Task {
  frames: SharedArrayBuffer
  bytes: number
  runs: Float64Array
}

/** The effects of a task. */
export interface Done {
  delta: ArrayBuffer
}

/** Folds tasks one after the other; the same in a thread and in the one process of a profiled run. */
export class Runner {
  readonly #fold: Fold

  constructor(measures: Measure[], seed: Seed = processSeed) {
    this.#fold = new Fold(measures, seed)
  }

  run(task: Task): Done {
    const frames = new Uint8Array(task.frames, 0, task.bytes)
    return { delta: this.#fold.task(frames, task.runs) }
  }
}

/** What a thread is given when it starts. */
export interface RunnerData {
  measures: Measure[]
  seed: Seed
}

let runner: Runner | undefined

/** Piscina's entry: frames are shared, the delta moves; neither is copied. */
export default function run(task: Task): Done {
  if (runner === undefined) {
    const { measures, seed } = workerData as RunnerData
    runner = new Runner(measures, seed)
  }
  const done = runner.run(task)
  return move({
    [transferableSymbol]: [done.delta],
    [valueSymbol]: done,
  } as never) as unknown as Done
}
