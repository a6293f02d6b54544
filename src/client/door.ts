// What both ways into a daemon have in common.

import { setTimeout as sleep } from 'node:timers/promises'
import type { MillraceError } from './error.ts'

export type Durability = 'fsynced' | 'broker-acked' | 'buffered'

/** All events that one request or message carries. They are taken whole or not at all. */
export interface Body {
  /** May not change until it is acknowledged. */
  bytes: Uint8Array
  events: number
  type: 'application/x-protobuf' | 'application/x-ndjson'
}

/** Of the body that carried the events. */
export interface Ack {
  /** What the daemon promises of them by now. */
  durability: Durability
  /** Events of the whole body: those of other calls too. */
  accepted: number
  /** Under which the body counts once, however often it was sent. */
  producer: string
  sequence: number
}

/** Events, but for the last two. */
export interface Stats {
  /** Handed over to be sent. */
  sent: number
  acked: number
  /** Not taken, and told why. */
  refused: number
  /** Given up: they may have been taken, for their answer never came. */
  unanswered: number
  /** Requests or messages, also those sent again. */
  requests: number
  retries: number
}

export interface DoorOptions {
  producer: string
  /** Of the first body; each further one has the next. */
  sequence: number
  /** How long one body is sent again and again, milliseconds. */
  retryForMs: number
}

/** Sends bodies until each is acknowledged, refused or given up. Bounds nothing: the client does. */
export interface Door {
  readonly bodyBytesMax: number
  readonly stats: Stats
  /** Rejects with a MillraceError. */
  deliver(body: Body): Promise<Ack>
  /** From now on nothing is sent again; what is in flight may still be answered. */
  stopRetrying(error: MillraceError): void
  /** Gives up what is in flight. */
  abort(error: MillraceError): void
  /** Once nothing is in flight. */
  close(): Promise<void>
}

export const ANSWER_MS_MAX = 30_000
export const CONNECT_MS_MAX = 5_000
const BACKOFF_MS_MIN = 50
const BACKOFF_MS_MAX = 5_000

export function emptyStats(): Stats {
  return { sent: 0, acked: 0, refused: 0, unanswered: 0, requests: 0, retries: 0 }
}

/** Waits that grow, each by chance between half and all of it; and an end to patience. */
export class Patience {
  readonly #forMs: number
  #backoffMs = BACKOFF_MS_MIN
  #deadline = Number.POSITIVE_INFINITY

  constructor(forMs: number) {
    this.#forMs = forMs
  }

  /** How long to wait before the next try, milliseconds; undefined when there is to be none. */
  next(afterMs: number): number | undefined {
    const now = performance.now()
    this.#deadline = Math.min(this.#deadline, now + this.#forMs)
    const wait = afterMs + this.#backoffMs * (0.5 + Math.random() / 2)
    if (now + wait > this.#deadline) return undefined
    this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX)
    return wait
  }

  /** Something went well. */
  renew(): void {
    this.#backoffMs = BACKOFF_MS_MIN
    this.#deadline = Number.POSITIVE_INFINITY
  }

  /** The sentence of who has none left. */
  spent(why: string): string {
    const time = this.#forMs % 1000 === 0 ? `${this.#forMs / 1000}s` : `${this.#forMs}ms`
    return `gave up after ${time} of trying again: ${why}`
  }
}

/** Returns early when the signal is aborted. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => {})
}
