// The daemon's answers to queries, as they come over the wire. A test holds them to what the daemon makes.

/** A number; as text where JSON has no number for it, like the JSON of protobuf. */
export type JsonNumber = number | 'Infinity' | '-Infinity' | 'NaN'

/** What was counted of one key in one window. Members that the measure does not have are left out. */
export interface Row {
  key: string[]
  /** RFC 3339; of rows folded into one, the first one's start and the last one's end. null where it is `all`. */
  windowStart: string | null
  windowEnd: string | null
  count: number
  sum?: JsonNumber
  min?: JsonNumber
  max?: JsonNumber
  mean?: JsonNumber
  p50?: JsonNumber
  p95?: JsonNumber
  p99?: JsonNumber
}

export interface Page {
  rows: Row[]
  /** Given when there are more rows. */
  cursor?: string
}

/** What is aggregated, as it is configured. */
export interface Measure {
  name: string
  /** Field to pattern: conditions that must all hold. */
  where: Record<string, string>
  /** Fields that make the key. */
  by: string[]
  value: 'value' | 'none'
  /** Milliseconds, or one window without end. */
  window: number | 'all'
  quantiles: boolean
}

/** Where everything stands. Counters count since the data directory was made. */
export interface Status {
  accepted: { events: number; frames: number }
  processed: {
    events: number
    frames: number
    /** What came again under the same producer and sequence, and did not count again. */
    duplicates: { events: number; frames: number }
    redelivered: { events: number }
    damaged: { events: number; segments: number }
  }
  /** Kept now, of all that there were, and gone because there were too many. */
  deadLetters?: { kept: number; total: number; left: number }
  lag: { events: number; bytes: number; seconds: number }
  log: {
    kind: string
    durability: string
    /** Brokers that are away, and why. */
    away?: Partial<Record<'jetstream' | 'kafka', string>>
    /** What one log of two lacks. */
    missing?: Partial<Record<'jetstream' | 'kafka', { segments: number; events: number }>>
  }
  /** What each configured handler did; `dropped` by reason. */
  handlers?: { name: string; handled: number; dropped: Record<string, number>; deadLettered: number }[]
  roles: { role: string; pid: number; ready: boolean; restarts: number }[]
  /** Of the last reload of the configuration, where there was one. */
  reload?: {
    /** RFC 3339. */
    at: string
    outcome: string
    changed: string[]
    /** Keys that were changed and take effect with a whole restart only. */
    needsRestart: string[]
    problems: string[]
    restarted: { role: string; pid: number }[]
    seconds: number
  }
}

export const orders = ['count', 'sum', 'mean', 'max', 'min'] as const
/** `min` has the smallest first, the others the greatest. */
export type Order = (typeof orders)[number]
