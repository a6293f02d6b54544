// A rate that is not exceeded.

import { setTimeout as sleep } from 'node:timers/promises'

export class Pace {
  readonly #perSecond: number
  #due = 0

  /** `perSecond`: undefined for as fast as it goes. */
  constructor(perSecond: number | undefined) {
    this.#perSecond = perSecond ?? Number.POSITIVE_INFINITY
  }

  /** Waits until so many more may go, or the signal is aborted. */
  async turn(count: number, signal: AbortSignal): Promise<void> {
    const now = performance.now()
    const due = Math.max(this.#due, now)
    this.#due = due + (count / this.#perSecond) * 1000
    if (due - now > 1) await sleep(due - now, undefined, { signal }).catch(() => {})
  }
}
