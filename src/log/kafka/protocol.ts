// What a Kafka client has to give us: one connection to one broker, and a function for each request that we send over
// it. All that a log needs beyond that (who leads a partition, what is sent again, who owns what) is built on this, once
// for both clients.
//
// Offsets are numbers below 2^53. Every function rejects with a KafkaFailure.

/** Kafka's error numbers that we decide by. */
export const CODE = Object.freeze({
  none: 0,
  offsetOutOfRange: 1,
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  messageTooLarge: 10,
  coordinatorLoading: 14,
  coordinatorNotAvailable: 15,
  notCoordinator: 16,
  recordListTooLarge: 18,
  notEnoughReplicas: 19,
  illegalGeneration: 22,
  unknownMember: 25,
  rebalanceInProgress: 27,
  topicForbidden: 29,
  groupForbidden: 30,
  clusterForbidden: 31,
  topicExists: 36,
  invalidReplicas: 38,
  policyViolation: 44,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidProducerMapping: 49,
  transactionalForbidden: 53,
  unknownProducer: 59,
  fencedLeaderEpoch: 74,
  memberIdRequired: 79,
  fencedInstance: 82,
  producerFenced: 90,
})

/**
 * - away: no answer came: not connected, or the connection was lost or given up;
 * - denied: the broker does not let us in, or we do not trust it: TLS or credentials;
 * - refused: the broker answered with an error number, `code`;
 * - unreadable: the client could not make sense of the answer.
 */
export type FailureKind = 'away' | 'denied' | 'refused' | 'unreadable'

export class KafkaFailure extends Error {
  override name = 'KafkaFailure'
  readonly kind: FailureKind
  readonly code: number

  constructor(kind: FailureKind, message: string, options: ErrorOptions & { code?: number } = {}) {
    super(message, options)
    this.kind = kind
    this.code = options.code ?? CODE.none
  }
}

/** The broker's answer was this error number. */
export function refused(code: number, message: string): KafkaFailure {
  return new KafkaFailure('refused', `${message} (Kafka's error ${code})`, { code })
}

export interface Address {
  host: string
  port: number
}

export interface Topic {
  /** What tells it from another one of the same name; undefined where the broker is too old to say. */
  id: string | undefined
  /** The leader's node id for each partition, by its number; undefined while there is none. */
  leaders: (number | undefined)[]
}

export interface Metadata {
  brokers: Map<number, Address>
  controller: number
  /** Undefined where there is no such topic. */
  topic: Topic | undefined
}

export interface NewTopic {
  name: string
  partitions: number
  replicas: number
  settings: Record<string, string>
}

/** The identity under which a broker tells batches that come twice. */
export interface ProducerIdentity {
  id: bigint
  epoch: number
}

export interface OutgoingRecord {
  value: Buffer
  headers: Record<string, Buffer>
}

/** Records for one partition. `sequence`: of the first one, counted by partition for this producer. */
export interface OutgoingBatch {
  partition: number
  sequence: number
  records: OutgoingRecord[]
}

export interface FetchedRecord {
  offset: number
  value: Buffer | null
  /** The header of this name, or undefined. */
  header(name: string): Buffer | undefined
}

export interface Fetched {
  /** In order; may begin before the offset that was asked for. */
  records: FetchedRecord[]
  /** The offset after all that came, also what is not for us; the offset asked for, where nothing came. */
  next: number
}

export interface FetchRequest {
  topic: string
  partition: number
  offset: number
  /** One batch comes whole, however large. */
  bytesMax: number
  waitMs: number
}

export interface GroupMember {
  group: string
  /** A name that outlives the process: whoever joins with it again gets its place back. */
  instance: string
  /** Given by the broker; empty before the first join. */
  id: string
  generation: number
}

export interface JoinRequest extends GroupMember {
  protocol: string
  metadata: Buffer
  sessionMs: number
  rebalanceMs: number
}

export interface Joined {
  id: string
  generation: number
  leader: string
  /** All members, for the leader only. */
  members: { id: string; instance: string; metadata: Buffer }[]
}

export interface KafkaConnection {
  readonly broker: string
  readonly open: boolean
  /** Resolves when it is not open any more, whoever closed it. */
  readonly closed: Promise<void>
  metadata(topic: string): Promise<Metadata>
  createTopic(topic: NewTopic): Promise<void>
  /** The settings of a topic, defaults included. */
  settings(topic: string): Promise<Map<string, string>>
  /** The first offset held, or the one that the next record gets. */
  offset(topic: string, partition: number, which: 'first' | 'next'): Promise<number>
  deleteRecords(topic: string, partition: number, before: number): Promise<void>
  newProducer(): Promise<ProducerIdentity>
  /** Waits for all replicas in sync. The error number of each partition, 0 where all is well. */
  produce(topic: string, producer: ProducerIdentity, batches: OutgoingBatch[]): Promise<Map<number, number>>
  fetch(request: FetchRequest): Promise<Fetched>
  coordinator(group: string): Promise<Address>
  join(request: JoinRequest): Promise<Joined>
  /** `assignments`: from the leader, for each member by its id. Resolves with our own. */
  sync(member: GroupMember, protocol: string, assignments: Map<string, Buffer>): Promise<Buffer>
  heartbeat(member: GroupMember): Promise<void>
  leave(member: GroupMember): Promise<void>
  /** At once, whatever is on its way. */
  close(): void
}

/** How to be let in. */
export interface Access {
  tls: { ca?: Buffer; cert?: Buffer; key?: Buffer } | undefined
  sasl:
    | { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
    | undefined
}

/** Connects to one broker, TLS and credentials included. */
export type Connect = (address: Address, access: Access) => Promise<KafkaConnection>

/** `[::1]:9092` and `host:9092`. */
export function parseAddress(text: string): Address {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Errors of TLS that trying again does not help: what Node and OpenSSL call them. */
const TLS_REFUSALS =
  /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|EPROTO)/

/** Unsupported mechanism, not asked for credentials, and wrong ones. */
const SASL_REFUSALS = [33, 34, 58]

/** What stopped a connection, by the codes found in its error and in its causes. */
export function connectionFailure(broker: string, error: unknown): KafkaFailure {
  const codes = [...codesOf(error)]
  const options = { cause: error }
  const tls = codes.find((code) => typeof code === 'string' && TLS_REFUSALS.test(code))
  if (tls !== undefined) {
    return new KafkaFailure('denied', `${broker}: no TLS connection: ${tls}: ${innermost(error)}`, options)
  }
  if (codes.some((code) => SASL_REFUSALS.includes(Number(code)))) {
    return new KafkaFailure('denied', `${broker} does not accept the credentials (log.kafka.sasl)`, options)
  }
  return new KafkaFailure('away', `${broker}: ${innermost(error)}`, options)
}

interface Linked {
  code?: unknown
  apiCode?: unknown
  cause?: unknown
  errors?: unknown[]
  message?: string
}

function* codesOf(error: unknown): Generator<unknown> {
  if (typeof error !== 'object' || error === null) return
  const { code, apiCode, cause, errors } = error as Linked
  yield code
  yield apiCode
  yield* codesOf(cause)
  for (const one of errors ?? []) yield* codesOf(one)
}

function innermost(error: unknown): string {
  const { cause, errors, message } = error as Linked
  const inner = cause ?? errors?.[0]
  if (typeof inner === 'object' && inner !== null) return innermost(inner)
  return message !== undefined && message !== '' ? message : String((error as Linked).code ?? error)
}

/** Settles as the answer does; after `ms` it gives up with what `late` makes. */
export function within<T>(ms: number, answer: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), ms)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
