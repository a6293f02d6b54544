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

/** An event that a handler could not handle. Members that are empty are left out. */
export interface DeadLetterHead {
  id: string
  handler: string
  reason: string
  /** How often it was handled in vain. */
  attempts: number
  /** RFC 3339. */
  diedAt: string
  receivedAt: string
  correlationId?: string
  type: string
  source: string
  subject?: string
  /** Of the event. */
  bytes: number
}

/** With its event in the JSON that the daemon takes, and the event's data besides where it is JSON or other text. */
export interface DeadLetter extends DeadLetterHead {
  event: Record<string, unknown>
  json?: unknown
  text?: string
}

export interface DeadLetterPage {
  /** The oldest first. */
  letters: DeadLetterHead[]
  cursor?: string
  /** In the first page: how many match, by handler and reason, and of the kinds that there were too many of. */
  kinds?: { handler: string; reason: string; count: number }[]
  otherKinds?: number
  /** kept + replayed + dropped + left = total, of all letters. */
  kept: number
  total: number
  replayed: number
  dropped: number
  left: number
}

export interface LetterOutcome {
  id: string
  outcome: 'replayed' | 'dropped' | 'failed'
  /** Why it failed. */
  reason?: string
}

/** How many letters came to what. `failures` has the first of those that failed or were refused. */
export interface DeadLettersChanged {
  replayed: number
  dropped: number
  failed: number
  refused: number
  unknown: number
  failures: { id: string; reason: string }[]
}

/** What a handler stored: as JSON or another text where it is such, or else in Base64. */
export interface HandlerResult {
  key: string
  /** RFC 3339: when the event was received that it was stored for. */
  receivedAt: string
  json?: unknown
  text?: string
  base64?: string
}

export interface HandlerResultPage {
  results: HandlerResult[]
  cursor?: string
}

export const orders = ['count', 'sum', 'mean', 'max', 'min'] as const
/** `min` has the smallest first, the others the greatest. */
export type Order = (typeof orders)[number]
