// What the results stores know exactly, as metrics: it is there before the first listener, and goes on over any restart.

import { lagSeconds, letterCounts } from '../api/status.ts'
import type { Config } from '../config/config.ts'
import { openStores, type Stores } from '../results/stores.ts'
import { Metrics } from '../telemetry/metrics.ts'
import type { Lanes } from './lanes.ts'
import { openedStores } from './opened-stores.ts'

export class StoreMetrics {
  readonly #config: Config
  readonly #profiled: boolean
  readonly #lanes: Lanes
  #stores: Stores | undefined
  #accepted = 0

  constructor(config: Config, profiled: boolean, lanes: Lanes) {
    this.#config = config
    this.#profiled = profiled
    this.#lanes = lanes
  }

  /** Undefined while there is nothing to read. Rejects with what is wrong with a store. */
  async read(): Promise<Metrics | undefined> {
    const stores = await this.#open()
    await stores?.appear()
    return stores && this.#metricsOf(stores)
  }

  async close(): Promise<void> {
    await this.#stores?.close()
    this.#stores = undefined
  }

  /** Opened once in a process: where the processor is in this one, its own are read. */
  async #open(): Promise<Stores | undefined> {
    const { dataDir, log } = this.#config
    if (!this.#profiled) {
      this.#stores ??= await openStores(dataDir, log.partitions)
      return this.#stores
    }
    return openedStores.size < log.partitions ? undefined : openStores(dataDir, log.partitions, openedStores)
  }

  /** All of it in one turn of the event loop: the stores are then read as of one moment. */
  #metricsOf(stores: Stores): Metrics {
    const metrics = new Metrics()
    const counters = stores.counters()
    const lags = this.#lanes.lag(stores.writers(), this.#config.log.partitions)
    const lag = lags.reduce((sum, { events }) => sum + events, 0)
    // With a broker, what a listener that died wrote last is not known before it is processed: until then it stands still.
    this.#accepted = Math.max(this.#accepted, counters.events + counters.duplicateEvents + lag)
    metrics.counter('millrace_events_accepted_total', {}).add(this.#accepted)
    metrics.counter('millrace_events_processed_total', {}).add(counters.events)
    metrics.counter('millrace_events_duplicate_total', {}).add(counters.duplicateEvents)
    metrics.counter('millrace_events_dead_lettered_total', {}).add(counters.deadLetters)
    metrics.counter('millrace_events_damaged_total', {}).add(counters.damagedEvents)
    metrics.counter('millrace_events_redelivered_total', {}).add(counters.redeliveredEvents)
    metrics.counter('millrace_segments_lost_total', {}).add(counters.lostSegments)
    metrics.reading('millrace_dead_letters', {}, () => letterCounts(counters).kept)
    lags.forEach(({ events, bytes }, partition) => {
      metrics.reading('millrace_lag_events', { partition: String(partition) }, () => events)
      metrics.reading('millrace_lag_bytes', { partition: String(partition) }, () => bytes)
    })
    const seconds = lagSeconds(counters, lag)
    metrics.reading('millrace_lag_seconds', {}, () => seconds)
    for (const [handler, { handled, dropped, deadLettered }] of stores.handlerCounts()) {
      let all = 0
      for (const [reason, events] of Object.entries(dropped)) {
        metrics.counter('millrace_events_dropped_total', { handler, reason }).add(events)
        all += events
      }
      const outcomes = { handled, dropped: all, dead_lettered: deadLettered }
      for (const [outcome, events] of Object.entries(outcomes)) {
        metrics.counter('millrace_handler_events_total', { handler, outcome }).add(events)
      }
    }
    return metrics
  }
}
