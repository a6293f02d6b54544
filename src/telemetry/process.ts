// What Node tells of a process: prom-client's default metrics, and how late the event loop is. Once a process.

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { type Metric, roles } from './catalogue.ts'
import type { Metrics, Sample, Snapshot } from './metrics.ts'

/** How often the event loop's delay is looked at, milliseconds: each look wakes the process up. */
const DELAY_RESOLUTION_MS = 20
const SLICE_MS = 1000
const SLICES = 15

/** Gauges whose names say that they are counters: promtool refuses them, and others tell the same by type. */
const misnamed = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
]

export class ProcessMetrics {
  readonly #registry = new Registry()
  readonly #delay: EventLoopDelay

  /** `metrics`: gets the event loop's delay. */
  constructor(metrics: Metrics) {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: DELAY_RESOLUTION_MS })
    for (const name of misnamed) this.#registry.removeSingleMetric(name)
    this.#delay = new EventLoopDelay(metrics)
  }

  /** What the default metrics are. */
  async describe(): Promise<Record<string, Metric>> {
    const described = (await this.#all()).map(({ name, help, type, aggregator, labels, bounds }) => [
      name,
      {
        type,
        help: `${help.replace(/\.$/, '')}.`,
        labels,
        roles,
        merge: aggregator === 'sum' ? 'sum' : 'max',
        ...(bounds === undefined ? {} : { buckets: bounds }),
      } satisfies Metric,
    ])
    return Object.fromEntries(described)
  }

  async snapshot(): Promise<Snapshot> {
    return Object.fromEntries((await this.#all()).map(({ name, samples }) => [name, samples]))
  }

  close(): void {
    this.#delay.close()
  }

  async #all() {
    const raw = this.#registry.getMetricsAsArray() as unknown as {
      labelNames: string[]
      upperBounds?: number[]
    }[]
    const metrics = await this.#registry.getMetricsAsJSON()
    return metrics.map(({ name, help, type, aggregator, values }, i) => {
      const labels = raw[i].labelNames.filter((label) => label !== 'le')
      const bounds = raw[i].upperBounds
      const plain = values as Value[]
      return {
        name,
        help,
        type: String(type) as Metric['type'],
        aggregator: String(aggregator),
        labels,
        bounds,
        samples: bounds === undefined ? samplesOf(plain, labels) : histogramsOf(plain, labels, bounds),
      }
    })
  }
}

interface Value {
  value: number
  metricName?: string
  labels: Record<string, string | number>
}

/** What has no number yet is left out. */
function samplesOf(values: Value[], labels: string[]): Sample[] {
  return values
    .filter(({ value }) => Number.isFinite(value))
    .map((one) => ({ labels: labels.map((label) => String(one.labels[label] ?? '')), value: one.value }))
}

/** prom-client cumulates buckets, and gives each of them, the sum and the count as a value of its own. */
function histogramsOf(values: Value[], labels: string[], bounds: readonly number[]): Sample[] {
  const samples = new Map<string, Sample & { counts: number[] }>()
  for (const one of values) {
    const of = labels.map((label) => String(one.labels[label] ?? ''))
    const key = JSON.stringify(of)
    const sample = samples.get(key) ?? { labels: of, value: 0, counts: new Array(bounds.length + 1).fill(0) }
    samples.set(key, sample)
    if (one.metricName?.endsWith('_sum')) sample.value = one.value
    else if (one.metricName?.endsWith('_bucket')) {
      const bound = one.labels.le === '+Inf' ? bounds.length : bounds.indexOf(Number(one.labels.le))
      sample.counts[bound] = one.value
    }
  }
  for (const { counts } of samples.values()) {
    for (let i = counts.length - 1; i > 0; i--) counts[i] -= counts[i - 1]
  }
  return [...samples.values()]
}

interface Slice {
  median: number
  late: number
  most: number
}

/** Of the last seconds, whoever asks and however often. */
class EventLoopDelay {
  readonly #histogram: IntervalHistogram
  readonly #timer: NodeJS.Timeout
  #slices: Slice[] = []

  constructor(metrics: Metrics) {
    this.#histogram = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
    this.#histogram.enable()
    this.#timer = setInterval(() => this.#next(), SLICE_MS).unref()
    const quantiles: [quantile: string, of: keyof Slice][] = [
      ['0.5', 'median'],
      ['0.99', 'late'],
      ['1', 'most'],
    ]
    for (const [quantile, of] of quantiles) {
      metrics.reading('millrace_event_loop_delay_seconds', { quantile }, () => this.#worst(of))
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#histogram.disable()
  }

  #worst(of: keyof Slice): number {
    return Math.max(0, ...this.#slices.map((slice) => slice[of]))
  }

  #next(): void {
    const histogram = this.#histogram
    this.#slices.push({
      median: secondsLate(histogram.percentile(50)),
      late: secondsLate(histogram.percentile(99)),
      most: secondsLate(histogram.max),
    })
    this.#slices = this.#slices.slice(-SLICES)
    histogram.reset()
  }
}

/** Node measures from one look to the next, nanoseconds. */
function secondsLate(betweenLooks: number): number {
  return Math.max(0, betweenLooks / 1e9 - DELAY_RESOLUTION_MS / 1000)
}
