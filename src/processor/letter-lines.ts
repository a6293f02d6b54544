// Lines of the log about dead letters: of those that came, and of those that had to go, one a second at most.

import type { DeadLetters } from '../results/dead-letters.ts'
import type { Counters } from '../results/progress.ts'
import { LineRate, type Logger } from '../telemetry/logger.ts'

export class LetterLines {
  readonly #letters: DeadLetters
  readonly #counters: Counters
  readonly #logger: Logger
  readonly #partition: number
  readonly #dying = new LineRate(1)
  readonly #leaving = new LineRate(1)
  /** Letters that the log was told of. */
  #told: number

  /** `counters`: of this partition, which the letters count with. */
  constructor(letters: DeadLetters, counters: Counters, logger: Logger, partition: number) {
    this.#letters = letters
    this.#counters = counters
    this.#logger = logger
    this.#partition = partition
    this.#told = counters.deadLetters
  }

  /** Of what has come and gone since the last lines. */
  tell(): void {
    this.#tellNew()
    this.#tellLeft()
  }

  /** How many there are since the last line, and the newest of them; why is told by the letter, which may quote its event. */
  #tellNew(): void {
    const { newest } = this.#letters
    if (newest === undefined || this.#dying.next(Date.now()) === undefined) return
    const { deadLetters } = this.#counters
    const events = deadLetters - this.#told
    this.#told = deadLetters
    this.#letters.newest = undefined
    const { id, handler, correlationId } = newest
    this.#logger.warn(
      { partition: this.#partition, events, id, handler, correlationId },
      'events became dead letters: millrace dlq show says why',
    )
  }

  #tellLeft(): void {
    const { left } = this.#letters
    if (left === 0 || this.#leaving.next(Date.now()) === undefined) return
    this.#letters.left = 0
    this.#logger.error(
      { partition: this.#partition, left, kept: this.#letters.size },
      'there are more dead letters than are kept: the oldest have left for good',
    )
  }
}
