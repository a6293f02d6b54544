// "millrace: overview": is it well, how much goes through, how fast, and what is refused.

import { IN_FLIGHT_BYTES_MAX } from '../../src/limits.ts'
import { dashboard } from './dashboard.ts'
import { colors, heatmap, lines, stat, states, table } from './panels.ts'
import { buckets, of, once, quantile, rate, sumIncrease, sumRate } from './promql.ts'

const upOrDown = { 0: ['down', colors.bad], 1: ['up', colors.good] } satisfies Record<
  string,
  [text: string, color: string]
>

const now = [
  stat({
    title: 'Ready',
    description:
      'Whether all daemons that are chosen take events. Not ready for longer than a restart takes: look at "Processes" below, and at what `/readyz` of the daemon says.',
    queries: [[`min(${of('millrace_ready')})`, 'ready']],
    words: { 0: ['not ready', colors.bad], 1: ['ready', colors.good] },
    loud: true,
    width: 3,
  }),
  stat({
    title: 'Alerts',
    description: 'Alerts of millrace that fire now. What each means and asks for is in docs/runbook.md.',
    queries: [
      [`count(${of('ALERTS', 'alertname=~"Millrace.*"', 'alertstate="firing"')}) or vector(0)`, 'firing'],
    ],
    color: colors.good,
    bad: 1,
    loud: true,
    width: 3,
  }),
  stat({
    title: 'Accepted',
    description: 'Events that were acknowledged, a second: durable as far as the log of the daemon promises.',
    queries: [[sumRate('millrace_received_events_total'), 'accepted']],
    unit: 'cps',
    color: colors.accepted,
    trend: true,
    width: 3,
  }),
  stat({
    title: 'Processed',
    description:
      'Events whose effects were committed, a second. Over some time it is what was accepted; less means that the lag grows.',
    queries: [[once(rate('millrace_events_processed_total')), 'processed']],
    unit: 'cps',
    color: colors.processed,
    trend: true,
    width: 3,
  }),
  stat({
    title: 'Ack p99',
    description:
      'From the last byte of a body to its acknowledgement, at most this long for 99 of 100 bodies. Mostly the sync of the log, or the broker.',
    queries: [[quantile(0.99, 'millrace_publish_ack_seconds'), 'ack p99']],
    unit: 's',
    color: colors.good,
    warning: 0.1,
    bad: 0.5,
    trend: true,
    width: 3,
  }),
  stat({
    title: 'Queryable p99',
    description:
      'From receipt to results that can be asked for. Well below a second while there is no lag; with lag it is the lag.',
    queries: [[quantile(0.99, 'millrace_queryable_seconds'), 'queryable p99']],
    unit: 's',
    color: colors.good,
    warning: 1,
    bad: 10,
    trend: true,
    width: 3,
  }),
  stat({
    title: 'Lag',
    description:
      'How far the results are behind: the age of the newest event that is processed, while others wait. Growing for minutes: the processor does not keep up (see "millrace: inside", Pool and Commit).',
    queries: [[`max(${of('millrace_lag_seconds')})`, 'lag']],
    unit: 's',
    color: colors.good,
    warning: 5,
    bad: 60,
    trend: true,
    width: 3,
  }),
  stat({
    title: 'Dead letters',
    description:
      'Events that handlers could not handle and that are kept. `millrace dlq ls` tells why; replay them when the handler is mended. A partition keeps 10,000.',
    queries: [[once(of('millrace_dead_letters')), 'kept']],
    color: colors.good,
    warning: 1,
    bad: 1000,
    width: 3,
  }),
]

