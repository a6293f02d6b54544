// Whether the brokers are there, told once each time it changes; and how long to wait before they are tried again.

import type { BrokerHooks } from '../broker.ts'

/** Bounds of limits.ts that tests shorten, milliseconds and bytes. */
export interface KafkaLimits {
  confirmMs: number
  stallMs: number
  reconnectMsMin: number
  reconnectMsMax: number
  fetchBytes: number
  fetchWaitMs: number
  trimIntervalMs: number
  ownerSilentMs: number
}

export class Presence {
  readonly #hooks: BrokerHooks
  readonly #limits: KafkaLimits
  #away: string | undefined
  #waitMs: number

  constructor(hooks: BrokerHooks, limits: KafkaLimits) {
    this.#hooks = hooks
    this.#limits = limits
    this.#waitMs = limits.reconnectMsMin
  }

  get away(): string | undefined {
    return this.#away
  }

  gone(reason: string): void {
    if (this.#away === undefined) this.#hooks.onAway(reason)
    this.#away = reason
  }

  back(): void {
    this.#waitMs = this.#limits.reconnectMsMin
    if (this.#away === undefined) return
    this.#away = undefined
    this.#hooks.onBack()
  }

  /** Waits longer each time until they are back. Ends early when the signal is aborted. */
  async pause(signal?: AbortSignal): Promise<void> {
    await pause(this.#waitMs, signal)
    this.#waitMs = Math.min(this.#waitMs * 2, this.#limits.reconnectMsMax)
  }
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}
