// Pieces of PromQL that all panels are made of. Every selector follows the dashboard's variables job and instance.

/** A selector: `of('millrace_ready')`, `of('millrace_worker_up', 'role=~"$role"')`. */
export function of(metric: string, ...matchers: string[]): string {
  return `${metric}{${['job=~"$job"', 'instance=~"$instance"', ...matchers].join(', ')}}`
}

/** What a counter rises by in a second. */
export function rate(metric: string, ...matchers: string[]): string {
  return `rate(${of(metric, ...matchers)}[$__rate_interval])`
}

/** The same, added up: over everything, or apart by these labels (`'route'`, `'role, worker'`). */
export function sumRate(metric: string, by = '', ...matchers: string[]): string {
  return `sum${by === '' ? '' : ` by (${by})`} (${rate(metric, ...matchers)})`
}

/** What a counter rose by in each step of the graph. */
export function sumIncrease(metric: string, by: string): string {
  return `sum by (${by}) (increase(${of(metric)}[$__rate_interval]))`
}

/** A quantile of a histogram, estimated within its bucket, apart by these labels. */
export function quantile(q: number, metric: string, by = '', ...matchers: string[]): string {
  const labels = by === '' ? 'le' : `le, ${by}`
  return `histogram_quantile(${q}, ${sumRate(`${metric}_bucket`, labels, ...matchers)})`
}

/** The mean of a histogram, apart by these labels. */
export function mean(metric: string, by = ''): string {
  return `${sumRate(`${metric}_sum`, by)} / ${sumRate(`${metric}_count`, by)}`
}

/** The buckets of a histogram, for a heatmap. */
export function buckets(metric: string): string {
  return sumIncrease(`${metric}_bucket`, 'le')
}
