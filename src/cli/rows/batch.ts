// What readers hand on: one request's worth of events, and where in the input they came from.

import type { Body } from '../../client/door.ts'
import { Failure } from '../command.ts'

export interface Batch extends Body {
  /** What the numbers below count. */
  unit: 'line' | 'row' | 'event'
  /** Of the first and the last, from 1. */
  from: number
  to: number
  /** Of each event, where they are not simply from, from + 1 …. */
  numbers?: number[]
  /** How much of the input was read, 0 to 1; undefined when its size is not known. */
  fraction: number | undefined
}

/** Bounds of a batch: events, and the bytes after which it is closed whatever it has. */
export interface BatchSize {
  events: number
  bytes: number
}

/** Something in the input that cannot be sent. */
export class InputError extends Failure {
  override name = 'InputError'
}

/** Where in the input the event, or line, is that an answer calls the nth of its body (from 1). */
export function placeOf({ unit, from, to, numbers }: Batch, nth: number): string | undefined {
  const number = numbers === undefined ? from + nth - 1 : numbers[nth - 1]
  return number === undefined || number > to ? undefined : `${unit} ${number}`
}
