// The stream: made when it is not there, and otherwise held against what the promises need.

import {
  DiscardPolicy,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamInfo,
} from 'nats'
import type { Config } from '../../config/config.ts'
import { segmentBytesMax } from '../../config/log-size.ts'
import { BROKER_REQUEST_MS_MAX, DUPLICATE_WINDOW_MS, MESSAGE_HEADER_BYTES_MAX } from '../../limits.ts'
import { LogMisconfigured, LogUnavailable } from '../log.ts'

/** Codes of JetStream's answers that have to be told apart. */
const STREAM_NOT_FOUND = 10059
const STREAM_NAME_IN_USE = 10058
const NOT_ENABLED = [10039, 10076]

export interface StreamIdentity {
  name: string
  /** When it was made, Unix milliseconds: tells it from one of the same name. */
  created: number
}

export function laneOf({ name, created }: StreamIdentity): string {
  return `jetstream:${name}:${created}`
}

export function subjectOf(stream: string, partition: number): string {
  return `${stream}.${partition}`
}

/** Bytes of the largest message that we send. */
export function messageBytesMax(config: Config): number {
  return segmentBytesMax(config.http.maxBody) + MESSAGE_HEADER_BYTES_MAX
}

export function managerOf(connection: NatsConnection): Promise<JetStreamManager> {
  return connection.jetstreamManager({ checkAPI: false, timeout: BROKER_REQUEST_MS_MAX })
}

/** JetStream's own code of an error, where it is one of its answers. */
export function apiCode(error: unknown): number | undefined {
  return error instanceof NatsError ? error.api_error?.err_code : undefined
}

/** Undefined where there is no such stream. */
export async function findStream(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name)
  } catch (error) {
    if (apiCode(error) === STREAM_NOT_FOUND) return undefined
    throw error
  }
}

export function identityOf(info: StreamInfo): StreamIdentity {
  return { name: info.config.name, created: Date.parse(info.created) }
}

/**
 * Has the stream there as it has to be. Rejects with LogMisconfigured, naming stream, setting, what it is and what it
 * must be; with LogUnavailable while JetStream cannot answer. `notice`: differences that break no promise.
 */
export async function ensureStream(
  connection: NatsConnection,
  config: Config,
  notice: (text: string) => void,
): Promise<StreamIdentity> {
  checkPayload(connection, config)
  const manager = await managerOf(connection)
  const { stream } = config.log.jetstream
  try {
    const found = (await findStream(manager, stream)) ?? (await makeStream(manager, config))
    checkStream(found.config, config)
    const info = await grown(manager, found, config)
    for (const text of differences(info.config, config)) notice(text)
    return identityOf(info)
  } catch (error) {
    throw explained(error as Error, connection, stream)
  }
}

/** Segments have to fit a message of this server. */
export function checkPayload(connection: NatsConnection, config: Config): void {
  const needed = messageBytesMax(config)
  const payload = connection.info?.max_payload ?? needed
  if (payload >= needed) return
  throw new LogMisconfigured(
    `max_payload of the NATS server ${connection.getServer()} is ${payload} bytes and must be ${needed} at least ` +
      `for http.maxBody of ${config.http.maxBody} bytes: raise max_payload in the server's configuration, or lower http.maxBody`,
  )
}

function wantedStream(config: Config): Partial<StreamConfig> & { name: string } {
  const { jetstream, retention } = config.log
  return {
    name: jetstream.stream,
    subjects: [`${jetstream.stream}.*`],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_bytes: retention.maxBytes,
    num_replicas: jetstream.replicas,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    allow_direct: true,
  }
}

/** Several processes make it at the same time: whoever comes second finds it. */
async function makeStream(manager: JetStreamManager, config: Config): Promise<StreamInfo> {
  const wanted = wantedStream(config)
  try {
    return await manager.streams.add(wanted)
  } catch (error) {
    if (apiCode(error) === STREAM_NAME_IN_USE) return manager.streams.info(wanted.name)
    const answer = error instanceof NatsError ? error.api_error : undefined
    if (answer === undefined || answer.code === 503) throw error
    throw new LogMisconfigured(
      `the stream ${wanted.name} cannot be made with max_bytes ${wanted.max_bytes} (log.retention.maxBytes) and ` +
        `num_replicas ${wanted.num_replicas} (log.jetstream.replicas): ${answer.description}`,
    )
  }
}

/**
 * History and backlog are measured by `log.retention.maxBytes`: a stream that takes less would be full before anything is
 * trimmed, and stay so. One that takes more does no harm.
 */
