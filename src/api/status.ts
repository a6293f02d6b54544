// GET /v1/status: where everything stands, from the stores and from what the listeners say of themselves.

import type { Written } from '../log/log.ts'
import type { Counters, WriterProgress } from '../results/progress.ts'
import type { Stores } from '../results/stores.ts'

export interface LogStatus {
  kind: string
  durability: string
}

/** Segments and events that one log lacks. */
export interface Lacking {
  segments: number
  events: number
}
type ByBroker<T> = Partial<Record<'jetstream' | 'kafka', T>>

/** How the lane of one writer stands. */
export interface LaneReport {
  writer: string
  written: Written
  /** Some of it was processed, or none of it is in the log: where the results do not know the writer, all of it was. */
  begun?: boolean
  /** Where the log told of it, its writer being gone: what of it is not there any more. `backlogBytes` are of all that is. */
  left?: { events: number; bodies: number } | undefined
}

export interface StatusParts {
  roles: { role: string; pid: number; ready: boolean; restarts: number }[]
  listeners: {
    lanes: LaneReport[]
    away: ByBroker<string>
    missing: ByBroker<Lacking> | undefined
  }[]
  reload?: unknown
}

/**
 * `accepted` and `processed` count since the data directory was made. A body that came twice is accepted twice and
 * processed once, and then also counted in `processed.duplicates`; so accepted = processed + duplicates + lag. The
 * lag is of this daemon's listeners, and of what the embedded log held before it. `processed.redelivered` counts what a
 * broker handed over more than once.
 */
export function status(stores: Stores, daemon: StatusParts, log: LogStatus) {
  const counters = stores.counters()
  const handlers = [...stores.handlerCounts()].map(([name, counts]) => ({ name, ...counts }))
  const writers = stores.writers()
  const accepted = {
    events: counters.events + counters.duplicateEvents,
    frames: counters.bodies + counters.duplicateBodies,
  }
  const lag = { events: 0, bytes: 0, seconds: 0 }
  for (const lane of daemon.listeners.flatMap(({ lanes }) => lanes)) {
    const { events, bodies, bytes } = waitingIn(lane, writers.get(lane.writer))
    accepted.events += events
    accepted.frames += bodies
    lag.events += events
    lag.bytes += bytes
  }
  lag.seconds = lagSeconds(counters, lag.events)
  return {
    accepted,
    processed: {
      events: counters.events,
      frames: counters.bodies,
      duplicates: { events: counters.duplicateEvents, frames: counters.duplicateBodies },
      redelivered: { events: counters.redeliveredEvents },
      damaged: { events: counters.damagedEvents, segments: counters.lostSegments },
    },
    ...(handlers.length > 0 ? { handlers } : {}),
    deadLetters: letterCounts(counters),
    lag,
    log: { ...log, ...brokers(daemon) },
    roles: daemon.roles,
    ...(daemon.reload === undefined ? {} : { reload: daemon.reload }),
  }
}

/** What of a lane is written and not processed. `read`: of its writer, as far as the results know it. */
export function waitingIn({ written, begun, left }: Omit<LaneReport, 'writer'>, read?: WriterProgress) {
  const over = read === undefined && begun === true // read to its end, and forgotten
  const done = read ?? left ?? { events: 0, bodies: 0 }
  const events = over ? 0 : Math.max(0, written.events - done.events)
  if (events === 0) return { events, bodies: 0, bytes: 0 }
  const bodies = Math.max(0, written.bodies - done.bodies)
  const share = left === undefined ? 1 : Math.min(1, events / (written.events - left.events))
  return { events, bodies, bytes: Math.round(written.backlogBytes * share) }
}

/** Since the newest processed event was received, where `waiting` events are not processed. */
export function lagSeconds({ lastReceivedAt }: Counters, waiting: number): number {
  return waiting > 0 && lastReceivedAt > 0 ? Math.max(0, Date.now() - lastReceivedAt) / 1000 : 0
}

/** Events that became dead letters, and where they are: kept + replayed + dropped + left = total. */
export function letterCounts(counters: Counters) {
  const { deadLetters: total, deadLettersReplayed, deadLettersDropped, deadLettersLeft } = counters
  const kept = total - deadLettersReplayed - deadLettersDropped - deadLettersLeft
  return { kept, total, replayed: deadLettersReplayed, dropped: deadLettersDropped, left: deadLettersLeft }
}

/** What is wrong with brokers, where something is: who is away and why, and what one log lacks of the other. */
function brokers({ listeners }: StatusParts) {
  const away: ByBroker<string> = Object.assign({}, ...listeners.map((listener) => listener.away))
  const missing: ByBroker<Lacking> = {}
  for (const listener of listeners) {
    for (const broker of ['jetstream', 'kafka'] as const) {
      const lacking = listener.missing?.[broker]
      if (lacking === undefined || lacking.segments === 0) continue
      const { segments, events } = missing[broker] ?? { segments: 0, events: 0 }
      missing[broker] = { segments: segments + lacking.segments, events: events + lacking.events }
    }
  }
  return {
    ...(Object.keys(away).length > 0 ? { away } : {}),
    ...(Object.keys(missing).length > 0 ? { missing } : {}),
  }
}
