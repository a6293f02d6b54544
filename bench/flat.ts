// Whether what was looked at again and again over a long time stays as it is: the first third against the last.

import { median, short } from './spread.ts'

/** One look at a daemon under a load that does not change. */
export interface Look {
  /** Seconds since the load began. */
  at: number
  privateMb: number
  /** What the data directory takes on disk. */
  diskMb: number
  /** Of the requests since the look before, milliseconds. */
  p50: number
  p99: number
  /** Accepted and not processed. */
  lagEvents: number
}

/** How much each may have grown, as a ratio of the medians of the last third and the first. */
const GROWTH_MAX = { privateMb: 1.1, diskMb: 1.05, p50: 1.3, p99: 1.5 } as const
/**
 * Private memory in the short form, megabytes: beside other work a process grows for minutes until it has had its worst
 * moment, to some 210 MB. A leak of a few bytes an event is beyond this in ten minutes.
 */
const SHARED_MEMORY_MB_MAX = 320
/** Of an event rate: a backlog of more than this many seconds is one that grows. */
const LAG_SECONDS_MAX = 2

export interface Flatness {
  /** Last third over first third. */
  ratios: Record<keyof typeof GROWTH_MAX, number>
  /** What is not flat, a sentence each. */
  problems: string[]
}

/**
 * `rate`: events a second. Takes six looks at least, from when the daemon is warm. `shared`: others use the machine
 * meanwhile, so latencies say nothing.
 */
export function flatness(looks: readonly Look[], rate: number, shared = false): Flatness {
  if (looks.length < 6) throw new Error(`${looks.length} looks tell nothing: six at least`)
  const third = Math.floor(looks.length / 3)
  const problems: string[] = []
  const ratios = {} as Flatness['ratios']
  for (const name of Object.keys(GROWTH_MAX) as (keyof typeof GROWTH_MAX)[]) {
    const first = median(looks.slice(0, third).map((look) => look[name]))
    const last = median(looks.slice(-third).map((look) => look[name]))
    ratios[name] = last / first
    const held = !shared || (name !== 'p50' && name !== 'p99')
    const most = shared && name === 'privateMb' ? SHARED_MEMORY_MB_MAX / first : GROWTH_MAX[name]
    if (held && ratios[name] > most) {
      problems.push(
        `${name} went from ${first.toFixed(1)} to ${last.toFixed(1)}: more than ${short(most)} times`,
      )
    }
  }
  const lag = median(looks.slice(-third).map((look) => look.lagEvents))
  if (lag > rate * LAG_SECONDS_MAX) problems.push(`${lag} events wait to be processed at the end`)
  return { ratios, problems }
}
