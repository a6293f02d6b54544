// The client `@platformatic/kafka`: faster than kafkajs with large segments. Of it we use the connection and the
// requests, which are part of its public interface; they need Kafka 3.0 or later.
//
// It is loaded only where the configuration names it, for it asks for a newer Node than we do.

import { isIP } from 'node:net'
import { KAFKA_FETCH_WAIT_MS, KAFKA_REQUEST_MS_MAX } from '../../limits.ts'
import { LogMisconfigured } from '../log.ts'
import {
  type Access,
  type Address,
  CODE,
  type Connect,
  connectionFailure,
  type Fetched,
  type FetchedRecord,
  type FetchRequest,
  formatAddress,
  type GroupMember,
  type Joined,
  type JoinRequest,
  type KafkaConnection,
  KafkaFailure,
  type Metadata,
  type NewTopic,
  type OutgoingBatch,
  type ProducerIdentity,
  refused,
  type Topic,
  within,
} from './protocol.ts'

type Package = typeof import('@platformatic/kafka')
type Connection = InstanceType<Package['Connection']>
type Batch = import('@platformatic/kafka').RecordsBatch

const CLIENT_ID = 'millrace'
const NODE_NEEDED = '20.19.4'
const NOBODY = -1
const READ_UNCOMMITTED = 0
const ALL_REPLICAS = -1
const NO_EPOCH = -1
const NO_SESSION = 0
const FINAL_EPOCH = -1
const FIRST_TIMESTAMP = -2n
const NEXT_TIMESTAMP = -1n
const TOPIC_RESOURCE = 2
const GROUP_KEY = 0
/** Our own limit is the one that counts, and is not the same for each request. */
const REQUEST_MS_NEVER = 2 ** 31 - 1

export async function loadPlatformatic(): Promise<Connect> {
  let loaded: Package
  try {
    loaded = await import('@platformatic/kafka')
  } catch (error) {
    const why = `${(error as Error).message}; it needs Node ${NODE_NEEDED} or later, this is ${process.version}`
    throw new LogMisconfigured(
      `log.kafka.client: @platformatic/kafka cannot be loaded: ${why}. Use kafkajs, or another Node.`,
      { cause: error },
    )
  }
  return async (address, access) => {
    const connection = new PlatformaticConnection(loaded, address, access)
    await connection.begin(address)
    return connection
  }
}

class PlatformaticConnection implements KafkaConnection {
  readonly broker: string
  readonly closed: Promise<void>
  readonly #apis: Package
  readonly #raw: Connection
  #closed = false
  /** What the socket said when it broke, which those that wait are not told. */
  #broken: Error | undefined

