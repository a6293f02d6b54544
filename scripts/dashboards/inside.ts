// "millrace: inside": the road of an event part by part, and what each process needs for it.

import { choice, dashboard } from './dashboard.ts'
import { colors, heatmap, lines, states } from './panels.ts'
import { buckets, mean, of, once, quantile, rate, sumIncrease, sumRate } from './promql.ts'

const chosen = 'role=~"$role"'

const log = [
  lines({
    title: 'Append and sync',
    description:
      'Append: from a segment that is handed over to one that is durable; sync: the fdatasync in it (embedded log only). Sync near append: the disk is the limit. Sync far below: the process has too much else to do.',
    queries: [
      [quantile(0.5, 'millrace_log_append_seconds'), 'append p50'],
      [quantile(0.99, 'millrace_log_append_seconds'), 'append p99'],
      [quantile(0.5, 'millrace_log_sync_seconds'), 'sync p50'],
      [quantile(0.99, 'millrace_log_sync_seconds'), 'sync p99'],
    ],
    unit: 's',
    color: {
      '^append p50$': 'blue',
      '^append p99$': 'purple',
      '^sync p50$': 'green',
      '^sync p99$': 'orange',
    },
    warning: 0.1,
    width: 8,
  }),
  heatmap({
    title: 'Sync, all of them',
    description:
      'How long the disk takes to flush. A band far above the rest is a disk that pauses (a full write cache, a snapshot, a neighbour); it is the floor of every acknowledgement.',
    queries: [[buckets('millrace_log_sync_seconds'), '{{le}}']],
    width: 8,
  }),
  lines({
    title: 'Backlog',
    description:
      'Bytes of the log that wait to be processed. It may take half of log.retention.maxBytes, then clients hear 429.',
    queries: [[`sum by (partition) (${of('millrace_log_backlog_bytes')})`, 'partition {{partition}}']],
    unit: 'bytes',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Segments',
    description:
      'Appends a second. Many small ones are a light load answered at once; under a heavy load they grow instead.',
    queries: [[sumRate('millrace_log_segments_total', 'partition'), 'partition {{partition}}']],
    unit: 'cps',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Events in a segment',
    description:
      'How many events share one sync: the more, the less each costs. Rises by itself with the load.',
    queries: [
      [quantile(0.5, 'millrace_log_segment_events'), 'p50'],
      [quantile(0.99, 'millrace_log_segment_events'), 'p99'],
    ],
    logarithmic: true,
    width: 8,
  }),
  lines({
    title: 'Size of a segment',
    description: 'A segment is closed at 1 MiB, or when nothing else waits.',
    queries: [
      [quantile(0.5, 'millrace_log_segment_bytes'), 'p50'],
      [quantile(0.99, 'millrace_log_segment_bytes'), 'p99'],
    ],
    unit: 'bytes',
    width: 8,
  }),
]

const brokers = [
  states({
    title: 'Brokers',
    description:
      'Whether each broker takes segments. Away: clients hear 503 (with dual and ackWhen: any, only when both are). See that its server runs and has room.',
    queries: [[`min by (broker) (${of('millrace_log_up')})`, '{{broker}}']],
    words: { 0: ['away', colors.bad], 1: ['up', colors.good] },
    width: 8,
  }),
  lines({
    title: 'Reconnects',
    description:
      'How often a lost connection to a broker was made again. Rising steadily: the network, or a broker that restarts.',
    queries: [[sumIncrease('millrace_log_reconnects_total', 'broker'), '{{broker}}']],
    decimals: 0,
    width: 8,
  }),
  lines({
    title: 'Missing segments',
    description:
      'Of two logs: what this one lacks and the other has. `millrace reconcile` shows it, `--apply` copies it; until then it holds the backlog of the other.',
    queries: [[`max by (broker) (${of('millrace_log_missing_segments')})`, '{{broker}}']],
    bad: 1,
    width: 8,
  }),
]

