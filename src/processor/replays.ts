// Dead letters that are handled again: each goes through the pool as a task of its own, for the one handler that could
// not handle it, is merged in its turn like any other, and leaves in the commit that has its effects. Those that wait
// are begun as there is room in the pool, a few at once, so that new events go on.

import { REPLAY_START_MS_MAX, REPLAYS_AT_ONCE_MAX, REPLAYS_WAITING_MAX } from '../limits.ts'
import type { DeadLetters, Letter, Outcome } from '../results/dead-letters.ts'
import type { Effects } from './effects.ts'
import type { Done } from './runner.ts'

/** A letter on its way through the pool. */
export interface Again {
  letter: Letter
  /** Called when its turn to be merged has come: whether its effects count. One event comes in one part. */
  counts(done: Done): boolean
}

export interface ReplayParts {
  letters: DeadLetters
  /** True for the name of a handler that is configured. */
  isHandler(name: string): boolean
  /** True when the pool takes another task. */
  hasRoom(): boolean
  /** Hands it out. */
  start(again: Again): void
  /** Resolves when all that is merged so far is on disk. Rejects where it cannot be. */
  durable(): Promise<void>
}

interface Asked {
  id: string
  /** By performance.now(). */
  startBy: number
  settle(outcome: Outcome): void
}

export class Replays {
  readonly #parts: ReplayParts
  readonly #waiting: Asked[] = []
  readonly #inPool = new Set<Asked>()
  /** By letter: who asks for one that is on its way waits for the same. */
  readonly #outcomes = new Map<string, Promise<Outcome>>()
  #closed = false

  constructor(parts: ReplayParts) {
    this.#parts = parts
  }

  /** Resolves when what came of it is on disk. Rejects where it cannot be. */
  replay(id: string): Promise<Outcome> {
    const known = this.#outcomes.get(id)
    if (known !== undefined) return known
    const outcome = this.#replay(id).finally(() => this.#outcomes.delete(id))
    this.#outcomes.set(id, outcome)
    return outcome
  }

  /** Begins what there is room for; to be called when there may be more of it. */
  begin(): void {
    const { letters, isHandler, hasRoom, start } = this.#parts
    while (this.#inPool.size < REPLAYS_AT_ONCE_MAX && this.#waiting.length > 0 && hasRoom()) {
      const asked = this.#waiting.shift()!
      const { id, startBy, settle } = asked
      const letter = letters.get(id)
      if (letter === undefined) settle({ id, outcome: 'unknown' })
      else if (!isHandler(letter.handler)) {
        const reason = `handler ${letter.handler} is not configured: configure it to replay this, or drop it`
        settle({ id, outcome: 'refused', code: 'no-handler', reason })
      } else if (performance.now() > startBy) settle(late(id))
      else {
        this.#inPool.add(asked)
        start({ letter, counts: (done) => this.#counts(letter, done, asked) })
      }
    }
  }

  /** Nothing more is begun. */
  close(): void {
    this.#closed = true
    for (const { id, settle } of this.#waiting.splice(0)) settle(over(id))
  }

  /** Those in the pool do not come back either. */
  fail(): void {
    this.close()
    for (const { id, settle } of this.#inPool) settle(over(id))
    this.#inPool.clear()
  }

  async #replay(id: string): Promise<Outcome> {
    if (this.#closed) return over(id)
    if (this.#waiting.length >= REPLAYS_WAITING_MAX) return late(id)
    const outcome = await new Promise<Outcome>((settle) => {
      this.#waiting.push({ id, startBy: performance.now() + REPLAY_START_MS_MAX, settle })
      this.begin()
    })
    if (outcome.outcome === 'replayed' || outcome.outcome === 'failed') await this.#parts.durable()
    return outcome
  }

  #counts(letter: Letter, { effects }: Done, asked: Asked): boolean {
    const { id, settle } = asked
    const [died] = effects?.letters ?? []
    const { letters } = this.#parts
    this.#inPool.delete(asked)
    if (died !== undefined && letters.has(id)) {
      letters.failedAgain(letter, died.reason)
      settle({ id, outcome: 'failed', reason: died.reason })
      return false
    }
    if (effects === undefined || !wasCalled(effects)) {
      const reason = `handler ${letter.handler} does not match this event any more: it stays, drop it or match it`
      settle({ id, outcome: 'refused', code: 'no-handler', reason })
      return false
    }
    const counts = letters.remove(id, 'replayed')
    settle({ id, outcome: counts ? 'replayed' : 'unknown' }) // it was dropped, or left, in the meantime
    return counts
  }
}

/** A handler was called. */
function wasCalled({ handled, dropped }: Effects): boolean {
  return dropped.length > 0 || handled.some((events) => events > 0)
}

function late(id: string): Outcome {
  const reason = 'too many dead letters wait to be replayed: this one was not begun, ask again'
  return { id, outcome: 'refused', code: 'overloaded', reason }
}

export function over(id: string): Outcome {
  return {
    id,
    outcome: 'refused',
    code: 'no-processor',
    reason: 'the processor of this dead letter is ending',
  }
}
