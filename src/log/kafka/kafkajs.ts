// The client `kafkajs`.
//
// Its public consumer and producer cannot read a partition by hand, join a group under a lasting name, or keep the
// sequences of what is sent again, so the classes below them are used: a connection to a broker, and its requests. They
// are not part of its public interface; that it is pinned to one version, and has had no other since 2023, makes up
// for it.

import { createRequire } from 'node:module'
import { isIP, connect as netConnect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { KAFKA_FETCH_WAIT_MS, KAFKA_REQUEST_MS_MAX } from '../../limits.ts'
import {
  type Access,
  type Address,
  CODE,
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

const require = createRequire(import.meta.url)
const Connection = require('kafkajs/src/network/connection.js') as ConnectionClass
const { requests, lookup } = require('kafkajs/src/protocol/requests/index.js') as RequestsModule
const apiKeys = require('kafkajs/src/protocol/requests/apiKeys.js') as Record<string, number>
const Encoder = require('kafkajs/src/protocol/encoder.js') as new () => Encoder
const Decoder = require('kafkajs/src/protocol/decoder.js') as new (bytes: Buffer) => Decoder

const CLIENT_ID = 'millrace'
const NOBODY = -1
const READ_UNCOMMITTED = 0
const ALL_REPLICAS = -1
const FIRST_TIMESTAMP = -2
const NEXT_TIMESTAMP = -1
const TOPIC_RESOURCE = 2
/** The first version of Metadata that names topics by id. */
const METADATA_WITH_IDS = 10

// --- The parts of kafkajs that are used, which come without types ------------------------------------

interface Request {
  request: { apiKey: number; apiName: string; apiVersion: number; encode(): Promise<unknown> }
  response: { decode(bytes: Buffer): Promise<unknown>; parse(data: unknown): Promise<unknown> }
  requestTimeout?: number
}

type Versions = Record<number, { minVersion: number; maxVersion: number }>

interface RequestsModule {
  requests: Record<
    string,
    { versions: string[]; protocol(version: { version: number }): (a?: object) => Request }
  >
  lookup(versions: Versions): (apiKey: number, definition: unknown) => (options: object) => Request
}

interface RawConnection {
  requestQueue: { pending: unknown[]; scheduleCheckPendingRequests(): void; destroy(): void }
  isConnected(): boolean
  connect(): Promise<unknown>
  authenticate(): Promise<void>
  setVersions(versions: Versions): void
  setSupportAuthenticationProtocol(supported: boolean): void
  send(request: Request): Promise<unknown>
  rejectRequests(error: Error): void
}

type ConnectionClass = new (options: object) => RawConnection

interface Encoder {
  writeInt32(value: number): Encoder
  writeBoolean(value: boolean): Encoder
  writeBuffer(bytes: Buffer): Encoder
  writeUVarIntString(value: string): Encoder
  writeUVarIntArray(items: Encoder[]): Encoder
  writeUVarIntBytes(): Encoder
}

interface Decoder {
  readInt16(): number
  readInt32(): number
  readBoolean(): boolean
  readBytes(count: number): Buffer
  readUVarIntString(): string
  readUVarIntArray<T>(read: (decoder: Decoder) => T): T[]
  readTaggedFields(): unknown
}

interface RawRecord {
  offset: string
  value: Buffer | null
  headers: Record<string, Buffer | Buffer[] | undefined>
  isControlRecord: boolean
  batchContext: { firstOffset: string; lastOffsetDelta: number }
}

// -------------------------------------------------------------------------------------------------------

/** It says nothing: whatever matters comes back as an error. */
const silent = { namespace: () => silent, debug() {}, info() {}, warn() {}, error() {} }

export async function connectKafkajs(address: Address, access: Access): Promise<KafkaConnection> {
  const connection = new KafkajsConnection(address, access)
  try {
    await within(KAFKA_REQUEST_MS_MAX, connection.begin(), () => new Error('no answer while connecting'))
  } catch (error) {
    connection.close()
    throw connectionFailure(connection.broker, connection.refusal ?? error)
  }
  return connection
}

class KafkajsConnection implements KafkaConnection {
  readonly broker: string
  readonly closed: Promise<void>
  #end: () => void = () => {}
  readonly #raw: RawConnection
  #socket: Socket | undefined
  #request: (apiKey: number, definition: unknown) => (options: object) => Request = () => {
    throw new Error('not connected')
  }
  #versions: Versions = {}
  #closed = false
  /** The broker's own words on why it does not let us in, which the authenticators of kafkajs turn into text. */
  refusal: unknown

  constructor(address: Address, { tls, sasl }: Access) {
    this.broker = formatAddress(address)
    this.closed = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#raw = new Connection({
      ...address,
      clientId: CLIENT_ID,
      logger: silent,
      ssl: tls ?? null,
      sasl: sasl === undefined ? null : { ...sasl },
      connectionTimeout: KAFKA_REQUEST_MS_MAX,
      requestTimeout: KAFKA_REQUEST_MS_MAX,
      enforceRequestTimeout: false, // we do
      socketFactory: (options: SocketOptions) => this.#openSocket(options),
    })
    quieten(this.#raw)
  }

  #openSocket({ host, port, ssl, onConnect }: SocketOptions): Socket {
    const name = isIP(host) === 0 ? { servername: host } : {}
    const socket = ssl
      ? tlsConnect({ host, port, ...name, ...ssl }, onConnect)
      : netConnect({ host, port }, onConnect)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KAFKA_REQUEST_MS_MAX)
    socket.on('close', () => {
      this.#closed = true
      this.#end()
      this.#raw.rejectRequests(new Error('the connection was lost'))
      this.#raw.requestQueue.destroy()
    })
    this.#socket = socket
    return socket
  }

  get open(): boolean {
    return !this.#closed && this.#raw.isConnected()
  }

  async begin(): Promise<void> {
    await this.#raw.connect()
    this.#versions = await this.#askVersions()
    this.#raw.setVersions(this.#versions)
    this.#raw.setSupportAuthenticationProtocol(apiKeys.SaslAuthenticate in this.#versions)
    this.#request = lookup(this.#versions)
    const { send } = this.#raw
    this.#raw.send = async (request) => {
      try {
        return await send.call(this.#raw, request)
      } catch (error) {
        this.refusal = error
        throw error
      }
    }
    try {
      await this.#raw.authenticate()
    } finally {
      this.#raw.send = send
    }
    this.refusal = undefined
  }

  async #askVersions(): Promise<Versions> {
    const asked = requests.ApiVersions.protocol({ version: 2 })({})
    const { apiVersions } = (await this.#raw.send(asked)) as {
      apiVersions: { apiKey: number; minVersion: number; maxVersion: number }[]
    }
    return Object.fromEntries(apiVersions.map(({ apiKey, ...range }) => [apiKey, range]))
  }

  /** Sends a request and gives the answer as it came, error numbers and all. */
  async #ask<T>(api: string, options: object, ms = KAFKA_REQUEST_MS_MAX): Promise<T> {
    const { request, response } = this.#request(apiKeys[api], requests[api])(options)
    return this.#send({ request, response: { decode: response.decode, parse: async (data) => data } }, ms)
  }

  async #send<T>(request: Request, ms = KAFKA_REQUEST_MS_MAX): Promise<T> {
    if (!this.open) throw new KafkaFailure('away', `${this.broker}: not connected`)
    try {
      const late = () => new Error(`no answer to ${request.request.apiName} for ${ms} ms`)
      return (await within(ms, this.#raw.send(request), late)) as T
    } catch (error) {
      throw this.#failure(error as Error)
    }
  }

  #failure(error: Error): KafkaFailure {
    const { name } = error
    // What the decoders throw; everything else is the connection's, which is then of no use any more.
    if (name === 'RangeError' || name === 'KafkaJSNotImplemented' || name === 'TypeError') {
      return new KafkaFailure('unreadable', `${this.broker}: ${error.message}`, { cause: error })
    }
    this.close()
    return connectionFailure(this.broker, error)
  }

  async metadata(topic: string): Promise<Metadata> {
    const withIds = this.#versions[apiKeys.Metadata].maxVersion >= METADATA_WITH_IDS
    const answer = withIds
      ? await this.#send<RawMetadata>(metadataWithIds(topic))
      : await this.#ask<RawMetadata>('Metadata', { topics: [topic], allowAutoTopicCreation: false })
    const brokers = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    return { brokers, controller: answer.controllerId, topic: topicOf(answer.topicMetadata[0]) }
  }

  async createTopic({ name, partitions, replicas, settings }: NewTopic): Promise<void> {
    const { topicErrors } = await this.#ask<{
      topicErrors: { errorCode: number; errorMessage?: string | null }[]
    }>('CreateTopics', {
      topics: [
        {
          topic: name,
          numPartitions: partitions,
          replicationFactor: replicas,
          configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })),
        },
      ],
      validateOnly: false,
      timeout: KAFKA_REQUEST_MS_MAX,
    })
    const [{ errorCode, errorMessage }] = topicErrors
    must(errorCode, errorMessage ?? 'the topic cannot be created')
  }

  async settings(topic: string): Promise<Map<string, string>> {
    const { resources } = await this.#ask<{
      resources: {
        errorCode: number
        errorMessage?: string | null
        configEntries: { configName: string; configValue: string | null }[]
      }[]
    }>('DescribeConfigs', { resources: [{ type: TOPIC_RESOURCE, name: topic, configNames: [] }] })
    const [{ errorCode, errorMessage, configEntries }] = resources
    must(errorCode, errorMessage ?? 'the settings of the topic cannot be read')
    return new Map(configEntries.map(({ configName, configValue }) => [configName, configValue ?? '']))
  }

  async offset(topic: string, partition: number, which: 'first' | 'next'): Promise<number> {
    const timestamp = which === 'first' ? FIRST_TIMESTAMP : NEXT_TIMESTAMP
    const { responses } = await this.#ask<{
      responses: { partitions: { errorCode: number; offset: string }[] }[]
    }>('ListOffsets', {
      replicaId: NOBODY,
      isolationLevel: READ_UNCOMMITTED,
      topics: [{ topic, partitions: [{ partition, timestamp }] }],
    })
    const [{ errorCode, offset }] = responses[0].partitions
    must(errorCode, `the offsets of partition ${partition} cannot be read`)
    return Number(offset)
  }

  async deleteRecords(topic: string, partition: number, before: number): Promise<void> {
    const { topics } = await this.#ask<{ topics: { partitions: { errorCode: number }[] }[] }>(
      'DeleteRecords',
      {
        topics: [{ topic, partitions: [{ partition, offset: String(before) }] }],
        timeout: KAFKA_REQUEST_MS_MAX,
      },
    )
    must(topics[0].partitions[0].errorCode, `partition ${partition} cannot be trimmed`)
  }

  async newProducer(): Promise<ProducerIdentity> {
    const { errorCode, producerId, producerEpoch } = await this.#ask<{
      errorCode: number
      producerId: string
      producerEpoch: number
    }>('InitProducerId', { transactionalId: null, transactionTimeout: KAFKA_REQUEST_MS_MAX })
    must(errorCode, 'no producer id')
    return { id: BigInt(producerId), epoch: producerEpoch }
  }

  async produce(
    topic: string,
    producer: ProducerIdentity,
    batches: OutgoingBatch[],
  ): Promise<Map<number, number>> {
    const partitions = batches.map(({ partition, sequence, records }) => ({
      partition,
      firstSequence: sequence,
      messages: records.map(({ value, headers }) => ({ key: null, value, headers })),
    }))
    const { topics } = await this.#ask<{
      topics: { partitions: { partition: number; errorCode: number }[] }[]
    }>('Produce', {
      acks: ALL_REPLICAS,
      timeout: KAFKA_REQUEST_MS_MAX,
      producerId: String(producer.id),
      producerEpoch: producer.epoch,
      topicData: [{ topic, partitions }],
    })
    return new Map(topics[0].partitions.map(({ partition, errorCode }) => [partition, errorCode]))
  }

  async fetch({ topic, partition, offset, bytesMax, waitMs }: FetchRequest): Promise<Fetched> {
    const answer = await this.#ask<{
      errorCode: number
      responses: { partitions: { errorCode: number; messages: RawRecord[] }[] }[]
    }>(
      'Fetch',
      {
        replicaId: NOBODY,
        isolationLevel: READ_UNCOMMITTED,
        maxWaitTime: waitMs,
        minBytes: 1,
        maxBytes: bytesMax,
        topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: bytesMax }] }],
      },
      waitMs + KAFKA_REQUEST_MS_MAX,
    )
    must(answer.errorCode, `partition ${partition} cannot be read`)
    const [{ errorCode, messages }] = answer.responses[0].partitions
    must(errorCode, `partition ${partition} cannot be read`)
    const last = messages.at(-1)?.batchContext
    const next = last === undefined ? offset : Number(last.firstOffset) + last.lastOffsetDelta + 1
    return { records: messages.filter((record) => !record.isControlRecord).map(recordOf), next }
  }

  async coordinator(group: string): Promise<Address> {
    const { errorCode, coordinator } = await this.#ask<{ errorCode: number; coordinator: Address }>(
      'GroupCoordinator',
      { groupId: group, coordinatorType: 0 },
    )
    must(errorCode, `nobody coordinates the group ${group}`)
    return { host: coordinator.host, port: coordinator.port }
  }

  async join(request: JoinRequest): Promise<Joined> {
    const options = {
      groupId: request.group,
      groupInstanceId: request.instance,
      memberId: request.id,
      sessionTimeout: request.sessionMs,
      rebalanceTimeout: request.rebalanceMs,
      protocolType: 'consumer',
      groupProtocols: [{ name: request.protocol, metadata: request.metadata }],
    }
    const answer = await this.#ask<{
      errorCode: number
      memberId: string
      generationId: number
      leaderId: string
      members: { memberId: string; groupInstanceId: string | null; memberMetadata: Buffer }[]
    }>('JoinGroup', options, request.rebalanceMs + KAFKA_REQUEST_MS_MAX)
    must(answer.errorCode, `the group ${request.group} cannot be joined`)
    return {
      id: answer.memberId,
      generation: answer.generationId,
      leader: answer.leaderId,
      members: answer.members.map(({ memberId, groupInstanceId, memberMetadata }) => ({
        id: memberId,
        instance: groupInstanceId ?? '',
        metadata: memberMetadata,
      })),
    }
  }

  async sync(member: GroupMember, _protocol: string, assignments: Map<string, Buffer>): Promise<Buffer> {
    const answer = await this.#ask<{ errorCode: number; memberAssignment: Buffer | null }>(
      'SyncGroup',
      {
        groupId: member.group,
        generationId: member.generation,
        memberId: member.id,
        groupInstanceId: member.instance,
        groupAssignment: [...assignments].map(([memberId, memberAssignment]) => ({
          memberId,
          memberAssignment,
        })),
      },
      KAFKA_FETCH_WAIT_MS + KAFKA_REQUEST_MS_MAX,
    )
    must(answer.errorCode, `no assignment in the group ${member.group}`)
    return answer.memberAssignment ?? Buffer.alloc(0)
  }

  async heartbeat(member: GroupMember): Promise<void> {
    const { errorCode } = await this.#ask<{ errorCode: number }>('Heartbeat', {
      groupId: member.group,
      groupGenerationId: member.generation,
      memberId: member.id,
      groupInstanceId: member.instance,
    })
    must(errorCode, `the group ${member.group} does not know this member`)
  }

  async leave(member: GroupMember): Promise<void> {
    const { errorCode } = await this.#ask<{ errorCode: number }>('LeaveGroup', {
      groupId: member.group,
      memberId: member.id,
      groupInstanceId: member.instance,
    })
    must(errorCode, `the group ${member.group} does not know this member`)
  }

  close(): void {
    this.#closed = true
    this.#socket?.destroy()
  }
}

