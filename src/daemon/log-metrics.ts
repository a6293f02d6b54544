// The state of the log, as a listener or a gateway sees it, as metrics.

import type { Config } from '../config/config.ts'
import { brokersOf, type Writers } from '../log/open.ts'
import type { Metrics } from '../telemetry/metrics.ts'

export function measureBrokers(metrics: Metrics, { log }: Config, writers: Writers): void {
  for (const broker of brokersOf(log.kind)) {
    const isUp = () => Number(writers.away()[broker] === undefined)
    metrics.reading('millrace_log_up', { broker }, isUp)
    metrics.counter('millrace_log_reconnects_total', { broker })
    const missing = () => writers.missing()?.[broker].segments ?? 0
    if (log.kind === 'dual') metrics.reading('millrace_log_missing_segments', { broker }, missing)
  }
}

/** For the hooks of the writers: counts how long each sync took, milliseconds. */
export function syncsOf(metrics: Metrics): (ms: number) => void {
  const syncs = metrics.histogram('millrace_log_sync_seconds', {})
  return (ms) => syncs.observe(ms / 1000)
}
