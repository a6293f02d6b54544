// Sends each segment to both logs, with the same identity, and says when it counts as written (`log.dual.ackWhen`):
//
//   both  once both have confirmed it. While one is away nothing is taken.
//   any   once one has confirmed it. One that is away, or too far behind, is left out: nothing is kept for it here,
//         and `millrace reconcile --apply` copies what it lacks.
//
// A refusal promises that the segment is in no log. Where that cannot be said, the answer is LogUnconfirmed: the
// client sends again, and the ledger sorts it out.

import { BEHIND_BYTES_MAX, KEEPING_UP_MS_MIN } from '../../limits.ts'
import type { Publisher } from '../broker.ts'
import { LogFull, LogMisconfigured, LogUnavailable, LogUnconfirmed } from '../log.ts'
import type { Segment } from '../segment.ts'

/** What one log has and the other one lacks. */
export interface Missing {
  segments: number
  events: number
}

type Kind = Publisher['kind']

export interface DualPublisherHooks {
  /** Told once, with the reason, when a log begins to miss what the other one has. */
  onBehind(kind: Kind, reason: string): void
  /** It confirms again, and has missed nothing for a while. `missing`: all that it lacks, as in DualPublisher. */
  onKeepingUp(kind: Kind, missing: Missing): void
}

export interface DualPublisherParts {
  jetstream: Publisher
  kafka: Publisher
  ackWhen: 'both' | 'any'
  hooks: DualPublisherHooks
}

/** How sending to one log ended: it has the segment, it surely has not, or nobody knows. */
type Outcome = { side: Side } & (
  | { state: 'has' }
  | { state: 'has not'; error: Error }
  | { state: 'may have'; error: Error }
)

/** One of the two logs. */
class Side {
  readonly publisher: Publisher
  readonly missing: Missing = { segments: 0, events: 0 }
  /** Bytes on their way here that the other log has confirmed. */
  behindBytes = 0
  #missedAt: number | undefined

  constructor(publisher: Publisher) {
    this.publisher = publisher
  }

  get kind(): Kind {
    return this.publisher.kind
  }

  /** True when there was nothing to miss for a while before this. */
  missed(events: number): boolean {
    const first = this.#missedAt === undefined
    this.#missedAt = performance.now()
    this.missing.segments++
    this.missing.events += events
    return first
  }

  /** A segment was confirmed: true when a time of missing some is over with it. */
  confirmed(): boolean {
    if (this.#missedAt === undefined || performance.now() - this.#missedAt < KEEPING_UP_MS_MIN) return false
    this.#missedAt = undefined
    return true
  }

  async send(partition: number, segment: Segment): Promise<Outcome> {
    try {
      await this.publisher.publish(partition, segment)
      return { side: this, state: 'has' }
    } catch (error) {
      const refused =
        error instanceof LogFull || error instanceof LogUnavailable || error instanceof LogMisconfigured
      return { side: this, state: refused ? 'has not' : 'may have', error: error as Error }
    }
  }
}

export class DualPublisher {
  readonly kind = 'dual'
  readonly #sides: readonly [Side, Side]
  readonly #ackWhen: 'both' | 'any'
  readonly #hooks: DualPublisherHooks

  constructor({ jetstream, kafka, ackWhen, hooks }: DualPublisherParts) {
    this.#sides = [new Side(jetstream), new Side(kafka)]
    this.#ackWhen = ackWhen
    this.#hooks = hooks
  }