const events = [
  lines({
    title: 'Events',
    description:
      'What comes in and what is done with it. The two lines lie on each other while the processor keeps up; processed above accepted means that a backlog is worked off.',
    queries: [
      [sumRate('millrace_received_events_total'), 'accepted'],
      [once(rate('millrace_events_processed_total')), 'processed'],
    ],
    unit: 'cps',
    width: 12,
  }),
  lines({
    title: 'Lag by partition',
    description:
      'Events that are durable and not yet processed. One partition far above the others: its subjects are hot, or its owner is away. All of them growing: more threads, or processors on more machines with a broker as log.',
    queries: [[`sum by (partition) (${of('millrace_lag_events')})`, 'partition {{partition}}']],
    stacked: true,
    width: 12,
  }),
  lines({
    title: 'Events by door',
    description: 'Acknowledged events by how they came: HTTP requests, WebSocket streams, gRPC.',
    queries: [[sumRate('millrace_received_events_total', 'door'), '{{door}}']],
    unit: 'cps',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Events by worker',
    description:
      'The same by worker. The kernel spreads new connections over the listeners: with few long connections some carry more, which is harmless until one is at its limit.',
    queries: [[sumRate('millrace_received_events_total', 'role, worker'), '{{role}} {{worker}}']],
    unit: 'cps',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Not simply processed',
    description:
      'Duplicates are retries that counted once: normal after reconnects. Redelivered came twice from a broker, and counted once too. Dead-lettered and dropped are decisions of handlers. Damaged and lost are never normal.',
    queries: [
      [once(rate('millrace_events_duplicate_total')), 'duplicate'],
      [once(rate('millrace_events_redelivered_total')), 'redelivered'],
      [once(rate('millrace_events_dead_lettered_total')), 'dead-lettered'],
      [`sum (${once(rate('millrace_events_dropped_total'), 'handler, reason')})`, 'dropped'],
      [once(rate('millrace_events_damaged_total')), 'damaged'],
      [once(rate('millrace_segments_lost_total')), 'lost segments'],
    ],
    unit: 'cps',
    color: {
      '^damaged$': colors.bad,
      '^lost segments$': colors.bad,
      '^dead-lettered$': 'orange',
      '^duplicate$': 'blue',
      '^redelivered$': 'purple',
    },
    width: 8,
  }),
]

const latency = [
  lines({
    title: 'Publish to ack',
    description:
      'From the last byte of a body to the answer that it is durable. The floor is one sync of the log. p99 far above p50: the disk or the broker stalls now and then, or the machine has no core to spare.',
    queries: [
      [quantile(0.5, 'millrace_publish_ack_seconds'), 'p50'],
      [quantile(0.95, 'millrace_publish_ack_seconds'), 'p95'],
      [quantile(0.99, 'millrace_publish_ack_seconds'), 'p99'],
    ],
    unit: 's',
    warning: 0.1,
    bad: 0.5,
    width: 12,
  }),
  heatmap({
    title: 'Publish to ack, all of them',
    description:
      'Every body by how long it took. Two bands are two ways that bodies go: through a sync that others began, or through their own.',
    queries: [[buckets('millrace_publish_ack_seconds'), '{{le}}']],
    width: 12,
  }),
  lines({
    title: 'Receipt to queryable',
    description:
      'From receipt to results that any listener answers with. It follows the time between commits (6 ms and up, longer the more rows each writes) and the lag.',
    queries: [
      [quantile(0.5, 'millrace_queryable_seconds'), 'p50'],
      [quantile(0.95, 'millrace_queryable_seconds'), 'p95'],
      [quantile(0.99, 'millrace_queryable_seconds'), 'p99'],
    ],
    unit: 's',
    warning: 1,
    bad: 10,
    width: 12,
  }),
  heatmap({
    title: 'Receipt to queryable, all of them',
    description:
      'A band that climbs is a backlog that grows; one that jumps and falls is a processor that was replaced.',
    queries: [[buckets('millrace_queryable_seconds'), '{{le}}']],
    width: 12,
  }),
]