interface SocketOptions {
  host: string
  port: number
  ssl: object | null
  onConnect(): void
}

interface RawMetadata {
  brokers: ({ nodeId: number } & Address)[]
  controllerId: number
  topicMetadata: RawTopic[]
}

interface RawTopic {
  topicErrorCode: number
  topicId?: string
  partitionMetadata: { partitionId: number; leader: number }[]
}

function must(code: number, message: string): void {
  if (code !== CODE.none) throw refused(code, message)
}

function topicOf({ topicErrorCode, topicId, partitionMetadata }: RawTopic): Topic | undefined {
  if (topicErrorCode === CODE.unknownTopic) return undefined
  if (topicErrorCode !== CODE.leaderNotAvailable) must(topicErrorCode, 'the topic cannot be described')
  const leaders: (number | undefined)[] = []
  for (const { partitionId, leader } of partitionMetadata) {
    leaders[partitionId] = leader >= 0 ? leader : undefined
  }
  return { id: topicId, leaders }
}

function recordOf({ offset, value, headers }: RawRecord): FetchedRecord {
  return {
    offset: Number(offset),
    value,
    header: (name) => {
      const found = headers[name]
      return Array.isArray(found) ? found.at(-1) : found
    },
  }
}

/**
 * Metadata version 10, of which kafkajs has only earlier ones, without topic ids. Its request has an empty set of
 * tagged fields at the end of the head, which is the first byte after what kafkajs writes; so has the answer.
 */
