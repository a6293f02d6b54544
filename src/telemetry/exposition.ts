// /metrics as text, by prom-client: in Prometheus' own format, or in OpenMetrics where the reader asks for it.

import { type Metric as PromMetric, Registry, type RegistryContentType } from 'prom-client'
import type { Metric } from './catalogue.ts'
import type { Collected, Family, Series } from './collected.ts'

/** One line. */
interface Value {
  metricName: string
  labels: Record<string, string | number>
  value: number
}

/** `accept`: the reader's header. */
export async function expose(
  collected: Collected,
  accept: string,
): Promise<{ contentType: string; text: string }> {
  const isOpen = accept.includes('application/openmetrics-text')
  const contentType = isOpen ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE
  const registry = new Registry<RegistryContentType>()
  registry.setContentType(contentType)
  for (const [name, family] of collected.families) {
    // As its registry of a cluster does: what is registered need not be counted by prom-client.
    registry.registerMetric(published(name, family, isOpen) as unknown as PromMetric)
  }
  return { contentType, text: await registry.metrics() }
}

function published(name: string, { metric, series }: Family, isOpen: boolean) {
  // OpenMetrics names a counter without the ending that its samples have, which prom-client then adds.
  const family = isOpen && metric.type === 'counter' ? name.replace(/_total$/, '') : name
  const values = series.flatMap((one) => valuesOf(family, metric, one))
  return {
    name: family,
    help: metric.help,
    type: metric.type,
    get: () => ({ name: family, help: metric.help, type: metric.type, values }),
  }
}

function valuesOf(name: string, { type, buckets = [] }: Metric, { labels, value, counts }: Series): Value[] {
  if (type !== 'histogram' || counts === undefined) return [{ metricName: name, labels, value }]
  let count = 0
  const lines = counts.map((more, bucket) => {
    count += more
    return {
      metricName: `${name}_bucket`,
      labels: { ...labels, le: buckets[bucket] ?? '+Inf' },
      value: count,
    }
  })
  return [
    ...lines,
    { metricName: `${name}_sum`, labels, value },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