const requests = [
  lines({
    title: 'Requests by route',
    description: 'HTTP requests a second.',
    queries: [[sumRate('millrace_http_requests_total', 'route'), '{{route}}']],
    unit: 'reqps',
    width: 8,
  }),
  lines({
    title: 'Requests by status',
    description:
      '429 is back-pressure and asks clients to come back; other 4xx are mistakes of clients; 503 is a log that cannot be written or a daemon that drains; 500 is a mistake of ours and worth a report.',
    queries: [[sumRate('millrace_http_requests_total', 'code'), '{{code}}']],
    unit: 'reqps',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Duration by route, p99',
    description:
      'From the headers of a request to its answer; of a tap or a stream, to its beginning. Long queries are those over many rows.',
    queries: [[quantile(0.99, 'millrace_http_request_duration_seconds', 'route'), '{{route}}']],
    unit: 's',
    width: 8,
  }),
  lines({
    title: 'gRPC calls',
    description: 'Calls a second by method and status. RESOURCE_EXHAUSTED is what 429 is over HTTP.',
    queries: [[sumRate('millrace_grpc_requests_total', 'method, code'), '{{method}} {{code}}']],
    unit: 'reqps',
    width: 8,
  }),
  lines({
    title: 'gRPC duration by method, p99',
    description: 'Of calls that ended. Streams last as long as their clients keep them open.',
    queries: [[quantile(0.99, 'millrace_grpc_request_duration_seconds', 'method'), '{{method}}']],
    unit: 's',
    width: 8,
  }),
  lines({
    title: 'Bytes of requests',
    description: 'Bodies and messages received, by route or method of gRPC.',
    queries: [
      [sumRate('millrace_http_request_bytes_total', 'route'), '{{route}}'],
      [sumRate('millrace_grpc_request_bytes_total', 'method'), '{{method}}'],
    ],
    unit: 'Bps',
    width: 4,
  }),
  lines({
    title: 'Connections',
    description: 'Open now: HTTP connections, and WebSocket streams.',
    queries: [
      [`sum(${of('millrace_http_connections')})`, 'http'],
      [`sum(${of('millrace_stream_connections')})`, 'streams'],
    ],
    width: 4,
  }),
]

const refusals = [
  lines({
    title: 'Bodies refused, by reason',
    description:
      'By the code that clients are told (src/errors.ts). backlog-full, overloaded and log-unavailable are the daemon protecting itself; malformed, too-large and the like are for whoever runs the client.',
    queries: [[sumRate('millrace_publish_refused_total', 'code'), '{{code}}']],
    unit: 'cps',
    stacked: true,
    color: {
      '^internal$': 'red',
      '^log-unavailable$': 'red',
      '^backlog-full$': 'orange',
      '^overloaded$': 'orange',
    },
    width: 8,
  }),
  states({
    title: 'Back-pressure',
    description:
      'log_full: what waits fills half of log.retention.maxBytes, so the processor is behind. in_flight: a listener holds all it may, so the log is slow. log_unavailable: disk full, or broker away. Seconds of it are what it is for; minutes are an alert.',
    queries: [[`max by (reason) (${of('millrace_backpressure')})`, '{{reason}}']],
    words: { 0: ['open', colors.good], 1: ['holding back', colors.bad] },
    width: 8,
  }),
  lines({
    title: 'Bytes in flight',
    description:
      'Bodies that a listener holds: being received, or waiting for the log. At the line it answers 429. Near it for long: the log is slower than what comes.',
    queries: [[`sum by (role, worker) (${of('millrace_admission_bytes')})`, '{{role}} {{worker}}']],
    unit: 'bytes',
    warning: IN_FLIGHT_BYTES_MAX * 0.75,
    bad: IN_FLIGHT_BYTES_MAX,
    width: 8,
  }),
]

const processes = [
  states({
    title: 'Workers',
    description:
      'One bar for each process. A gap or red for less than a second is a restart; longer, or again and again: the log of the daemon says why it ended.',
    queries: [
      [`min by (instance, role, worker) (${of('millrace_worker_up')})`, '{{role}} {{worker}} {{instance}}'],
    ],
    words: upOrDown,
    width: 10,
  }),
  lines({
    title: 'Restarts',
    description:
      'How often workers were started again. One is a crash that nobody noticed; five in thirty seconds end the daemon with the reason.',
    queries: [[sumIncrease('millrace_worker_restarts_total', 'role, worker'), '{{role}} {{worker}}']],
    decimals: 0,
    width: 6,
  }),
  table({
    title: 'Daemons',
    description: 'What runs, and what its acknowledgements promise.',
    queries: [[of('millrace_build_info'), '']],
    columns: {
      instance: 'Daemon',
      version: 'Version',
      node: 'Node.js',
      log_kind: 'Log',
      durability: 'An ack means',
    },
    width: 8,
  }),
]

/** For whoever asks "is it well?" */
export const overview = dashboard(
  'millrace-overview',
  'millrace: overview',
  'Is it well, how much goes through, how fast, and what is refused. Where a panel looks wrong, "millrace: inside" shows the part behind it.',
  {
    Now: now,
    Events: events,
    Latency: latency,
    Requests: requests,
    'Back-pressure and refusals': refusals,
    Processes: processes,
  },
)
