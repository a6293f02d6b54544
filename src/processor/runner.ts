// What runs in a thread of the pool: bytes in, bytes out. It keeps its tables between tasks.

import { workerData } from 'piscina'
import type { HandlerPlan, Measure } from '../config/config.ts'
import type { Effects } from './effects.ts'
import { Fold } from './fold.ts'
import { loadPlanned } from './handler-load.ts'
import { AT_BYTES, AT_HANDLER, LEAVING, LOADING, type Loaded, type Skip } from './handling.ts'
import { processSeed, type Seed } from './seed.ts'

/** A run of frames to fold. `runs` holds pairs: where a run ends in `frames`, and its time of receipt in Unix ms. */
export interface Task {
  frames: SharedArrayBuffer
  /** Where it ends in the frames. */
  bytes: number
  runs: Float64Array
  /** Where the delta may be written. Without handlers this may be where the frames are. */
  room?: SharedArrayBuffer | undefined
  /** Where to start in the frames: between two events. */
  from?: number
  /** The name of the one handler that is to be called; no other one is, and no measure of the configuration counts. */
  only?: string
  /** Calls of handlers that are left out. */
  skips?: Skip[]
  /** Where the thread says where it is (handling.ts). */
  at?: SharedArrayBuffer
}

/** The effects of a task. */
export interface Done {
  /** Undefined where it lies in the task's room. */
  delta: ArrayBufferLike | undefined
  /** Undefined where there are no handlers. */
  effects: Effects | undefined
  /** Where it ended in the frames: before the task's end where handlers had done enough by then. */
  to: number
}

/** Folds tasks one after the other; the same in a thread and in the one process of a profiled run. */
export class Runner {
  readonly #fold: Fold

  constructor(measures: Measure[], seed: Seed = processSeed, handlers: readonly Loaded[] = []) {
    this.#fold = new Fold(measures, seed, handlers)
  }

  run({ frames, bytes, runs, room, from, only, skips, at }: Task): Done {
    const fold = this.#fold
    fold.handling?.begin(new Int32Array(at ?? new SharedArrayBuffer(AT_BYTES)), skips, only)
    const delta = fold.task(new Uint8Array(frames, 0, bytes), runs, room, from, only === undefined)
    return { delta: delta === room ? undefined : delta, effects: fold.effects, to: fold.stoppedAt }
  }
}

/** What a thread is given when it starts. */
export interface RunnerData {
  measures: Measure[]
  plans: HandlerPlan[]
  seed: Seed
}

let runner: Runner | undefined

/**
 * Piscina's entry: frames and delta are shared, neither is copied. Nor is one moved: V8 checks every use of a typed
 * array for being detached once a buffer of the thread was, and folding is 12 % slower.
 */
export default function run(task: Task): Done | Promise<Done> {
  const { measures, plans, seed } = workerData as RunnerData
  if (plans.length > 0) return runHandlers(task)
  runner ??= new Runner(measures, seed)
  return runner.run(task)
}

async function runHandlers(task: Task): Promise<Done> {
  runner ??= await load(task)
  let done: Done
  try {
    done = runner.run(task)
  } catch (error) {
    runner = undefined // its tables hold a part of this task
    throw error
  }
  // What handlers have left for later may hang or end the thread, and has to in this task: the next one is innocent.
  const at = new Int32Array(task.at ?? new SharedArrayBuffer(AT_BYTES))
  at[AT_HANDLER] = LEAVING
  await new Promise((resolve) => setImmediate(resolve))
  at[AT_HANDLER] = 0
  return done
}

/** A module may hang here too, though it was checked before. */
async function load(task: Task): Promise<Runner> {
  const { measures, plans, seed } = workerData as RunnerData
  const at = new Int32Array(task.at ?? new SharedArrayBuffer(AT_BYTES))
  at[AT_HANDLER] = LOADING
  const handlers = await loadPlanned(plans)
  at[AT_HANDLER] = 0
  return new Runner(measures, seed, handlers)
}
