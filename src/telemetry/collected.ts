// The numbers of all processes at one moment, and sums and quantiles over them.

import type { Metric } from './catalogue.ts'
import type { Samples } from './tally.ts'

export interface Series {
  /** `role` and `worker` among them, where the metric is of a process. */
  labels: Record<string, string>
  /** Of a histogram the sum of what was observed. */
  value: number
  /** Of a histogram: observations by bucket, the one up to +Inf last; not cumulated. */
  counts?: number[]
}

export interface Distribution {
  /** Upper bounds of the buckets, but for the last, which has none. */
  bounds: readonly number[]
  counts: number[]
  sum: number
  count: number
}

export interface Family {
  metric: Metric
  series: Series[]
}

export class Collected {
  /** Milliseconds, as performance.now(): rates are between two of these. */
  readonly at = performance.now()
  readonly families = new Map<string, Family>()

  /** Adds samples of the daemon, or of the worker that the labels name. */
  add(
    samples: Samples,
    describe: (name: string) => Metric | undefined,
    labels: Record<string, string> = {},
  ): void {
    for (const [name, series] of samples) {
      const metric = describe(name)
      if (metric === undefined) continue
      for (const { labels: values, ...numbers } of series.values()) {
        const own = Object.fromEntries(metric.labels.map((label, i) => [label, values[i]]))
        this.put(name, metric, { labels: { ...own, ...labels }, ...numbers })
      }
    }
  }

  put(name: string, metric: Metric, series: Series): void {
    const family = this.families.get(name)
    if (family === undefined) this.families.set(name, { metric, series: [series] })
    else family.series.push(series)
  }

  /** The sum over all series that have these labels; of a histogram the count. 0 where there are none. */
  total(name: string, where: Record<string, string> = {}): number {
    const value = ({ value, counts }: Series) => counts?.reduce((sum, count) => sum + count, 0) ?? value
    return this.#where(name, where).reduce((sum, series) => sum + value(series), 0)
  }

  /** All series of a histogram that have these labels as one; undefined where there are none. */
  histogram(name: string, where: Record<string, string> = {}): Distribution | undefined {
    const found = this.#where(name, where).filter(({ counts }) => counts !== undefined)
    if (found.length === 0) return undefined
    const bounds = this.families.get(name)!.metric.buckets ?? []
    const counts = new Array<number>(bounds.length + 1).fill(0)
    let sum = 0
    for (const series of found) {
      sum += series.value
      series.counts!.forEach((count, bucket) => {
        counts[bucket] += count
      })
    }
    return { bounds, counts, sum, count: counts.reduce((all, one) => all + one, 0) }
  }

  #where(name: string, where: Record<string, string>): Series[] {
    const series = this.families.get(name)?.series ?? []
    return series.filter(({ labels }) =>
      Object.entries(where).every(([label, value]) => labels[label] === value),
    )
  }
}

/** What was observed after an earlier collection of the same histogram. */
export function since(now: Distribution, before: Distribution | undefined): Distribution {
  if (before === undefined) return now
  const counts = now.counts.map((count, bucket) => Math.max(0, count - before.counts[bucket]))
  return { ...now, counts, sum: now.sum - before.sum, count: counts.reduce((all, one) => all + one, 0) }
}

/**
 * The value below which this share of the observations lies, 0 to 1, interpolated within its bucket as PromQL's
 * histogram_quantile does; the last bound where it lies beyond. Undefined where nothing was observed.
 */
export function quantile({ bounds, counts, count }: Distribution, share: number): number | undefined {
  if (count === 0) return undefined
  const rank = share * count
  let below = 0
  for (let bucket = 0; bucket < bounds.length; bucket++) {
    if (below + counts[bucket] >= rank && counts[bucket] > 0) {
      const from = bucket === 0 ? 0 : bounds[bucket - 1]
      return from + (bounds[bucket] - from) * ((rank - below) / counts[bucket])
    }
    below += counts[bucket]
  }
  return bounds.at(-1)
}
