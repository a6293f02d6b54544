// What is counted of a lane of the log: its segments, and when it refused some.

import type { ProblemCode } from '../errors.ts'
import { BACKPRESSURE_SHOWN_MS } from '../limits.ts'
import type { LogWriter } from '../log/log.ts'
import type { Segment } from '../log/segment.ts'
import type { Counter, Histogram, Metrics } from '../telemetry/metrics.ts'
import type { Admission } from './admission.ts'

export class LaneMetrics {
  /** When the log last refused a segment, by performance.now(). */
  fullAt = Number.NEGATIVE_INFINITY
  unavailableAt = Number.NEGATIVE_INFINITY
  readonly #segments: Counter
  readonly #bytes: Histogram
  readonly #events: Histogram
  readonly #appends: Histogram

  constructor(metrics: Metrics, partition: number) {
    this.#segments = metrics.counter('millrace_log_segments_total', { partition: String(partition) })
    this.#bytes = metrics.histogram('millrace_log_segment_bytes', {})
    this.#events = metrics.histogram('millrace_log_segment_events', {})
    this.#appends = metrics.histogram('millrace_log_append_seconds', {})
  }

  /** `since`: when it was handed to the log, milliseconds as `now`. */
  durable(segment: Segment, since: number, now: number): void {
    this.#segments.add(1)
    this.#bytes.observe(segment.bytes.length)
    this.#events.observe(segment.events)
    this.#appends.observe((now - since) / 1000)
  }

  refused(code: ProblemCode): void {
    if (code === 'backlog-full') this.fullAt = performance.now()
    else if (code === 'log-unavailable') this.unavailableAt = performance.now()
  }
}

/** Of all lanes of a process; and why bodies are refused at present. */
export function measureLanes(
  metrics: Metrics,
  lanes: readonly LogWriter[],
  admission: Admission,
): LaneMetrics[] {
  const measured = lanes.map((_, partition) => new LaneMetrics(metrics, partition))
  lanes.forEach((lane, partition) => {
    const labels = { partition: String(partition) }
    metrics.reading('millrace_log_backlog_bytes', labels, () => lane.written().backlogBytes)
  })
  metrics.reading('millrace_admission_bytes', {}, () => admission.bytes)
  const isRecent = (at: number) => Number(performance.now() - at < BACKPRESSURE_SHOWN_MS)
  const reasons: Record<string, () => number> = {
    log_full: () => Math.max(...measured.map(({ fullAt }) => fullAt)),
    log_unavailable: () => Math.max(...measured.map(({ unavailableAt }) => unavailableAt)),
    in_flight: () => admission.refusedAt,
  }
  for (const [reason, at] of Object.entries(reasons)) {
    metrics.reading('millrace_backpressure', { reason }, () => isRecent(at()))
  }
  return measured
}
