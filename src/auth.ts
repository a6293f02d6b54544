// Who may do what: keys from the configuration, sent as `Authorization: Bearer KEY`.

import { createHash } from 'node:crypto'
import type { AuthKey, Config } from './config/config.ts'
import { Problem } from './errors.ts'

export type Scope = AuthKey['scopes'][number]

/** A key and what it may still send this second. */
export class Caller {
  readonly key: AuthKey
  readonly #perSecond: number
  #tokens: number
  #filledAt = 0

  /** `share`: the part of `eventsPerSecond` that this process may let through (one over the listeners). */
  constructor(key: AuthKey, share: number) {
    this.key = key
    this.#perSecond = (key.eventsPerSecond ?? Number.POSITIVE_INFINITY) * share
    this.#tokens = this.#perSecond
  }

  /** Takes so many events from a bucket that holds one second's worth. A full bucket lets one larger body pass. */
  take(events: number, now: number): void {
    if (this.#perSecond === Number.POSITIVE_INFINITY) return
    const passed = Math.max(0, now - this.#filledAt) / 1000
    this.#tokens = Math.min(this.#perSecond, this.#tokens + passed * this.#perSecond)
    this.#filledAt = now
    if (this.#tokens < Math.min(events, this.#perSecond)) {
      throw new Problem(
        'rate-limited',
        `key ${this.key.name} may send ${this.key.eventsPerSecond} events a second`,
      )
    }
    this.#tokens -= events
  }
}

export class Auth {
  /** By hex SHA-256 of the key; undefined when everyone may do everything. */
  readonly #callers: Map<string, Caller> | undefined

  constructor(auth: Config['auth'], share: number) {
    if (auth === undefined || auth === 'none') return
    this.#callers = new Map(auth.keys.map((key) => [key.sha256.toLowerCase(), new Caller(key, share)]))
  }

  /** The caller, or undefined where no keys are configured. Throws `unauthenticated` or `out-of-scope`. */
  check(authorization: string, scope: Scope): Caller | undefined {
    if (this.#callers === undefined) return undefined
    const key = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
    if (key === undefined) throw new Problem('unauthenticated', 'send a key as "Authorization: Bearer KEY"')
    const caller = this.#callers.get(createHash('sha256').update(key).digest('hex'))
    if (caller === undefined) throw new Problem('unauthenticated', 'this key is not known')
    if (!caller.key.scopes.includes(scope)) {
      const detail = `key ${caller.key.name} has no scope ${scope}`
      throw new Problem('out-of-scope', detail, { logged: detail })
    }
    return caller
  }
}