  /** Why nothing can be sent at present, in words; undefined while something can. */
  get away(): string | undefined {
    const away = this.#sides.filter(({ publisher }) => publisher.away !== undefined)
    if (away.length < (this.#ackWhen === 'both' ? 1 : 2)) return undefined
    return away.map(({ kind, publisher }) => `${kind} is away: ${publisher.away}`).join('; ')
  }

  /** What each log lacks that the other one has confirmed, as far as this process knows. */
  get missing(): Record<Kind, Missing> {
    const [jetstream, kafka] = this.#sides
    return { jetstream: { ...jetstream.missing }, kafka: { ...kafka.missing } }
  }

  /** As Publisher.publish; resolves when the segment is in as many logs as `ackWhen` says. */
  async publish(partition: number, segment: Segment): Promise<void> {
    const { away } = this
    if (away !== undefined) throw new LogUnavailable(away)
    const outcomes = this.#sides.map((side) => {
      const reason = this.#leftOut(side)
      if (reason === undefined) return side.send(partition, segment)
      return Promise.resolve<Outcome>({ side, state: 'has not', error: new LogUnavailable(reason) })
    })
    const accounted = this.#account(segment, outcomes)
    if (this.#ackWhen === 'any' && (await oneHas(outcomes))) return
    await accounted
    const settled = await Promise.all(outcomes)
    if (settled.some(({ state }) => state !== 'has')) throw failure(settled)
  }

  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#sides.map(({ publisher }) => publisher.close()))
    for (const result of closed) if (result.status === 'rejected') throw result.reason
  }

  /** Why this log is not sent the next segment; undefined where it is. */
  #leftOut(side: Side): string | undefined {
    if (this.#ackWhen === 'both') return undefined
    const { away } = side.publisher
    if (away !== undefined) return away
    const other = this.#sides.find((candidate) => candidate !== side)!
    // Only where the other one takes the segment instead.
    if (side.behindBytes <= BEHIND_BYTES_MAX || other.publisher.away !== undefined) return undefined
    return `${side.behindBytes} bytes are on their way to it, ${BEHIND_BYTES_MAX} at most`
  }

  /** Follows a segment until both logs have answered: what one has and the other lacks is counted. */
  async #account({ events, bytes: { length } }: Segment, outcomes: Promise<Outcome>[]): Promise<void> {
    const first = await Promise.race(outcomes)
    const late = this.#sides.find((side) => side !== first.side)!
    const behind = first.state === 'has' ? length : 0
    late.behindBytes += behind
    const settled = await Promise.all(outcomes)
    late.behindBytes -= behind
    const has = settled.filter(({ state }) => state === 'has')
    for (const { side } of has) {
      if (side.confirmed()) this.#hooks.onKeepingUp(side.kind, { ...side.missing })
    }
    if (has.length !== 1) return
    for (const outcome of settled) {
      if (outcome.state === 'has' || !outcome.side.missed(events)) continue
      this.#hooks.onBehind(outcome.side.kind, outcome.error.message)
    }
  }
}

/** Resolves as soon as one log has confirmed, or with false when both have not. */
function oneHas(outcomes: Promise<Outcome>[]): Promise<boolean> {
  return new Promise((resolve) => {
    for (const outcome of outcomes) void outcome.then(({ state }) => state === 'has' && resolve(true))
    void Promise.all(outcomes).then(() => resolve(false))
  })
}

/** What to tell where one log, or both, did not confirm. */
function failure(outcomes: Outcome[]): Error {
  const errors = outcomes.flatMap((outcome) => (outcome.state === 'has' ? [] : [outcome.error]))
  const cause = errors.length === 1 ? errors[0] : new AggregateError(errors)
  if (outcomes.some(({ state }) => state !== 'has not')) {
    return new LogUnconfirmed(outcomes.map(said).join(', '), { cause })
  }
  const message = outcomes.map(said).join(', ')
  for (const Kind of [LogFull, LogMisconfigured]) {
    if (errors.every((error) => error instanceof Kind)) return new Kind(message, { cause })
  }
  return new LogUnavailable(message, { cause })
}

function said(outcome: Outcome): string {
  const { kind } = outcome.side
  if (outcome.state === 'has') return `${kind} has the segment`
  return `${kind} ${outcome.state} ${outcome.state === 'has not' ? 'got it' : 'it'} (${outcome.error.message})`
}
