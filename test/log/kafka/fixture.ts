// What the tests of the Kafka log share: configurations for topics of their own, hooks that remember, and Kafka's own
// view of a topic through the public interface of kafkajs.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import kafkajs, { type Admin, Kafka as Client, logLevel, type Message, Partitioners } from 'kafkajs'
import type { Config, KafkaConfig } from '../../../src/config/config.ts'
import type { BrokerHooks, BrokerReader, Publisher } from '../../../src/log/broker.ts'
import { type KafkaOptions, openKafkaPublisher, openKafkaReader } from '../../../src/log/kafka/open.ts'
import type { Segment } from '../../../src/log/segment.ts'
import { atEnd } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { segment } from '../segments.ts'

/** Not found by name in what kafkajs exports. */
export const { CompressionTypes, CompressionCodecs } = kafkajs

export const clients = ['kafkajs', 'platformatic'] as const
export type ClientName = (typeof clients)[number]

export const MAX_BODY = 256 * 1024
export const WRITER = '00c0ffee00c0ffee'

export interface Settings {
  partitions?: number
  maxBytes?: number
  maxAge?: number
  kafka?: Partial<KafkaConfig>
}

/** A configuration with a topic of its own. */
export function configFor(brokers: string[], client: ClientName, settings: Settings = {}): Config {
  const { partitions = 1, maxBytes = 2 ** 30, maxAge = 86_400_000, kafka } = settings
  return {
    http: { maxBody: MAX_BODY },
    log: {
      kind: 'kafka',
      partitions,
      retention: { maxBytes, maxAge },
      kafka: { brokers, topic: `test-${randomUUID()}`, replicas: 1, client, ...kafka },
    },
  } as Config
}

/** Hooks that remember what they were told, and let it be waited for. */
export class Heard implements BrokerHooks {
  readonly away: string[] = []
  backs = 0
  readonly notices: string[] = []
  readonly lost: { lane: string; from: number; to: number }[] = []
  readonly foreign: { at: number; reason: string }[] = []
  #changed: (() => void)[] = []

  onAway(reason: string): void {
    this.away.push(reason)
    this.#tell()
  }
  onBack(): void {
    this.backs++
    this.#tell()
  }
  onNotice(text: string): void {
    this.notices.push(text)
    this.#tell()
  }
  onLost(lane: string, from: number, to: number): void {
    this.lost.push({ lane, from, to })
    this.#tell()
  }
  onForeign(_lane: string, at: number, reason: string): void {
    this.foreign.push({ at, reason })
    this.#tell()
  }

  /** As it was told last. On a slow machine there may be absences that nobody made. */
  get isAway(): boolean {
    return this.away.length > this.backs
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changed.push(resolve))
  }

  #tell(): void {
    for (const changed of this.#changed.splice(0)) changed()
  }
}

export async function publisherFor(
  t: TestContext,
  config: Config,
  hooks: BrokerHooks = new Heard(),
  options?: KafkaOptions,
): Promise<Publisher> {
  const publisher = await openKafkaPublisher(config, hooks, options)
  atEnd(t, () => publisher.close())
  return publisher
}

export async function readerFor(
  t: TestContext,
  config: Config,
  { partition = 0, hooks = new Heard(), options }: ReaderOptions = {},
): Promise<BrokerReader> {
  const reader = await openKafkaReader(config, partition, hooks, options)
  atEnd(t, () => reader.close())
  return reader
}

interface ReaderOptions {
  partition?: number
  hooks?: BrokerHooks
  options?: KafkaOptions
}

/** A segment with an identity, whose name is `n` and its sequence. */
export function stamped(sequence: number, bytes = 0): Segment {
  const one = segment(`n${sequence}`, bytes)
  one.stamp(WRITER, sequence, 0, 0)
  return one
}

export function names(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `n${from + i}`)
}

function clientOf(brokers: string[]): Client {
  return new Client({ brokers, logLevel: logLevel.NOTHING })
}

/** The cluster as its administrator sees it. */
export async function administrator(t: TestContext, brokers: string[]): Promise<Admin> {
  const admin = clientOf(brokers).admin()
  await admin.connect()
  atEnd(t, () => admin.disconnect())
  return admin
}

/** What someone else writes to the topic, in one batch. */
export async function writeForeign(
  brokers: string[],
  topic: string,
  messages: Message[],
  compression = CompressionTypes.None,
): Promise<void> {
  const producer = clientOf(brokers).producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  const addressed = messages.map((message) => ({ ...message, partition: 0 }))
  await producer.send({ topic, messages: addressed, compression })
  await producer.disconnect()
}

/** Promises' outcomes by name: `kept`, or the name of the error. */
export async function outcome(promise: Promise<void>): Promise<string> {
  return promise.then(
    () => 'kept',
    (error: Error) => error.name,
  )
}

/** Waits until the partition has a leader: a broker serves clients before that. */
export async function ready(reader: BrokerReader): Promise<void> {
  await until(() =>
    reader.bounds().then(
      () => true,
      () => false,
    ),
  )
}

/** The sockets of this process that are open, with what has passed through each of them. */
export function sockets(): Traffic[] {
  const { _getActiveHandles } = process as unknown as { _getActiveHandles(): Partial<Traffic>[] }
  return _getActiveHandles().filter((handle): handle is Traffic => 'bytesRead' in handle)
}

export interface Traffic {
  bytesRead: number
  bytesWritten: number
}

/** kafkajs writes Snappy with it, and cannot read it, as without it. */
CompressionCodecs[CompressionTypes.Snappy] = () => ({
  /** One literal: https://github.com/google/snappy/blob/main/format_description.txt */
  async compress({ buffer }: { buffer: Buffer }): Promise<Buffer> {
    const { length } = buffer
    assert.ok(length < 16384)
    const head = Buffer.from([(length & 127) | 128, length >>> 7, 61 << 2, 0, 0])
    head.writeUInt16LE(length - 1, 3)
    return Buffer.concat([head, buffer])
  },
  async decompress(): Promise<Buffer> {
    throw Object.assign(new Error('Snappy compression not implemented'), { name: 'KafkaJSNotImplemented' })
  },
})
