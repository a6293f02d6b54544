// Every metric of the daemon, as data: what it is called, what it means, and which processes have it. Series are made
// with these names only, /metrics is rendered from them, and docs/metrics.md is written from them.

/** What a process of the daemon may be. */
export const roles = ['primary', 'listener', 'processor', 'gateway'] as const
export type Role = (typeof roles)[number]

export interface Metric {
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  /** One sentence, with the unit where the name does not have it. */
  readonly help: string
  /** Beside `role` and `worker`. */
  readonly labels: readonly string[]
  /** The processes that have it: their series carry `role` and `worker`. Left out: of the daemon as a whole. */
  readonly roles?: readonly Role[]
  /** Upper bounds of a histogram, rising; +Inf is not among them. */
  readonly buckets?: readonly number[]
  /** What becomes of a gauge that two processes have in one place, while one is replaced: `sum` unless said otherwise. */
  readonly merge?: 'sum' | 'max'
}

const doors = ['listener', 'gateway'] as const
const processor = ['processor'] as const

/** 0.5 ms to 10 s. */
const seconds = [
  0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const
/** 1 KiB to 16 MiB. */
const bytes = [1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216] as const
const counts = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000] as const

const atTheDoors = {
  millrace_http_requests_total: {
    type: 'counter',
    help: 'Requests answered on the data port, by route template and status; code "aborted" where the client left first.',
    labels: ['route', 'code'],
    roles: doors,
  },
  millrace_http_request_duration_seconds: {
    type: 'histogram',
    help: 'From the headers of a request to its answer; of a live tap or a stream, to its beginning.',
    labels: ['route', 'code'],
    roles: doors,
    buckets: seconds,
  },
  millrace_http_request_bytes_total: {
    type: 'counter',
    help: 'Bytes of bodies and stream messages received, without headers.',
    labels: ['route'],
    roles: doors,
  },
  millrace_http_connections: {
    type: 'gauge',
    help: 'Open connections on the data port that are not streams.',
    labels: [],
    roles: doors,
  },
  millrace_stream_connections: {
    type: 'gauge',
    help: 'Open WebSocket streams of /v1/stream.',
    labels: [],
    roles: ['listener'],
  },
  millrace_grpc_requests_total: {
    type: 'counter',
    help: 'gRPC calls ended, by method and status.',
    labels: ['method', 'code'],
    roles: ['gateway'],
  },
  millrace_grpc_request_duration_seconds: {
    type: 'histogram',
    help: 'From the metadata of a gRPC call to its status; a streaming call lasts as long as it is open.',
    labels: ['method', 'code'],
    roles: ['gateway'],
    buckets: seconds,
  },
  millrace_grpc_request_bytes_total: {
    type: 'counter',
    help: 'Bytes of gRPC messages received, without headers.',
    labels: ['method'],
    roles: ['gateway'],
  },
  millrace_publish_ack_seconds: {
    type: 'histogram',
    help: 'From a complete body or message to its events being as durable as the log promises.',
    labels: ['door'],
    roles: doors,
    buckets: seconds,
  },
  millrace_publish_refused_total: {
    type: 'counter',
    help: 'Bodies refused, by error code; a stream or a streaming call that ends with an error counts once.',
    labels: ['door', 'code'],
    roles: doors,
  },
  millrace_received_events_total: {
    type: 'counter',
    help: 'Events acknowledged to clients; those of a body that was sent twice count twice.',
    labels: ['door'],
    roles: doors,
  },
} as const satisfies Record<string, Metric>