async function grown(manager: JetStreamManager, info: StreamInfo, config: Config): Promise<StreamInfo> {
  const { name, max_bytes: is } = info.config
  const { maxBytes } = config.log.retention
  if (is <= 0 || is >= maxBytes) return info
  try {
    return await manager.streams.update(name, { max_bytes: maxBytes })
  } catch (error) {
    const answer = error instanceof NatsError ? error.api_error : undefined
    const denied = (error as NatsError).code === 'PERMISSIONS_VIOLATION'
    if (!denied && (answer === undefined || answer.code === 503)) throw error
    throw new LogMisconfigured(
      `the stream ${name} has max_bytes ${is}, which must be ${maxBytes} (log.retention.maxBytes) at least, and cannot be ` +
        `raised: ${answer?.description ?? (error as Error).message}`,
    )
  }
}

/** Of newer servers than the client knows. */
interface NewerSettings {
  persist_mode?: string
}

/** Refuses settings under which segments would be lost, moved, or never removed. */
function checkStream(is: StreamConfig & NewerSettings, config: Config): void {
  const { partitions } = config.log
  const bytes = messageBytesMax(config)
  const consumers = 2 * partitions // a reader that comes again is there twice for a while
  const wrong: string[] = []
  const must = (setting: string, value: unknown, right: boolean, wanted: string) => {
    if (!right) wrong.push(`${setting} is ${JSON.stringify(value)} and must be ${wanted}`)
  }
  const unlimited = (limit: number | undefined) => limit === undefined || limit <= 0
  must('discard', is.discard, is.discard === DiscardPolicy.New, 'new')
  must('max_age', is.max_age, unlimited(is.max_age), '0')
  must('max_msgs', is.max_msgs, unlimited(is.max_msgs), '-1')
  must('max_msgs_per_subject', is.max_msgs_per_subject, unlimited(is.max_msgs_per_subject), '-1')
  must('storage', is.storage, is.storage === StorageType.File, 'file')
  must('retention', is.retention, is.retention === RetentionPolicy.Limits, 'limits')
  must(
    'max_msg_size',
    is.max_msg_size,
    unlimited(is.max_msg_size) || is.max_msg_size >= bytes,
    `-1 or ${bytes} at least`,
  )
  must(
    'max_consumers',
    is.max_consumers,
    unlimited(is.max_consumers) || is.max_consumers >= consumers,
    `-1 or ${consumers} at least`,
  )
  must('sealed', is.sealed, is.sealed !== true, 'false')
  must('deny_purge', is.deny_purge, is.deny_purge !== true, 'false')
  must('no_ack', is.no_ack, is.no_ack !== true, 'false')
  must('mirror', is.mirror?.name, is.mirror === undefined, 'left out')
  must('sources', is.sources, is.sources === undefined || is.sources.length === 0, 'left out')
  must('subject_transform', is.subject_transform, is.subject_transform === undefined, 'left out')
  must('persist_mode', is.persist_mode, is.persist_mode !== 'async', 'default')
  const missing = Array.from({ length: partitions }, (_, partition) => subjectOf(is.name, partition)).find(
    (subject) => !is.subjects?.some((pattern) => covers(pattern, subject)),
  )
  must('subjects', is.subjects, missing === undefined, `such as to take ${missing}: ${is.name}.*`)
  if (wrong.length > 0) throw new LogMisconfigured(`the stream ${is.name} does not fit: ${wrong.join('; ')}`)
}

function differences(is: StreamConfig, config: Config): string[] {
  const { retention, jetstream } = config.log
  const different: string[] = []
  const say = (setting: string, value: number, key: string, configured: number) => {
    if (value === configured) return
    different.push(
      `the stream ${is.name} has ${setting} ${value}, and ${key} is ${configured}: the stream's counts`,
    )
  }
  say('max_bytes', is.max_bytes, 'log.retention.maxBytes', retention.maxBytes)
  say('num_replicas', is.num_replicas, 'log.jetstream.replicas', jetstream.replicas)
  return different
}

/** Whether a pattern of subjects takes a subject: `*` stands for one token, `>` for all that are left. */
function covers(pattern: string, subject: string): boolean {
  const tokens = subject.split('.')
  const wanted = pattern.split('.')
  for (const [i, want] of wanted.entries()) {
    if (want === '>') return tokens.length > i
    if (i >= tokens.length || (want !== '*' && want !== tokens[i])) return false
  }
  return tokens.length === wanted.length
}

function explained(error: Error, connection: NatsConnection, stream: string): Error {
  if (error instanceof LogMisconfigured) return error
  const server = connection.getServer()
  const code = apiCode(error)
  const nobody = (error as NatsError).code === '503' && code === undefined
  const alone = connection.info?.jetstream !== true && connection.info?.cluster === undefined
  if ((nobody && alone) || (code !== undefined && NOT_ENABLED.includes(code))) {
    return new LogMisconfigured(
      `JetStream is not enabled for us on the NATS server ${server}: ${error.message}`,
    )
  }
  if ((error as NatsError).code === 'PERMISSIONS_VIOLATION') return error
  return new LogUnavailable(`the stream ${stream} cannot be asked for on ${server}: ${error.message}`, {
    cause: error,
  })
}
