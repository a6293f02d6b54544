// A profile of the whole daemon: what all its processes have seen.

import type { ProcessProfile } from './take.ts'
import type { ProfileOrder } from './thread-profile.ts'

/** Of one process, with what its samples are labelled by. */
export interface Labelled extends ProcessProfile {
  role: string
  /** Number of the worker within its role. */
  worker: number
  pid: number
}

export interface Taken {
  order: ProfileOrder
  /** Unix milliseconds. */
  began: number
  processes: Labelled[]
  /** Processes that have ended or did not answer, and why: `processor 0: has ended`. Threads are told in their process. */
  leftOut: string[]
}

/** All that was left out, one line each. */
export function allLeftOut({ processes, leftOut }: Taken): string[] {
  return [
    ...leftOut,
    ...processes.flatMap((one) => one.leftOut.map((line) => `${one.role} ${one.worker}, ${line}`)),
  ]
}