const events = {
  millrace_events_accepted_total: {
    type: 'counter',
    help: 'Events in the log since the data directory was made: processed, duplicate, or still waiting.',
    labels: [],
  },
  millrace_events_processed_total: {
    type: 'counter',
    help: 'Events whose effects are committed, each once.',
    labels: [],
  },
  millrace_events_duplicate_total: {
    type: 'counter',
    help: 'Events of bodies that their producer sent again, skipped.',
    labels: [],
  },
  millrace_events_dead_lettered_total: {
    type: 'counter',
    help: 'Events that became dead letters.',
    labels: [],
  },
  millrace_events_dropped_total: {
    type: 'counter',
    help: 'Events that a handler dropped, by its reason.',
    labels: ['handler', 'reason'],
  },
  millrace_events_damaged_total: {
    type: 'counter',
    help: 'Events in damaged records of the log, set aside.',
    labels: [],
  },
  millrace_events_redelivered_total: {
    type: 'counter',
    help: 'Events that the log yielded again, skipped.',
    labels: [],
  },
  millrace_segments_lost_total: {
    type: 'counter',
    help: 'Segments that the broker does not hold any more.',
    labels: [],
  },
  millrace_dead_letters: { type: 'gauge', help: 'Dead letters kept now.', labels: [] },
  millrace_handler_events_total: {
    type: 'counter',
    help: 'Events given to a handler: outcome is handled, dropped or dead_lettered.',
    labels: ['handler', 'outcome'],
  },
  millrace_lag_events: {
    type: 'gauge',
    help: 'Events in the log that wait to be processed.',
    labels: ['partition'],
  },
  millrace_lag_bytes: {
    type: 'gauge',
    help: 'Bytes in the log that wait to be processed.',
    labels: ['partition'],
  },
  millrace_lag_seconds: {
    type: 'gauge',
    help: 'Age of the newest event that is processed, while others wait; 0 where none does.',
    labels: [],
  },
  millrace_queryable_seconds: {
    type: 'histogram',
    help: 'From an event being received to its effects being committed and so visible to queries, one observation an event.',
    labels: [],
    roles: processor,
    buckets: seconds,
  },
} as const satisfies Record<string, Metric>

const theLog = {
  millrace_log_segments_total: {
    type: 'counter',
    help: 'Segments made durable.',
    labels: ['partition'],
    roles: doors,
  },
  millrace_log_segment_bytes: {
    type: 'histogram',
    help: 'Sizes of the segments made durable.',
    labels: [],
    roles: doors,
    buckets: bytes,
  },
  millrace_log_segment_events: {
    type: 'histogram',
    help: 'Events in the segments made durable.',
    labels: [],
    roles: doors,
    buckets: counts,
  },
  millrace_log_append_seconds: {
    type: 'histogram',
    help: 'From a segment being handed to the log to it being durable, waiting for the write before it included.',
    labels: [],
    roles: doors,
    buckets: seconds,
  },
  millrace_log_sync_seconds: {
    type: 'histogram',
    help: 'The embedded log: how long fdatasync took.',
    labels: [],
    roles: doors,
    buckets: seconds,
  },
  millrace_log_backlog_bytes: {
    type: 'gauge',
    help: 'Bytes of this worker in the log that are not committed by the processor yet.',
    labels: ['partition'],
    roles: doors,
  },
  millrace_log_up: {
    type: 'gauge',
    help: '1 while the broker can be reached, 0 while it is away.',
    labels: ['broker'],
    roles: doors,
    merge: 'max',
  },
  millrace_log_reconnects_total: {
    type: 'counter',
    help: 'Times that the broker came back.',
    labels: ['broker'],
    roles: ['listener', 'processor', 'gateway'],
  },
  millrace_log_missing_segments: {
    type: 'gauge',
    help: 'The dual log: segments that this worker could write to the other broker only.',
    labels: ['broker'],
    roles: doors,
  },
  millrace_backpressure: {
    type: 'gauge',
    help: '1 where bodies were refused for this reason in the last 5 seconds: log_full, log_unavailable or in_flight.',
    labels: ['reason'],
    roles: doors,
    merge: 'max',
  },
  millrace_admission_bytes: {
    type: 'gauge',
    help: 'Bytes of bodies held: being received, and waiting for the log.',
    labels: [],
    roles: doors,
  },
} as const satisfies Record<string, Metric>