function metadataWithIds(topic: string): Request {
  return {
    request: {
      apiKey: apiKeys.Metadata,
      apiName: 'Metadata',
      apiVersion: METADATA_WITH_IDS,
      encode: async () => {
        const none = Buffer.alloc(16)
        const one = new Encoder().writeBuffer(none).writeUVarIntString(topic).writeUVarIntBytes()
        return new Encoder()
          .writeUVarIntBytes()
          .writeUVarIntArray([one])
          .writeBoolean(false) // create it
          .writeBoolean(false) // operations allowed on the cluster
          .writeBoolean(false) // and on the topic
          .writeUVarIntBytes()
      },
    },
    response: { decode: async (bytes) => decodeMetadata(new Decoder(bytes)), parse: async (data) => data },
  }
}

function decodeMetadata(decoder: Decoder): RawMetadata & { clientSideThrottleTime: number } {
  decoder.readTaggedFields()
  const clientSideThrottleTime = decoder.readInt32()
  const brokers = decoder.readUVarIntArray((d) => {
    const broker = { nodeId: d.readInt32(), host: d.readUVarIntString(), port: d.readInt32() }
    d.readUVarIntString() // rack
    d.readTaggedFields()
    return broker
  })
  decoder.readUVarIntString() // cluster id
  const controllerId = decoder.readInt32()
  const topicMetadata = decoder.readUVarIntArray((d) => {
    const topicErrorCode = d.readInt16()
    d.readUVarIntString() // name
    const topicId = d.readBytes(16).toString('base64url')
    d.readBoolean() // internal
    const partitionMetadata = d.readUVarIntArray(decodePartition)
    d.readInt32() // operations allowed
    d.readTaggedFields()
    return { topicErrorCode, topicId, partitionMetadata }
  })
  return { clientSideThrottleTime, brokers, controllerId, topicMetadata }
}

function decodePartition(decoder: Decoder): { partitionId: number; leader: number } {
  decoder.readInt16() // error: there is no leader then
  const partition = { partitionId: decoder.readInt32(), leader: decoder.readInt32() }
  decoder.readInt32() // leader's epoch
  for (let lists = 0; lists < 3; lists++) decoder.readUVarIntArray((d) => d.readInt32()) // replicas
  decoder.readTaggedFields()
  return partition
}

/**
 * Its request queue looks every millisecond whether something waits, from the first answer on and for ever. It needs
 * to only while something does: answers look as well.
 */
function quieten({ requestQueue }: RawConnection): void {
  const schedule = requestQueue.scheduleCheckPendingRequests
  requestQueue.scheduleCheckPendingRequests = () => {
    if (requestQueue.pending.length > 0) schedule.call(requestQueue)
  }
}
