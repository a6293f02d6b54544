// The topic as the log needs it: made where there is none, checked where there is one. Several processes do so at once.

import type { Config } from '../../config/config.ts'
import { segmentBytesMax } from '../../config/log-size.ts'
import { KAFKA_OVERHEAD_BYTES_MAX } from '../../limits.ts'
import { LogMisconfigured } from '../log.ts'
import type { Cluster } from './cluster.ts'
import { CODE, type KafkaConnection, KafkaFailure } from './protocol.ts'

const UNLIMITED = '-1'
/** Both clients read these; the broker compresses by itself where the topic asks for another. */
const COMPRESSIONS = ['producer', 'uncompressed', 'gzip']

/** Rejects with LogMisconfigured where trying again would not help, and with a KafkaFailure where it may. */
export async function ensureTopic(cluster: Cluster, config: Config): Promise<void> {
  cluster.forget()
  const controller = await cluster.controller()
  if ((await cluster.metadata()).topic === undefined) await create(cluster, controller, config)
  const { leaders } = await cluster.description()
  if (leaders.includes(undefined)) {
    cluster.forget()
    throw new KafkaFailure('away', `the topic ${cluster.topic} has partitions without a leader`)
  }
  checkPartitions(config, leaders.length)
  const settings = await described(await cluster.any(), config)
  for (const wrong of wrongSettings(config, settings)) throw wrong
}

async function create(cluster: Cluster, controller: KafkaConnection, config: Config): Promise<void> {
  const { topic: name, replicas } = config.log.kafka
  try {
    await controller.createTopic({
      name,
      partitions: config.log.partitions,
      replicas,
      settings: {
        'cleanup.policy': 'delete',
        'retention.ms': UNLIMITED, // what was processed is trimmed by us
        'retention.bytes': UNLIMITED,
        'max.message.bytes': String(recordBytesMax(config)),
      },
    })
  } catch (error) {
    const { code, message } = error as KafkaFailure
    if (code === CODE.invalidReplicas) {
      throw misconfigured(`the topic ${name} cannot be made with log.kafka.replicas: ${replicas}: ${message}`)
    }
    const forbidden = [CODE.topicForbidden, CODE.clusterForbidden, CODE.policyViolation] as number[]
    if (forbidden.includes(code)) {
      throw misconfigured(`there is no topic ${name} (log.kafka.topic), and it cannot be made: ${message}`)
    }
    if (code !== CODE.topicExists) throw error
  }
  cluster.forget()
}

/** Bytes of the largest batch: one segment and what Kafka adds. */
function recordBytesMax(config: Config): number {
  return segmentBytesMax(config.http.maxBody) + KAFKA_OVERHEAD_BYTES_MAX
}

function checkPartitions(config: Config, partitions: number): void {
  if (partitions === config.log.partitions) return
  const { topic } = config.log.kafka
  throw misconfigured(
    `the topic ${topic} has ${partitions} partitions, log.partitions is ${config.log.partitions}: they must be equal`,
  )
}

async function described(connection: KafkaConnection, config: Config): Promise<Map<string, string>> {
  const { topic } = config.log.kafka
  try {
    return await connection.settings(topic)
  } catch (error) {
    if ((error as KafkaFailure).code !== CODE.topicForbidden) throw error
    throw misconfigured(
      `the settings of the topic ${topic} cannot be read: the user needs the right DescribeConfigs`,
    )
  }
}

function* wrongSettings(config: Config, settings: Map<string, string>): Generator<LogMisconfigured> {
  const { topic } = config.log.kafka
  const wrong = (setting: string, must: string) =>
    misconfigured(`the topic ${topic} has ${setting}=${settings.get(setting)}: it must be ${must}`)
  const below = (setting: string, least: number) => {
    const value = settings.get(setting)
    return value !== undefined && value !== UNLIMITED && Number(value) < least
  }

  if (settings.get('cleanup.policy')?.includes('compact')) yield wrong('cleanup.policy', 'delete')
  const bytes = recordBytesMax(config)
  if (below('max.message.bytes', bytes)) {
    yield wrong('max.message.bytes', `${bytes} or more, for bodies of ${config.http.maxBody} (http.maxBody)`)
  }
  // Kafka deletes by these whether it was processed or not.
  for (const setting of ['retention.ms', 'retention.bytes']) {
    if ((settings.get(setting) ?? UNLIMITED) === UNLIMITED) continue
    yield wrong(setting, `${UNLIMITED} (kafka-configs --alter --topic ${topic} --add-config ${setting}=-1)`)
  }
  const compression = settings.get('compression.type') ?? COMPRESSIONS[0]
  if (!COMPRESSIONS.includes(compression)) yield wrong('compression.type', COMPRESSIONS.join(', '))
}

function misconfigured(message: string): LogMisconfigured {
  return new LogMisconfigured(message)
}
