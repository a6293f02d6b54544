// How much of a broker's log is kept once it is committed: as much as fits half of the budget, and no longer than
// maxAge. The other half is for what waits. What was there before this process began to read counts as read at its
// start, and its size is not known: it goes first.

/** A mark is made when this part of the budget has been read since the last one, or this part of maxAge has passed. */
const MARKS = 64

interface Mark {
  next: number
  /** Bytes read before it. */
  bytes: number
  readAt: number
}

export class History {
  readonly #bytesKept: number
  readonly #maxAge: number
  #bytes = 0
  /** In order; the first is the oldest that was not trimmed to. */
  #marks: Mark[] = []
  #trimmedBytes = 0

  constructor({ maxBytes, maxAge }: { maxBytes: number; maxAge: number }) {
    this.#bytesKept = maxBytes / 2
    this.#maxAge = maxAge
  }

  /** A segment was read. `next`: the number after it; `now`: milliseconds. */
  read(next: number, bytes: number, now: number): void {
    const last = this.#marks.at(-1)
    const begun = last ?? { bytes: this.#trimmedBytes, readAt: Number.NEGATIVE_INFINITY }
    this.#bytes += bytes
    const grown = this.#bytes - begun.bytes >= this.#bytesKept / MARKS
    const aged = now - begun.readAt >= this.#maxAge / MARKS
    if (grown || aged) this.#marks.push({ next, bytes: this.#bytes, readAt: now })
  }

  /** The number below which all may be removed, or undefined where nothing is to go yet. `committed`: as in Position. */
  trimTo(committed: number, now: number): number | undefined {
    let last: Mark | undefined
    for (const mark of this.#marks) {
      if (mark.next > committed) break
      const tooMuch = this.#bytes - (last?.bytes ?? this.#trimmedBytes) > this.#bytesKept
      const tooOld = now - mark.readAt > this.#maxAge
      if (!tooMuch && !tooOld) break
      last = mark
    }
    if (last === undefined) return undefined
    this.#trimmedBytes = last.bytes
    this.#marks.splice(0, this.#marks.indexOf(last) + 1)
    return last.next
  }
}
