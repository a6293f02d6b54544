// What a micro bench is: a step of the road by itself, in this process.

import { bodies } from '../events.ts'

export interface Case {
  name: string
  /** What a call does so many of, and what they are called. */
  count: number
  unit: 'event' | 'row' | 'query' | 'request' | 'second' | 'scrape'
  /** What it returns is kept from being optimised away. */
  run(): unknown
  /** Removes what it left behind. */
  close?(): Promise<void>
}

/** As in the table of `make bench`: one measure by subject. */
export const measure = {
  name: 'by-subject',
  where: {},
  by: ['subject'],
  value: 'value',
  window: 60_000,
  quantiles: true,
} as const

/** A task of the pool: so many events of so many subjects, end to end. */
export function taskFrames(events: number, subjects: number): Buffer {
  return Buffer.concat(bodies(100, subjects, 0, events / 100))
}
