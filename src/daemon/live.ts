// A sample of how the daemon does, once a second, made of two collections of its metrics: the last ten minutes are kept,
// so whoever begins to look on sees where it comes from.

import type { Latency, LiveRole, Sample, Samples } from '../api/live.ts'
import type { Config } from '../config/config.ts'
import { LIVE_INTERVAL_MS, LIVE_SAMPLES_MAX } from '../limits.ts'
import { declaredDurability } from '../log/open.ts'
import { type Collected, quantile, since } from '../telemetry/collected.ts'
import { version } from '../telemetry/version.ts'
import type { Slot } from './supervisor.ts'

export interface LiveParts {
  config: Config
  collect(): Promise<Collected>
  notReady(): string | undefined
  /** As they are at each moment. */
  slots: readonly Slot[]
}

export class Live implements Samples {
  readonly #parts: LiveParts
  /** As JSON, the oldest first. */
  readonly #kept: string[] = []
  readonly #told = new Set<(sample: string) => void>()
  #before: Collected | undefined
  #timer: NodeJS.Timeout | undefined
  #sampling: Promise<void> | undefined
  #closed = false

  constructor(parts: LiveParts) {
    this.#parts = parts
  }

  /** Samples from now on, until `close`. */
  begin(): void {
    this.#next(performance.now())
  }

  async history(): Promise<readonly string[]> {
    if (this.#kept.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        const unwatch = this.watch(() => {
          unwatch()
          resolve()
        })
      })
    }
    return this.#kept
  }

  watch(told: (sample: string) => void): () => void {
    this.#told.add(told)
    return () => this.#told.delete(told)
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#sampling
  }

  /** At `dueAt` and then every interval; what is overdue is left out. */
  #next(dueAt: number): void {
    if (this.#closed) return
    const now = performance.now()
    const due = dueAt < now - LIVE_INTERVAL_MS ? now : dueAt
    this.#timer = setTimeout(() => {
      this.#sampling = this.#sample().finally(() => this.#next(due + LIVE_INTERVAL_MS))
    }, due - now)
  }

  async #sample(): Promise<void> {
    const before = this.#before
    const now = await this.#parts.collect()
    if (now === before) return
    this.#before = now
    if (before === undefined || this.#closed) return
    const sample = JSON.stringify(this.#sampleOf(now, before))
    this.#kept.push(sample)
    if (this.#kept.length > LIVE_SAMPLES_MAX) this.#kept.shift()
    for (const told of [...this.#told]) told(sample)
  }

  #sampleOf(now: Collected, before: Collected): Sample {
    const { config, notReady } = this.#parts
    const reason = notReady()
    const total = (name: string) => now.total(name)
    const rate = rateBetween(now, before)
    return {
      at: new Date().toISOString(),
      ready: reason === undefined,
      ...(reason === undefined ? {} : { reason }),
      version: version(),
      log: { kind: config.log.kind, durability: declaredDurability(config.log.kind) },
      totals: {
        accepted: total('millrace_events_accepted_total'),
        processed: total('millrace_events_processed_total'),
        duplicates: total('millrace_events_duplicate_total'),
        deadLetters: total('millrace_events_dead_lettered_total'),
        dropped: total('millrace_events_dropped_total'),
        damaged: total('millrace_events_damaged_total'),
      },
      rates: {
        accepted: rate('millrace_events_accepted_total'),
        processed: rate('millrace_events_processed_total'),
        requests: rate('millrace_http_requests_total') + rate('millrace_grpc_requests_total'),
        bytes: rate('millrace_http_request_bytes_total') + rate('millrace_grpc_request_bytes_total'),
        refused: rate('millrace_publish_refused_total'),
      },
      lag: {
        events: total('millrace_lag_events'),
        bytes: total('millrace_lag_bytes'),
        seconds: total('millrace_lag_seconds'),
      },
      latency: {
        ack: latencyBetween(now, before, 'millrace_publish_ack_seconds'),
        queryable: latencyBetween(now, before, 'millrace_queryable_seconds'),
      },
      pool: {
        threads: total('millrace_pool_threads'),
        busy: total('millrace_pool_busy_threads'),
        queue: total('millrace_pool_queue_tasks'),
      },
      backpressure: reasonsOf(now),
      roles: this.#roles(now, before),
    }
  }

  #roles(now: Collected, before: Collected): LiveRole[] {
    const rate = rateBetween(now, before)
    const all = [
      {
        role: 'primary' as const,
        worker: 0,
        pid: process.pid,
        ready: this.#parts.notReady() === undefined,
        restarts: 0,
      },
      ...this.#parts.slots.map(({ role, worker, child, ready, restarts }) => {
        return { role, worker, pid: child?.pid ?? 0, ready, restarts }
      }),
    ]
    return all.map((one) => {
      const where = { role: one.role, worker: String(one.worker) }
      return {
        ...one,
        cpu: rate('process_cpu_seconds_total', where),
        memoryBytes: now.total('process_resident_memory_bytes', where),
        eventLoopP99: now.total('millrace_event_loop_delay_seconds', { ...where, quantile: '0.99' }),
        ...(now.total('millrace_worker_stale', where) > 0 ? { stale: true } : {}),
      }
    })
  }
}

/** A second; never below 0. */
function rateBetween(now: Collected, before: Collected) {
  const seconds = (now.at - before.at) / 1000
  return (name: string, where: Record<string, string> = {}): number =>
    rounded(Math.max(0, now.total(name, where) - before.total(name, where)) / seconds)
}

function latencyBetween(now: Collected, before: Collected, name: string): Latency | null {
  const all = now.histogram(name)
  if (all === undefined) return null
  const between = since(all, before.histogram(name))
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => quantile(between, share))
  if (p50 === undefined || p95 === undefined || p99 === undefined) return null
  return { p50: rounded(p50), p95: rounded(p95), p99: rounded(p99) }
}

function reasonsOf(now: Collected): string[] {
  const series = now.families.get('millrace_backpressure')?.series ?? []
  return [...new Set(series.filter(({ value }) => value > 0).map(({ labels }) => labels.reason))].sort()
}

/** To a millionth: what is told has not a dozen digits that say nothing. */
function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6
}
