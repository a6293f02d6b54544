// GET /v1/status: where everything stands, from the store and from what the listeners say of themselves.

import type { Written } from '../log/log.ts'
import { readCounters, readLanes } from '../results/progress.ts'
import type { Store } from '../results/store.ts'

export interface StatusParts {
  roles: { role: string; pid: number; ready: boolean; restarts: number }[]
  listeners: { writer: string; written: Written }[]
}

/**
 * `accepted` and `processed` count since the data directory was made. A body that came twice is accepted twice and
 * processed once, and then also counted in `processed.duplicates`; so accepted = processed + duplicates + lag.
 */
export function status(store: Store, daemon: StatusParts, log: { kind: string; durability: string }) {
  const counters = readCounters(store)
  const lanes = readLanes(store)
  const accepted = {
    events: counters.events + counters.duplicateEvents,
    frames: counters.bodies + counters.duplicateBodies,
  }
  const lag = { events: 0, bytes: 0, seconds: 0 }
  for (const { writer, written } of daemon.listeners) {
    const read = lanes.get(writer)
    const events = Math.max(0, written.events - (read?.events ?? 0))
    accepted.events += events
    accepted.frames += Math.max(0, written.bodies - (read?.bodies ?? 0))
    lag.events += events
    if (events > 0) lag.bytes += written.backlogBytes
  }
  if (lag.events > 0 && counters.lastReceivedAt > 0) {
    lag.seconds = Math.max(0, Date.now() - counters.lastReceivedAt) / 1000
  }
  return {
    accepted,
    processed: {
      events: counters.events,
      frames: counters.bodies,
      duplicates: { events: counters.duplicateEvents, frames: counters.duplicateBodies },
      damaged: { events: counters.damagedEvents },
    },
    lag,
    log,
    roles: daemon.roles,
  }
}