const pool = [
  lines({
    title: 'Utilisation of the pool',
    description:
      'Of the time of all threads, what they were at work. Above 80 % for long: more threads (pool.threads) while there are cores to spare, or slower handlers than it can bear.',
    queries: [
      [
        `sum by (instance) (${rate('millrace_pool_busy_seconds_total')}) / sum by (instance) (${of('millrace_pool_threads')})`,
        '{{instance}}',
      ],
    ],
    unit: 'percentunit',
    warning: 0.8,
    bad: 0.95,
    max: 1,
    width: 8,
  }),
  lines({
    title: 'Threads and queue',
    description:
      'Tasks that wait for a thread are at most three for each: if they wait for long, the pool is the limit.',
    queries: [
      [`sum(${of('millrace_pool_threads')})`, 'threads'],
      [`sum(${of('millrace_pool_busy_threads')})`, 'busy'],
      [`sum(${of('millrace_pool_queue_tasks')})`, 'tasks waiting'],
    ],
    color: { '^threads$': 'text', '^busy$': 'green', '^tasks waiting$': 'orange' },
    decimals: 0,
    width: 8,
  }),
  lines({
    title: 'Time of a task',
    description:
      'From its way to a thread to its return: folding up to half a megabyte of frames, with handlers where there are any, and waiting for a thread. A p99 of seconds is a handler that hangs.',
    queries: [
      [quantile(0.5, 'millrace_pool_task_seconds'), 'p50'],
      [quantile(0.99, 'millrace_pool_task_seconds'), 'p99'],
    ],
    unit: 's',
    warning: 0.5,
    width: 8,
  }),
  lines({
    title: 'Events of handlers',
    description: 'What handlers made of the events that they matched.',
    queries: [[once(rate('millrace_handler_events_total'), 'handler, outcome'), '{{handler}}: {{outcome}}']],
    unit: 'cps',
    color: { ': dead_lettered$': 'red', ': dropped$': 'yellow' },
    width: 8,
  }),
  lines({
    title: 'Dropped, by reason',
    description: 'What handlers chose to leave out, by the reason that they give.',
    queries: [[once(rate('millrace_events_dropped_total'), 'handler, reason'), '{{handler}}: {{reason}}']],
    unit: 'cps',
    stacked: true,
    width: 8,
  }),
  lines({
    title: 'Threads replaced',
    description:
      'Threads that ended or hung in a handler and were replaced. Each costs the pool a moment; the event at fault is in the dead letters.',
    queries: [
      [
        `sum by (instance) (increase(${of('millrace_pool_threads_replaced_total')}[$__rate_interval]))`,
        '{{instance}}',
      ],
    ],
    decimals: 0,
    width: 8,
  }),
]

const store = [
  lines({
    title: 'Commit',
    description:
      'One transaction with results, ledger and positions. It grows with the rows that it writes, and with a store that is larger than memory.',
    queries: [
      [quantile(0.5, 'millrace_commit_seconds'), 'p50'],
      [quantile(0.95, 'millrace_commit_seconds'), 'p95'],
      [quantile(0.99, 'millrace_commit_seconds'), 'p99'],
    ],
    unit: 's',
    warning: 0.5,
    bad: 1,
    width: 8,
  }),
  heatmap({
    title: 'Commit, all of them',
    description:
      'A band that climbs slowly over days is a store that outgrows the memory: fewer keys, longer windows, or more memory.',
    queries: [[buckets('millrace_commit_seconds'), '{{le}}']],
    width: 8,
  }),
  lines({
    title: 'Commits and rows',
    description:
      'Commits a second, and the mean of rows that one writes. Under load there are fewer commits with more rows each.',
    queries: [
      [sumRate('millrace_commit_seconds_count'), 'commits a second'],
      [mean('millrace_commit_rows'), 'rows in a commit'],
    ],
    logarithmic: true,
    width: 8,
  }),
  lines({
    title: 'Size of the store',
    description:
      'The results on disk, by partition. It grows with keys times windows and does not shrink. Plan for it: measures with fewer keys, or longer windows.',
    queries: [[once(of('millrace_store_bytes'), 'partition'), 'partition {{partition}}']],
    unit: 'bytes',
    stacked: true,
    width: 12,
  }),
  lines({
    title: 'Dead letters kept',
    description:
      'A partition keeps 10,000 and 64 MiB of their events; past that the oldest leave. `millrace dlq ls` shows them by reason.',
    queries: [[once(of('millrace_dead_letters'), 'job'), '{{job}}']],
    decimals: 0,
    width: 12,
  }),
]

