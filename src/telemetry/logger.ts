// Structured logs: JSON lines, or a readable form on a terminal. One line for one thing; never an event's data.

import { type Logger, pino } from 'pino'

export type { Logger }

/** Loaded where somebody reads along: every process would load it. */
const pretty = process.stderr.isTTY ? (await import('pino-pretty')).default : undefined

/** A logger whose every line carries the role and the process. Writes to standard error. */
export function createLogger(role: string, level: string): Logger {
  const options = { level, base: { role, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }
  if (pretty !== undefined) {
    return pino(options, pretty({ destination: 2, sync: true, ignore: 'pid', translateTime: 'HH:MM:ss.l' }))
  }
  return pino(options, pino.destination({ dest: 2, sync: true }))
}

/**
 * Lets through so many lines a second and counts the rest, so that a flood of bad requests does not become a
 * flood of lines.
 */
export class LineRate {
  readonly #perSecond: number
  #second = 0
  #written = 0
  #withheld = 0

  constructor(perSecond: number) {
    this.#perSecond = perSecond
  }

  /** Undefined when this line is to be left out; otherwise how many were left out since the last one written. */
  next(now: number): number | undefined {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#written = 0
    }
    if (this.#written >= this.#perSecond) {
      this.#withheld++
      return undefined
    }
    this.#written++
    const withheld = this.#withheld
    this.#withheld = 0
    return withheld
  }
}
