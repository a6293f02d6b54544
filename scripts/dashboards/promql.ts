// Pieces of PromQL that all panels are made of. Every selector follows the dashboard's variables job and instance, and
// names a metric that there is.

import type { catalogue, NameOf } from '../../src/telemetry/catalogue.ts'

type Counter = NameOf<'counter'> | 'process_cpu_seconds_total'
type Histogram = NameOf<'histogram'> | 'nodejs_gc_duration_seconds'
type Name =
  | keyof typeof catalogue
  | Counter
  | `${Histogram}_${'bucket' | 'sum' | 'count'}`
  | 'process_start_time_seconds'
  | 'process_resident_memory_bytes'
  | 'process_open_fds'
  | 'nodejs_heap_size_used_bytes'
  | 'ALERTS' // Prometheus' own
type Rising = Counter | `${Histogram}_${'bucket' | 'sum' | 'count'}`

/** A selector: `of('millrace_ready')`, `of('millrace_worker_up', 'role=~"$role"')`. */
export function of(metric: Name, ...matchers: string[]): string {
  return `${metric}{${['job=~"$job"', 'instance=~"$instance"', ...matchers].join(', ')}}`
}

/** What a counter rises by in a second. */
export function rate(metric: Rising, ...matchers: string[]): string {
  return `rate(${of(metric, ...matchers)}[$__rate_interval])`
}

/** The same, added up: over everything, or apart by these labels (`'route'`, `'role, worker'`). */
export function sumRate(metric: Rising, by = '', ...matchers: string[]): string {
  return `sum${by === '' ? '' : ` by (${by})`} (${rate(metric, ...matchers)})`
}

/**
 * Of what the results stores know (`expr` of metrics without a role): all daemons that share the stores tell the same,
 * so it counts once a job.
 */
export function once(expr: string, by = ''): string {
  return by === '' ? `sum (max by (job) (${expr}))` : `sum by (${by}) (max by (job, ${by}) (${expr}))`
}

/** What a counter rose by in each step of the graph. */
export function sumIncrease(metric: Rising, by: string): string {
  return `sum by (${by}) (increase(${of(metric)}[$__rate_interval]))`
}

/** A quantile of a histogram, estimated within its bucket, apart by these labels. */
export function quantile(q: number, metric: Histogram, by = ''): string {
  return `histogram_quantile(${q}, ${sumRate(`${metric}_bucket`, by === '' ? 'le' : `le, ${by}`)})`
}

/** The mean of a histogram. */
export function mean(metric: Histogram): string {
  return `${sumRate(`${metric}_sum`)} / ${sumRate(`${metric}_count`)}`
}

/** The buckets of a histogram, for a heatmap. */
export function buckets(metric: Histogram): string {
  return sumIncrease(`${metric}_bucket`, 'le')
}