const processes = [
  lines({
    title: 'Event loop delay, p99',
    description:
      'How late each process came to its timers in the last 15 seconds, in the worst of them. Above 100 ms a listener answers everybody late: a long query, a full core, or a machine that swaps.',
    queries: [
      [
        `max by (role, worker) (${of('millrace_event_loop_delay_seconds', chosen, 'quantile="0.99"')})`,
        '{{role}} {{worker}}',
      ],
    ],
    unit: 's',
    warning: 0.1,
    bad: 0.5,
    width: 12,
  }),
  lines({
    title: 'Event loop delay, worst',
    description: 'The longest time in the last 15 seconds that each process was not there for anybody.',
    queries: [
      [
        `max by (role, worker) (${of('millrace_event_loop_delay_seconds', chosen, 'quantile="1"')})`,
        '{{role}} {{worker}}',
      ],
    ],
    unit: 's',
    warning: 0.25,
    bad: 1,
    width: 12,
  }),
  lines({
    title: 'Processor time by role',
    description:
      'Cores in use. The processor counts its pool, too. The sum at the number of cores: the machine is the limit.',
    queries: [[sumRate('process_cpu_seconds_total', 'role', chosen), '{{role}}']],
    unit: 'short',
    stacked: true,
    decimals: 2,
    width: 8,
  }),
  lines({
    title: 'Memory by role',
    description:
      'Resident memory of the processes. Pages of the log and of LMDB are counted in each process that maps them, so the sum is more than what they need.',
    queries: [[`sum by (role) (${of('process_resident_memory_bytes', chosen)})`, '{{role}}']],
    unit: 'bytes',
    width: 8,
  }),
  lines({
    title: 'JavaScript heap',
    description:
      'By process. A saw tooth is normal; a floor that rises for hours is a leak and worth a heap profile (/debug/pprof/heap).',
    queries: [
      [`sum by (role, worker) (${of('nodejs_heap_size_used_bytes', chosen)})`, '{{role}} {{worker}}'],
    ],
    unit: 'bytes',
    width: 8,
  }),
  lines({
    title: 'Garbage collection by role',
    description:
      'Of one core, what collecting garbage takes. A few percent are normal under load; above 10 % something makes objects for each event.',
    queries: [[sumRate('nodejs_gc_duration_seconds_sum', 'role', chosen), '{{role}}']],
    unit: 'percentunit',
    warning: 0.1,
    width: 8,
  }),
  lines({
    title: 'Garbage collection by kind',
    description:
      'Minor collections are cheap and many. Major ones that take long stop the process: see the event loop delay.',
    queries: [[sumRate('nodejs_gc_duration_seconds_sum', 'kind', chosen), '{{kind}}']],
    unit: 'percentunit',
    width: 8,
  }),
  lines({
    title: 'Open files and sockets',
    description:
      'By role. Each connection is one, each chunk of the log and each store a few: the limit is `ulimit -n` of the daemon.',
    queries: [[`sum by (role) (${of('process_open_fds', chosen)})`, '{{role}}']],
    decimals: 0,
    width: 8,
  }),
]

const watching = [
  lines({
    title: 'Time of a scrape',
    description:
      'How long the daemon takes to gather the numbers of its processes. A process that does not answer in time is stale, and the scrape goes on without it.',
    queries: [[`max by (instance) (${of('millrace_scrape_duration_seconds')})`, '{{instance}}']],
    unit: 's',
    warning: 0.5,
    width: 8,
  }),
  states({
    title: 'Numbers that are not fresh',
    description:
      'A worker whose numbers are not of this scrape: it was just replaced, or its event loop is blocked.',
    queries: [[`max by (role, worker) (${of('millrace_worker_stale')})`, '{{role}} {{worker}}']],
    words: { 0: ['fresh', colors.good], 1: ['stale', colors.bad] },
    width: 8,
  }),
  lines({
    title: 'Taps',
    description:
      'Readers of GET /v1/events/tail, and events a second that were lost on the way to them between the processes. What a reader is too slow for is told to that reader. The pipeline never waits for them.',
    queries: [
      [`sum(${of('millrace_taps')})`, 'taps'],
      [sumRate('millrace_tap_missed_events_total'), 'lost events a second'],
    ],
    width: 8,
  }),
]

/** For whoever knows that something is wrong and asks where. */
export const inside = dashboard(
  'millrace-inside',
  'millrace: inside',
  'The road of an event part by part: log, brokers, pool, commit, and what each process needs. "millrace: overview" says whether it is well.',
  {
    Log: log,
    Brokers: brokers,
    'Pool and handlers': pool,
    'Commit and store': store,
    Processes: processes,
    'Scrapes and taps': watching,
  },
  [choice('role', 'Role', 'label_values(millrace_worker_up{job=~"$job", instance=~"$instance"}, role)')],
)
