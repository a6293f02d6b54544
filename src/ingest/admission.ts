// How many bytes one listener holds for its clients, and how many it may.

import { Problem } from '../errors.ts'
import { IN_FLIGHT_BYTES_MAX } from '../limits.ts'

export class Admission {
  #bytes = 0

  /** Requests that have come and are not answered yet. */
  open = 0
  /** When bytes were last refused, by performance.now(). */
  refusedAt = Number.NEGATIVE_INFINITY

  get bytes(): number {
    return this.#bytes
  }

  /** Takes bytes as they arrive. Throws `overloaded` and takes nothing when that would be too many. */
  take(bytes: number): void {
    if (this.#bytes + bytes > IN_FLIGHT_BYTES_MAX) {
      this.refusedAt = performance.now()
      throw new Problem(
        'overloaded',
        `${this.#bytes} bytes are in flight here, ${IN_FLIGHT_BYTES_MAX} at most`,
      )
    }
    this.#bytes += bytes
  }

  give(bytes: number): void {
    this.#bytes -= bytes
  }
}
