// How much of this machine's processor time nobody uses: what is done only for the sake of latency is done in it.

import { cpus } from 'node:os'
import { IDLE_SAMPLE_MS } from '../limits.ts'

interface Account {
  idleMs: number
  totalMs: number
}

export class Idle {
  readonly #account: () => Account
  #last: Account
  #sampledAt: number
  #share = 1

  constructor(account = ofAllProcessors, now = performance.now()) {
    this.#account = account
    this.#last = account()
    this.#sampledAt = now
  }

  /** From 0 to 1, over the last IDLE_SAMPLE_MS or more. `now`: by performance.now(). */
  share(now: number): number {
    if (now - this.#sampledAt < IDLE_SAMPLE_MS) return this.#share
    this.#sampledAt = now
    const account = this.#account()
    const total = account.totalMs - this.#last.totalMs
    if (total > 0) this.#share = (account.idleMs - this.#last.idleMs) / total
    this.#last = account
    return this.#share
  }
}

/** Since the machine was started. */
function ofAllProcessors(): Account {
  let idleMs = 0
  let totalMs = 0
  for (const { times } of cpus()) {
    idleMs += times.idle
    totalMs += times.user + times.nice + times.sys + times.idle + times.irq
  }
  return { idleMs, totalMs }
}