const processing = {
  millrace_pool_threads: { type: 'gauge', help: 'Threads of the pool.', labels: [], roles: processor },
  millrace_pool_busy_threads: {
    type: 'gauge',
    help: 'Threads of the pool that have a task.',
    labels: [],
    roles: processor,
  },
  millrace_pool_queue_tasks: {
    type: 'gauge',
    help: 'Tasks that wait for a thread.',
    labels: [],
    roles: processor,
  },
  millrace_pool_busy_seconds_total: {
    type: 'counter',
    help: 'Seconds that threads of the pool had a task; divided by the threads and the time, their utilisation.',
    labels: [],
    roles: processor,
  },
  millrace_pool_task_seconds: {
    type: 'histogram',
    help: 'From a task being handed to the pool to its return, waiting for a thread included.',
    labels: [],
    roles: processor,
    buckets: seconds,
  },
  millrace_pool_threads_replaced_total: {
    type: 'counter',
    help: 'Threads that a handler hung or ended.',
    labels: [],
    roles: processor,
  },
  millrace_commit_seconds: {
    type: 'histogram',
    help: 'From the start of a commit to it being visible to every reader.',
    labels: [],
    roles: processor,
    buckets: seconds,
  },
  millrace_commit_rows: {
    type: 'histogram',
    help: 'Rows of measures that a commit changed.',
    labels: [],
    roles: processor,
    buckets: counts,
  },
  millrace_store_bytes: {
    type: 'gauge',
    help: 'Size of the results store’s file.',
    labels: ['partition'],
    roles: processor,
    merge: 'max',
  },
} as const satisfies Record<string, Metric>

const processes = {
  millrace_ready: {
    type: 'gauge',
    help: '1 while /readyz says ready, 0 otherwise.',
    labels: [],
  },
  millrace_build_info: {
    type: 'gauge',
    help: 'Always 1; its labels say what runs.',
    labels: ['version', 'node', 'log_kind', 'durability'],
  },
  millrace_scrape_duration_seconds: {
    type: 'gauge',
    help: 'How long collecting this scrape took.',
    labels: [],
  },
  millrace_worker_up: { type: 'gauge', help: '1 while the worker is ready.', labels: [], roles },
  millrace_worker_restarts_total: {
    type: 'counter',
    help: 'Times that the worker was started again after it had ended.',
    labels: [],
    roles,
  },
  millrace_worker_stale: {
    type: 'gauge',
    help: '1 where the worker’s numbers are the last it told, not of this scrape: it is stalled, starting or gone.',
    labels: [],
    roles,
  },
  millrace_event_loop_delay_seconds: {
    type: 'summary',
    help: 'How late the event loop came to its timers in the last 15 seconds: the worst second’s median and 99th percentile, and the most (quantile 1).',
    labels: ['quantile'],
    roles,
    merge: 'max',
  },
  millrace_taps: { type: 'gauge', help: 'Live taps that are open.', labels: [] },
  millrace_tap_missed_events_total: {
    type: 'counter',
    help: 'Events that matched a tap and were lost between the processes, since one was slow. Those that a reader’s own connection had no room for are told to that reader only.',
    labels: [],
  },
} as const satisfies Record<string, Metric>

/** By what they are about; the order is that of docs/metrics.md. */
export const groups = {
  'Doors: HTTP, streams, gRPC': atTheDoors,
  'Events and lag': events,
  'The log': theLog,
  'The processor': processing,
  Processes: processes,
} as const

export const catalogue = { ...atTheDoors, ...events, ...theLog, ...processing, ...processes } as const

type Catalogue = typeof catalogue
type Name = keyof Catalogue

/** Names of the metrics of one type. */
export type NameOf<Type extends Metric['type']> = {
  [N in Name]: Catalogue[N]['type'] extends Type ? N : never
}[Name]

/** The labels that a series of this metric has. */
export type LabelsOf<N extends Name> = Record<Catalogue[N]['labels'][number], string>
