// Opens what the configuration names: waits for the brokers, says so, and checks the topic.

import { readFile } from 'node:fs/promises'
import type { Config, KafkaConfig } from '../../config/config.ts'
import {
  CONFIRM_MS_MAX,
  FETCH_BYTES_MAX,
  KAFKA_FETCH_WAIT_MS,
  OWNER_SILENT_MS_MAX,
  RECONNECT_MS_MAX,
  RECONNECT_MS_MIN,
  STALL_MS_MAX,
  TRIM_INTERVAL_MS,
} from '../../limits.ts'
import type { BrokerHooks, BrokerReader, Ownership, Publisher } from '../broker.ts'
import { LogMisconfigured } from '../log.ts'
import { Cluster } from './cluster.ts'
import { connectKafkajs } from './kafkajs.ts'
import { KafkaOwnership } from './ownership.ts'
import { loadPlatformatic } from './platformatic.ts'
import { type KafkaLimits, Presence } from './presence.ts'
import { type Access, CODE, type Connect, KafkaFailure, parseAddress } from './protocol.ts'
import { KafkaPublisher } from './publisher.ts'
import { KafkaReader } from './reader.ts'
import { ensureTopic } from './topic.ts'

const defaultLimits: KafkaLimits = {
  confirmMs: CONFIRM_MS_MAX,
  stallMs: STALL_MS_MAX,
  reconnectMsMin: RECONNECT_MS_MIN,
  reconnectMsMax: RECONNECT_MS_MAX,
  fetchBytes: FETCH_BYTES_MAX,
  fetchWaitMs: KAFKA_FETCH_WAIT_MS,
  trimIntervalMs: TRIM_INTERVAL_MS,
  ownerSilentMs: OWNER_SILENT_MS_MAX,
}

export interface KafkaOptions {
  /** Laid over the bounds of limits.ts. */
  limits?: Partial<KafkaLimits>
  /** Gives up waiting for brokers that are away: opening then rejects with the signal's reason. */
  signal?: AbortSignal
}

export async function openKafkaPublisher(
  config: Config,
  hooks: BrokerHooks,
  options: KafkaOptions = {},
): Promise<Publisher> {
  const { cluster, presence, limits } = await open(config, hooks, options)
  return new KafkaPublisher({ cluster, presence, limits })
}

export async function openKafkaReader(
  config: Config,
  partition: number,
  hooks: BrokerHooks,
  options: KafkaOptions = {},
): Promise<BrokerReader> {
  const { cluster, newCluster, presence, limits } = await open(config, hooks, options)
  const { maxBytes, maxAge } = config.log.retention
  const retention = { maxBytes: maxBytes / config.log.partitions, maxAge }
  return new KafkaReader({ cluster, newCluster, presence, limits, hooks, partition, retention })
}

/** `member`: a name that is the same when this processor is started again, and no other processor's. */
export async function openKafkaOwnership(
  config: Config,
  member: string,
  hooks: BrokerHooks,
  options: KafkaOptions = {},
): Promise<Ownership> {
  const { cluster, newCluster, presence, limits } = await open(config, hooks, options)
  cluster.close()
  const { partitions } = config.log
  return new KafkaOwnership({ newCluster, presence, limits, member, partitions })
}

async function open(config: Config, hooks: BrokerHooks, options: KafkaOptions) {
  const limits = { ...defaultLimits, ...options.limits }
  const connect = await clientOf(config.log.kafka)
  const access = await accessOf(config.log.kafka)
  const brokers = config.log.kafka.brokers.map(parseAddress)
  const newCluster = () => new Cluster({ connect, access, brokers, topic: config.log.kafka.topic })
  const cluster = newCluster()
  const presence = new Presence(hooks, limits)
  try {
    await reached(cluster, config, presence, options.signal)
  } catch (error) {
    cluster.close()
    throw error
  }
  return { cluster, newCluster, presence, limits }
}

/** Tries until the topic is as it should be. */
async function reached(cluster: Cluster, config: Config, presence: Presence, signal?: AbortSignal) {
  for (;;) {
    try {
      await ensureTopic(cluster, config)
      presence.back()
      return
    } catch (error) {
      if (!(error instanceof KafkaFailure)) throw error
      if (isFinal(error)) throw new LogMisconfigured(error.message, { cause: error })
      cluster.forget()
      presence.gone(`waiting for Kafka: ${error.message}`)
    }
    await presence.pause(signal)
    signal?.throwIfAborted()
  }
}

function isFinal({ kind, code }: KafkaFailure): boolean {
  return kind === 'denied' || code === CODE.topicForbidden || code === CODE.clusterForbidden
}

async function clientOf({ client }: KafkaConfig): Promise<Connect> {
  return client === 'platformatic' ? loadPlatformatic() : connectKafkajs
}

async function accessOf({ tls, sasl }: KafkaConfig): Promise<Access> {
  if (tls === undefined) return { tls: undefined, sasl }
  const files: { ca?: Buffer; cert?: Buffer; key?: Buffer } = {}
  if (tls !== true) {
    if (tls.ca !== undefined) files.ca = await readFile(tls.ca)
    if (tls.cert !== undefined) files.cert = await readFile(tls.cert)
    if (tls.key !== undefined) files.key = await readFile(tls.key)
  }
  return { tls: files, sasl }
}
