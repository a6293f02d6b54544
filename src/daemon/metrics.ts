// All numbers of all processes at one moment, for /metrics and for whoever looks on.
//
//   worker ── its numbers, once a second and when asked ──► place: what its process counts, and what those before it did
//   results stores, supervisor ───────────────────────────► what the daemon knows as a whole
//
// Nobody waits for a worker that is stalled: of one that is silent, what it told last is shown.

import type { AdminRoute } from '../api/admin.ts'
import type { Config } from '../config/config.ts'
import { METRICS_ANSWER_MS_MAX } from '../limits.ts'
import { declaredDurability, writersOnDisk } from '../log/open.ts'
import { catalogue, type Metric, type Role } from '../telemetry/catalogue.ts'
import { Collected } from '../telemetry/collected.ts'
import type { Logger } from '../telemetry/logger.ts'
import { Metrics, type Snapshot } from '../telemetry/metrics.ts'
import { Tally } from '../telemetry/tally.ts'
import { version } from '../telemetry/version.ts'
import { Lanes } from './lanes.ts'
import { LeftInLog } from './left.ts'
import type { Conversation, ListenerReport, WorkerMetrics } from './link.ts'
import { StoreMetrics } from './store-metrics.ts'
import type { Child, Slot } from './supervisor.ts'
import type { PrimaryTaps } from './taps.ts'

/** How long what a worker said last may be on its way, where its channel does not tell of its end. */
const CHANNEL_MS = 100

export interface CollectorParts {
  config: Config
  logger: Logger
  /** All roles run in this process. */
  profiled: boolean
  ready(): boolean
  taps: PrimaryTaps
}

/** A process in a slot. */
interface Worker {
  slot: Slot
  conversation: Conversation
  /** It was asked, and has said nothing since. */
  silent: boolean
}

export class Collector {
  readonly #parts: CollectorParts
  readonly #metrics = new Metrics()
  readonly #version = version()
  readonly #process: ReturnType<typeof measureProcess>
  #describe = (name: string): Metric | undefined => (catalogue as Record<string, Metric>)[name]
  readonly #tallies = new Map<Slot, Tally>()
  readonly #workers = new Map<Child, Worker>()
  /** What is written, by whoever lives or is gone. */
  readonly lanes: Lanes
  readonly left: LeftInLog
  readonly #stores: StoreMetrics
  #storesFailed = false
  #ofStores: Metrics | undefined
  #collecting: Promise<Collected> | undefined

