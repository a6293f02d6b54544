// What the page is told: by /live, and by the queries of the data port (client/answers.ts says more of those).

export interface Quantiles {
  /** Seconds. */
  p50: number
  p95: number
  p99: number
}

export interface Sample {
  /** RFC 3339. */
  at: string
  ready: boolean
  /** Why it is not ready. */
  reason?: string
  version: string
  log: { kind: string; durability: string }
  totals: Record<'accepted' | 'processed' | 'duplicates' | 'deadLetters' | 'dropped' | 'damaged', number>
  /** A second. */
  rates: Record<'accepted' | 'processed' | 'requests' | 'bytes' | 'refused', number>
  lag: { events: number; bytes: number; seconds: number }
  /** Of the last interval; null where nothing came. */
  latency: { ack: Quantiles | null; queryable: Quantiles | null }
  pool: { threads: number; busy: number; queue: number }
  /** What holds events back, each in words. */
  backpressure: string[]
  roles: Process[]
}

export interface Process {
  role: string
  worker: number
  pid: number
  ready: boolean
  restarts: number
  /** Cores. */
  cpu: number
  memoryBytes: number
  /** Seconds. */
  eventLoopP99: number
  /** Its numbers are not of this moment. */
  stale?: boolean
}

export interface Measure {
  name: string
  by: string[]
  value: 'value' | 'none'
  /** Milliseconds. */
  window: number | 'all'
  quantiles: boolean
}

export const stats = ['count', 'sum', 'mean', 'min', 'max', 'p50', 'p95', 'p99'] as const
export type Stat = (typeof stats)[number]

export type Row = { key: string[]; windowStart: string | null; windowEnd: string | null } & Partial<
  Record<Stat, number | string>
>

export interface Rows {
  rows: Row[]
  cursor?: string
}

export interface Letter {
  id: string
  handler: string
  reason: string
  attempts: number
  diedAt: string
  receivedAt: string
  correlationId?: string
  type: string
  source: string
  subject?: string
  bytes: number
}

export interface Letters {
  letters: Letter[]
  cursor?: string
  kept: number
  total: number
  replayed: number
  dropped: number
  left: number
}

/** With the event as `POST /v1/events` takes it, and its data besides where it can be read. */
export type WholeLetter = Letter & { event: Record<string, unknown>; json?: unknown; text?: string }

export interface Outcome {
  outcome: 'replayed' | 'dropped' | 'failed'
  reason?: string
}
