// The shape of a checked configuration: sizes in bytes, times in milliseconds, addresses split.

/** An address to listen on. Port 0 takes a free one. */
export interface Listen {
  host: string
  port: number
}

/** What to aggregate (contract: `measures`). */
export interface Measure {
  name: string
  /** Conditions that must all hold: field (`type`, `source`, `subject`, `attributes.x`) to pattern, `*` at either end. */
  where: Record<string, string>
  /** Fields that make the key: `subject`, `source`, `type`, `attributes.x`. */
  by: string[]
  /** `value` counts only events that carry one; `none` counts all and sums nothing. */
  value: 'value' | 'none'
  /** Length of a tumbling window of event time in milliseconds, or `all` for one window without end. */
  window: number | 'all'
  quantiles: boolean
  /** The handler that emits to it, whose words `by` are; undefined where events are counted as they are. */
  handler?: string
}

/** What a handler says of itself (contract: `handlers`), learnt from its module when that is checked. */
export interface HandlerPlan {
  name: string
  /** Of its module, absolute. */
  path: string
  /** As `where` of a measure: which events it is called for. */
  match: Record<string, string>
  /** Milliseconds that it may take for one event. */
  timeLimit: number
  /** That it emits to. */
  measures: Measure[]
}

export interface AuthKey {
  name: string
  /** Hex SHA-256 of the key. */
  sha256: string
  scopes: ('publish' | 'query' | 'admin')[]
  eventsPerSecond?: number
}

export type LogKind = 'memory' | 'embedded' | 'jetstream' | 'kafka' | 'dual'

/** A certificate authority to trust, and a certificate to show; all are paths of PEM files. */
export interface BrokerTls {
  ca?: string
  cert?: string
  key?: string
}

export interface JetStreamConfig {
  /** `host:port` each. */
  servers: string[]
  stream: string
  replicas: number
  user?: string
  password?: string
  token?: string
  /** Path of a file with an nkey seed. */
  nkey?: string
  /** `true` trusts what Node trusts. */
  tls?: true | BrokerTls
}

export interface KafkaConfig {
  /** `host:port` each. */
  brokers: string[]
  topic: string
  replicas: number
  client: 'kafkajs' | 'platformatic'
  tls?: true | BrokerTls
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
}

export interface Config {
  dataDir: string
  http: { listen: Listen; maxBody: number; tls?: { cert: string; key: string } }
  /** `none` was written out: there is no gRPC gateway. `tls`: that of http where it is left out. */
  grpc: 'none' | { listen: Listen; tls?: { cert: string; key: string } }
  admin: { listen: Listen }
  cluster: { listeners: number; processors: number }
  /** `heap`: bytes of JavaScript objects that a thread may have where handlers run in it. */
  pool: { threads: number; heap: number }
  log: {
    kind: LogKind
    partitions: number
    retention: { maxBytes: number; maxAge: number }
    jetstream: JetStreamConfig
    kafka: KafkaConfig
    dual: { ackWhen: 'both' | 'any'; consume: 'jetstream' | 'kafka' | 'union' }
  }
  ledger: { producerIdle: number }
  logging: { level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' }
  measures: Measure[]
  /** Absolute paths of modules. */
  handlers: string[]
  /** What these say, in the same order; undefined until they are checked (processor/handler-check.ts). */
  plans?: HandlerPlan[]
  /** `none` was written out, or the keys; undefined when nothing was said. */
  auth?: 'none' | { keys: AuthKey[] }
}
