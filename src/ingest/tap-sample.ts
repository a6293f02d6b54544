// A fair sample of what comes in a window of time: each of n has the same chance, whenever in the window it came.
//
// Everything that is offered draws a number, and the k lowest are kept ("bottom-k"). So samples of several processes can
// be offered to another sample with the numbers that they drew, and what that one keeps is a fair sample of all of them.
// How large k is, is what a bucket of tokens holds: after a quiet second as many as a second allows. Bytes bound it, too.

import { TAP_INTERVAL_MS, TAP_WINDOW_BYTES_MAX } from '../limits.ts'

interface Kept<T> {
  key: number
  /** Its place among all that were offered. */
  order: number
  bytes: number
  item: T
}

export interface Taken<T> {
  /** In the order in which they were offered. */
  kept: { key: number; item: T }[]
  /** How many were offered beside those. */
  left: number
  /** How many were too large. */
  missed: number
}

export class Sample<T> {
  readonly #rate: number
  #tokens: number
  #filledAt: number
  /** How many are kept of this window. */
  #most: number
  #kept: Kept<T>[] = []
  /** Keys at and above it are not kept. */
  #threshold = 1
  #bytes = 0
  #offered = 0
  #missed = 0

  /** `rate`: items a second; `now`: milliseconds, here and below. */
  constructor(rate: number, now: number) {
    this.#rate = rate
    this.#tokens = rate
    this.#filledAt = now
    this.#most = rate
  }

  /** True where an item with this key would be kept as things are; otherwise it counts as left. */
  wants(key: number): boolean {
    this.#offered++
    return key < this.#threshold
  }

  /** Takes one that it wants. */
  add(key: number, bytes: number, item: T): void {
    if (bytes > TAP_WINDOW_BYTES_MAX) {
      this.#missed++
      return
    }
    this.#kept.push({ key, order: this.#offered, bytes, item })
    this.#bytes += bytes
    if (this.#kept.length >= 2 * this.#most || this.#bytes > TAP_WINDOW_BYTES_MAX) this.#cut()
  }

  /** Counts what others have left out, or lost, before this. */
  count(left: number, missed: number): void {
    this.#offered += left + missed
    this.#missed += missed
  }

  /** Ends the window; undefined where it has to go on, since nothing is allowed yet, or nothing was offered. */
  take(now: number): Taken<T> | undefined {
    this.#tokens = Math.min(this.#rate, this.#tokens + ((now - this.#filledAt) * this.#rate) / 1000)
    this.#filledAt = now
    if (this.#offered === 0 || this.#tokens < 1) {
      if (this.#offered === 0) this.#begin()
      return undefined
    }
    this.#most = Math.min(this.#most, Math.floor(this.#tokens))
    this.#cut()
    const kept = this.#kept.sort((a, b) => a.order - b.order)
    const taken = { kept, left: this.#offered - kept.length - this.#missed, missed: this.#missed }
    this.#tokens -= kept.length
    this.#begin()
    return taken
  }

  #begin(): void {
    const atItsEnd = this.#tokens + (TAP_INTERVAL_MS * this.#rate) / 1000
    this.#most = Math.max(1, Math.floor(Math.min(this.#rate, atItsEnd)))
    this.#kept = []
    this.#threshold = 1
    this.#bytes = 0
    this.#offered = 0
    this.#missed = 0
  }

  /** Lets go of the highest, down to what is allowed. */
  #cut(): void {
    const kept = this.#kept
    if (kept.length <= this.#most && this.#bytes <= TAP_WINDOW_BYTES_MAX) return
    kept.sort((a, b) => a.key - b.key)
    while (kept.length > this.#most || this.#bytes > TAP_WINDOW_BYTES_MAX) {
      const { key, bytes } = kept.pop()!
      this.#bytes -= bytes
      this.#threshold = key
    }
  }
}
