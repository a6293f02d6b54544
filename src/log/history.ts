// How much of a broker's log is kept once it is committed: as much as fits half of the budget, and no longer than
// maxAge. The other half is for what waits.
//
// What was held before this process began to read is known by its numbers only: its segments are taken to be as large
// as those that are read, and to have been read at the start.

/** A mark is made when this part of the budget has been read since the last one, or this part of maxAge has passed. */
const MARKS = 64

interface Mark {
  next: number
  /** Segments from before the start that lie before it, and bytes read since. */
  older: number
  bytes: number
  readAt: number
}

export class History {
  readonly #bytesKept: number
  readonly #maxAge: number
  #older = 0
  #segments = 0
  #bytes = 0
  /** In order; the first is the oldest that was not trimmed to. */
  #marks: Mark[] = []
  #trimmed: Pick<Mark, 'older' | 'bytes'> = { older: 0, bytes: 0 }
  #lastMark: Pick<Mark, 'bytes' | 'readAt'> = { bytes: 0, readAt: Number.NEGATIVE_INFINITY }

  constructor({ maxBytes, maxAge }: { maxBytes: number; maxAge: number }) {
    this.#bytesKept = maxBytes / 2
    this.#maxAge = maxAge
  }

  /**
   * Called before anything is read, with the oldest number held and the one that is read first. `segments`: how many
   * there may be between them. `now`: milliseconds.
   */
  begin(first: number, next: number, segments: number, now: number): void {
    if (next <= first) return
    this.#older = segments
    for (let part = 1; part <= MARKS; part++) {
      const to = first + Math.floor(((next - first) * part) / MARKS)
      const older = Math.floor((segments * part) / MARKS)
      if (to > (this.#marks.at(-1)?.next ?? first))
        this.#marks.push({ next: to, older, bytes: 0, readAt: now })
    }
    this.#lastMark = { bytes: 0, readAt: now }
  }

  /** A segment was read. `next`: the number after it; `bytes`: all that it takes in the log. */
  read(next: number, bytes: number, now: number): void {
    this.#segments++
    this.#bytes += bytes
    const grown = this.#bytes - this.#lastMark.bytes >= this.#bytesKept / MARKS
    const aged = now - this.#lastMark.readAt >= this.#maxAge / MARKS
    if (!grown && !aged) return
    this.#lastMark = { bytes: this.#bytes, readAt: now }
    this.#marks.push({ next, older: this.#older, bytes: this.#bytes, readAt: now })
  }

  /** The number below which all may be removed, or undefined where nothing is to go yet. `committed`: as in Position. */
  trimTo(committed: number, now: number): number | undefined {
    let last: Mark | undefined
    for (const mark of this.#marks) {
      if (mark.next > committed) break
      const tooMuch = this.#held(last ?? this.#trimmed) > this.#bytesKept
      const tooOld = now - mark.readAt > this.#maxAge
      if (!tooMuch && !tooOld) break
      last = mark
    }
    if (last === undefined) return undefined
    this.#trimmed = last
    this.#marks.splice(0, this.#marks.indexOf(last) + 1)
    return last.next
  }

  /** Bytes that are held when it is trimmed to there. */
  #held({ older, bytes }: Pick<Mark, 'older' | 'bytes'>): number {
    const mean = this.#segments === 0 ? 0 : this.#bytes / this.#segments
    return (this.#older - older) * mean + this.#bytes - bytes
  }
}