  constructor(parts: CollectorParts) {
    this.#parts = parts
    const { config, profiled } = parts
    this.lanes = new Lanes((partition) => writersOnDisk(config, partition))
    this.left = new LeftInLog(config, this.lanes, parts.logger)
    this.#process = measureProcess(this.#metrics).then((measured) => {
      this.#describe = (name) => (catalogue as Record<string, Metric>)[name] ?? measured.described[name]
      return measured
    })
    this.#stores = new StoreMetrics(config, profiled, this.lanes)
  }

  /** A slot whose processes are counted as one. */
  watch(slot: Slot): void {
    this.#tallies.set(slot, new Tally((name) => this.#describe(name)))
  }

  /** A new process in a slot. */
  attach(slot: Slot, child: Child, conversation: Conversation): void {
    const worker: Worker = { slot, conversation, silent: false }
    this.#workers.set(child, worker)
    child.link.onMessage((message) => {
      if (message.type === 'metrics') this.#told(child, worker, message.metrics)
    })
    const over = () => {
      if (!this.#workers.delete(child)) return
      this.#tallies.get(slot)?.gone(child)
      const { config, logger } = this.#parts
      const report = this.lanes.last(child)
      const lost = this.lanes.gone(child, config.log.kind !== 'memory')
      if (slot.role !== 'processor') this.left.ended(report?.lanes.map(({ writer }) => writer) ?? [])
      if (lost > 0)
        logger.warn({ role: slot.role, events: lost }, 'ended with events in its memory: they may be lost')
    }
    // What it says last may come behind its end, but not behind the end of its channel.
    child.link.onClose(over)
    child.onExit(() => {
      const heard = this.left.ending()
      const wait = setTimeout(() => {
        over()
        heard()
      }, CHANNEL_MS)
      wait.unref()
    })
  }

  /** What a process has said of its lanes when it was asked for that alone. */
  heard(child: Child, report: ListenerReport | undefined): void {
    if (report !== undefined && this.#workers.has(child)) this.lanes.told(child, report)
  }

  /** Never rejects, and takes little longer than METRICS_ANSWER_MS_MAX, or twice that when somebody has just ended. Those who ask meanwhile get the same. */
  collect(): Promise<Collected> {
    this.#collecting ??= this.#collect().finally(() => {
      this.#collecting = undefined
    })
    return this.#collecting
  }

  async close(): Promise<void> {
    this.left.close()
    await this.#collecting
    ;(await this.#process).process.close()
    await this.#stores.close()
  }

  async #collect(): Promise<Collected> {
    const startedAt = performance.now()
    const { process } = await this.#process
    const fresh = new Set<Child>()
    await Promise.all(
      [...this.#workers].map(async ([child, worker]) => {
        if (await this.#ask(child, worker)) fresh.add(child)
      }),
    )
    await this.left.settled(METRICS_ANSWER_MS_MAX) // who did not answer may have ended
    const own = await process.snapshot()
    const collected = new Collected()
    this.#addDaemon(collected, await this.#readStores())
    this.#add(collected, { ...own, ...this.#metrics.snapshot() }, { role: 'primary', worker: '0' })
    this.#addWorker(collected, 'primary', 0, { up: true, restarts: 0, stale: false })
    for (const [slot, tally] of this.#tallies) {
      const { role, worker, ready, restarts, children } = slot
      collected.add(tally.sum(), this.#describe, { role, worker: String(worker) })
      const stale = children.length === 0 || !children.every((child) => fresh.has(child))
      this.#addWorker(collected, role, worker, { up: ready, restarts, stale })
    }
    const took = (performance.now() - startedAt) / 1000
    this.#put(collected, 'millrace_scrape_duration_seconds', {}, took)
    return collected
  }

  /** True when what is known of it is of now. One that has not answered is not asked again before it says something. */
  async #ask(child: Child, worker: Worker): Promise<boolean> {
    if (worker.silent || !worker.slot.listening.includes(child)) return false
    worker.silent = true
    try {
      this.#told(child, worker, await worker.conversation.ask('metrics', METRICS_ANSWER_MS_MAX))
      return true
    } catch {
      return false
    }
  }

  #told(child: Child, worker: Worker, { series, report }: WorkerMetrics): void {
    if (!this.#workers.has(child)) return // it is over, and what it had told is counted
    worker.silent = false
    this.#tallies.get(worker.slot)?.told(child, series)
    this.heard(child, report)
  }

  /** What cannot be read now is shown as it was. */
  async #readStores(): Promise<Metrics | undefined> {
    try {
      this.#ofStores = (await this.#stores.read()) ?? this.#ofStores
      this.#storesFailed = false
    } catch (error) {
      if (!this.#storesFailed) this.#parts.logger.warn({ err: error }, 'metrics: the results cannot be read')
      this.#storesFailed = true
    }
    return this.#ofStores
  }

  #addDaemon(collected: Collected, ofStores: Metrics | undefined): void {
    const { ready, config, taps } = this.#parts
    const { kind } = config.log
    this.#put(collected, 'millrace_build_info', {
      version: this.#version,
      node: process.versions.node,
      log_kind: kind,
      durability: declaredDurability(kind),
    })
    this.#put(collected, 'millrace_ready', {}, Number(ready()))
    this.#put(collected, 'millrace_taps', {}, taps.open)
    this.#put(collected, 'millrace_tap_missed_events_total', {}, taps.missed)
    if (ofStores !== undefined) this.#add(collected, ofStores.snapshot())
  }

  /** What is counted in one place that nobody is replaced in. */
  #add(collected: Collected, snapshot: Snapshot, labels?: Record<string, string>): void {
    const tally = new Tally(this.#describe)
    tally.told(this, snapshot)
    collected.add(tally.sum(), this.#describe, labels)
  }

  #addWorker(
    collected: Collected,
    role: Role,
    worker: number,
    { up, restarts, stale }: { up: boolean; restarts: number; stale: boolean },
  ): void {
    const labels = { role, worker: String(worker) }
    this.#put(collected, 'millrace_worker_up', labels, Number(up))
    this.#put(collected, 'millrace_worker_restarts_total', labels, restarts)
    this.#put(collected, 'millrace_worker_stale', labels, Number(stale))
  }

  #put(collected: Collected, name: keyof typeof catalogue, labels: Record<string, string>, value = 1): void {
    collected.put(name, catalogue[name], { labels, value })
  }
}

/** Its library is loaded beside the start of the workers, and of no use to them. */
async function measureProcess(metrics: Metrics) {
  const { ProcessMetrics } = await import('../telemetry/process.ts')
  const process = new ProcessMetrics(metrics)
  return { process, described: await process.describe() }
}

export function metricsRoute(collector: Collector): AdminRoute {
  return {
    async answer(request, response) {
      const { expose } = await import('../telemetry/exposition.ts')
      const collected = await collector.collect()
      const { contentType, text } = await expose(collected, request.headers.accept ?? '')
      response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text)
    },
  }
}