  constructor(apis: Package, address: Address, { tls, sasl }: Access) {
    this.broker = formatAddress(address)
    this.#apis = apis
    this.#raw = new apis.Connection(CLIENT_ID, {
      connectTimeout: KAFKA_REQUEST_MS_MAX,
      requestTimeout: REQUEST_MS_NEVER,
      ...(tls === undefined ? {} : { tls, ...(isIP(address.host) === 0 ? { tlsServerName: true } : {}) }),
      ...(sasl === undefined ? {} : { sasl: { ...sasl, mechanism: mechanisms[sasl.mechanism] } }),
    })
    this.#raw.on('error', (error) => {
      this.#broken ??= error
    })
    this.closed = new Promise((resolve) => {
      this.#raw.on('close', () => {
        this.#closed = true
        resolve()
      })
    })
  }

  async begin({ host, port }: Address): Promise<void> {
    try {
      const connected = this.#raw.connect(host, port) as Promise<void>
      await within(KAFKA_REQUEST_MS_MAX, connected, () => new Error('no answer while connecting'))
    } catch (error) {
      this.close()
      throw connectionFailure(this.broker, error)
    }
    this.#raw.socket.setKeepAlive(true, KAFKA_REQUEST_MS_MAX)
  }

  get open(): boolean {
    return !this.#closed && this.#raw.isConnected()
  }

  /** Waits for an answer; an error number in it is told by the client as an error that has the answer in it. */
  async #ask<T>(what: string, asked: Promise<T>, ms = KAFKA_REQUEST_MS_MAX): Promise<T> {
    try {
      return await within(ms, asked, () => new Error(`no answer to ${what} for ${ms} ms`))
    } catch (error) {
      throw this.#failure(what, error as Error)
    }
  }

  #failure(what: string, error: Error): KafkaFailure {
    if (error instanceof this.#apis.ResponseError) {
      const [first] = error.errors as { apiCode?: number; serverErrorMessage?: string | null }[]
      return refused(first?.apiCode ?? NOBODY, first?.serverErrorMessage ?? `${what} was refused`)
    }
    // What its decoders throw; everything else is the connection's, which is then of no use any more.
    const { code } = error as { code?: string }
    if (
      error instanceof RangeError ||
      error instanceof TypeError ||
      code === 'PLT_KFK_UNSUPPORTED_COMPRESSION'
    ) {
      return new KafkaFailure('unreadable', `${this.broker}: ${error.message}`, { cause: error })
    }
    this.close()
    return connectionFailure(this.broker, this.#broken ?? error)
  }

  async metadata(topic: string): Promise<Metadata> {
    const asked = this.#answered(this.#apis.metadataV10.api.async(this.#raw, [topic], false, false))
    const answer = await this.#ask('Metadata', asked)
    const brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    return { brokers, controller: answer.controllerId, topic: topicOf(answer.topics[0]) }
  }

  /** The answer, also where it has error numbers in it. */
  #answered<T>(asked: Promise<T>): Promise<T> {
    return asked.catch((error: Error) => {
      if (error instanceof this.#apis.ResponseError) return (error as unknown as { response: T }).response
      throw error
    })
  }

  async createTopic({ name, partitions, replicas, settings }: NewTopic): Promise<void> {
    const configs = Object.entries(settings).map(([name, value]) => ({ name, value }))
    const topic = { name, numPartitions: partitions, replicationFactor: replicas, assignments: [], configs }
    const asked = this.#apis.createTopicsV7.api.async(this.#raw, [topic], KAFKA_REQUEST_MS_MAX, false)
    await this.#ask('CreateTopics', asked)
  }

  async settings(topic: string): Promise<Map<string, string>> {
    const resources = [
      { resourceType: TOPIC_RESOURCE, resourceName: topic, configurationKeys: null },
    ] as const
    const asked = this.#apis.describeConfigsV4.api.async(this.#raw, [...resources], false, false)
    const { results } = await this.#ask('DescribeConfigs', asked)
    return new Map(results[0].configs.map(({ name, value }) => [name, value ?? '']))
  }

  async offset(topic: string, partition: number, which: 'first' | 'next'): Promise<number> {
    const timestamp = which === 'first' ? FIRST_TIMESTAMP : NEXT_TIMESTAMP
    const asked = this.#apis.listOffsetsV6.api.async(this.#raw, NOBODY, READ_UNCOMMITTED, [
      {
        name: topic,
        partitions: [{ partitionIndex: partition, currentLeaderEpoch: NO_EPOCH, timestamp }],
      },
    ])
    const { topics } = await this.#ask('ListOffsets', asked)
    return Number(topics[0].partitions[0].offset)
  }

  async deleteRecords(topic: string, partition: number, before: number): Promise<void> {
    const partitions = [{ partitionIndex: partition, offset: BigInt(before) }]
    const topics = [{ name: topic, partitions }]
    const asked = this.#apis.deleteRecordsV2.api.async(this.#raw, topics, KAFKA_REQUEST_MS_MAX)
    await this.#ask('DeleteRecords', asked)
  }

  async newProducer(): Promise<ProducerIdentity> {
    const asked = this.#apis.initProducerIdV4.api.async(this.#raw, null, KAFKA_REQUEST_MS_MAX, -1n, NO_EPOCH)
    const { producerId, producerEpoch } = await this.#ask('InitProducerId', asked)
    return { id: producerId, epoch: producerEpoch }
  }

  async produce(
    topic: string,
    producer: ProducerIdentity,
    batches: OutgoingBatch[],
  ): Promise<Map<number, number>> {
    const messages = batches.flatMap(({ partition, records }) =>
      records.map(({ value, headers }) => ({ topic, partition, value, headers: headerMap(headers) })),
    )
    const sequences = new this.#apis.NumericMap()
    for (const { partition, sequence } of batches) sequences.set(`${topic}:${partition}`, sequence)
    const asked = this.#apis.produceV9.api.async(this.#raw, ALL_REPLICAS, KAFKA_REQUEST_MS_MAX, messages, {
      producerId: producer.id,
      producerEpoch: producer.epoch,
      sequences,
    })
    const { responses } = (await this.#ask('Produce', this.#answered(asked))) as ProduceAnswer
    return new Map(responses[0].partitionResponses.map(({ index, errorCode }) => [index, errorCode]))
  }

  async fetch({ topic, partition, offset, bytesMax, waitMs }: FetchRequest): Promise<Fetched> {
    const partitions = [
      {
        partition,
        currentLeaderEpoch: NO_EPOCH,
        fetchOffset: BigInt(offset),
        lastFetchedEpoch: NO_EPOCH,
        partitionMaxBytes: bytesMax,
      },
    ]
    const asked = this.#apis.fetchV12.api.async(
      this.#raw,
      ...([waitMs, 1, bytesMax, READ_UNCOMMITTED, NO_SESSION, FINAL_EPOCH] as const),
      [{ topicId: topic, partitions }], // a name in this version
      [],
      '',
    )
    const { responses } = await this.#ask('Fetch', asked, waitMs + KAFKA_REQUEST_MS_MAX)
    const batches = responses[0]?.partitions[0].records ?? []
    const last = batches.at(-1)
    const next = last === undefined ? offset : Number(last.firstOffset) + last.lastOffsetDelta + 1
    return { records: batches.flatMap((batch) => this.#recordsOf(batch)), next }
  }

  #recordsOf({ attributes, firstOffset, records }: Batch): FetchedRecord[] {
    if ((attributes & this.#apis.IS_CONTROL) !== 0) return []
    const first = Number(firstOffset)
    return records.map(({ offsetDelta, value, headers }) => ({
      offset: first + offsetDelta,
      value,
      header: (name) => headers.findLast(([key]) => key?.toString() === name)?.[1] ?? undefined,
    }))
  }

  async coordinator(group: string): Promise<Address> {
    const asked = this.#apis.findCoordinatorV4.api.async(this.#raw, GROUP_KEY, [group])
    const { coordinators } = await this.#ask('FindCoordinator', asked)
    const [{ host, port }] = coordinators
    return { host, port }
  }

  async join(request: JoinRequest): Promise<Joined> {
    const asked = this.#apis.joinGroupV7.api.async(
      this.#raw,
      request.group,
      request.sessionMs,
      request.rebalanceMs,
      request.id,
      request.instance,
      'consumer',
      [{ name: request.protocol, metadata: request.metadata }],
    )
    const answer = await this.#ask('JoinGroup', asked, request.rebalanceMs + KAFKA_REQUEST_MS_MAX)
    return {
      id: answer.memberId ?? '',
      generation: answer.generationId,
      leader: answer.leader,
      members: answer.members.map(({ memberId, groupInstanceId, metadata }) => ({
        id: memberId,
        instance: groupInstanceId ?? '',
        metadata: metadata ?? Buffer.alloc(0),
      })),
    }
  }

  async sync(member: GroupMember, protocol: string, assignments: Map<string, Buffer>): Promise<Buffer> {
    const asked = this.#apis.syncGroupV5.api.async(
      this.#raw,
      member.group,
      member.generation,
      member.id,
      member.instance,
      'consumer',
      protocol,
      [...assignments].map(([memberId, assignment]) => ({ memberId, assignment })),
    )
    return (await this.#ask('SyncGroup', asked, KAFKA_FETCH_WAIT_MS + KAFKA_REQUEST_MS_MAX)).assignment
  }

  async heartbeat({ group, generation, id, instance }: GroupMember): Promise<void> {
    await this.#ask('Heartbeat', this.#apis.heartbeatV4.api.async(this.#raw, group, generation, id, instance))
  }

  async leave({ group, id, instance }: GroupMember): Promise<void> {
    const members = [{ memberId: id, groupInstanceId: instance }]
    await this.#ask('LeaveGroup', this.#apis.leaveGroupV4.api.async(this.#raw, group, members))
  }

  close(): void {
    this.#closed = true
    this.#raw.socket?.destroy()
  }
}

const mechanisms = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
} as const

interface ProduceAnswer {
  responses: { partitionResponses: { index: number; errorCode: number }[] }[]
}

interface RawTopic {
  errorCode: number
  topicId: string
  partitions: { partitionIndex: number; leaderId: number }[]
}

function topicOf(topic: RawTopic | undefined): Topic | undefined {
  if (topic === undefined || topic.errorCode === CODE.unknownTopic) return undefined
  if (topic.errorCode !== CODE.none && topic.errorCode !== CODE.leaderNotAvailable) {
    throw refused(topic.errorCode, 'the topic cannot be described')
  }
  const leaders: (number | undefined)[] = []
  for (const { partitionIndex, leaderId } of topic.partitions) {
    leaders[partitionIndex] = leaderId >= 0 ? leaderId : undefined
  }
  // As Kafka's own tools write it, and the other client.
  return { id: Buffer.from(topic.topicId.replaceAll('-', ''), 'hex').toString('base64url'), leaders }
}

function headerMap(headers: Record<string, Buffer>): Map<Buffer, Buffer> {
  return new Map(Object.entries(headers).map(([name, value]) => [Buffer.from(name), value]))
}
