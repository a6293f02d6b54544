// Whether the broker is there, told once each time that changes.

import type { BrokerHooks } from '../broker.ts'

export class Presence {
  /** Why nothing can be done at present; undefined while the broker answers. */
  reason: string | undefined
  readonly #hooks: Pick<BrokerHooks, 'onAway' | 'onBack'>

  constructor(hooks: Pick<BrokerHooks, 'onAway' | 'onBack'>) {
    this.#hooks = hooks
  }

  away(reason: string): void {
    const first = this.reason === undefined
    this.reason = reason
    if (first) this.#hooks.onAway(reason)
  }

  back(): void {
    if (this.reason === undefined) return
    this.reason = undefined
    this.#hooks.onBack()
  }
}
