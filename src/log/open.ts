// Which log the configuration names, opened for a listener or a processor.

import { watch } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { backlogBytesMax, segmentBytesMax, writersOf } from '../config/log-size.ts'
import type { BrokerHooks, BrokerReader, Publisher } from './broker.ts'
import { BrokerWriter, type Publishing } from './broker-writer.ts'
import { ComingPublisher, ComingReader } from './dual/coming.ts'
import { DualPublisher, type Missing } from './dual/publisher.ts'
import { DualReader } from './dual/reader.ts'
import { sizeOf } from './embedded/files.ts'
import type { Damage } from './embedded/lane.ts'
import { type Left, leftBy, writersIn } from './embedded/left.ts'
import { EmbeddedReader } from './embedded/reader.ts'
import { EmbeddedWriter, newWriter } from './embedded/writer.ts'
import { realFileSystem } from './filesystem.ts'
import { connectLink, SocketLinkServer } from './link.ts'
import type { Durability, LogReader, LogWriter } from './log.ts'
import { MemoryWriter } from './memory.ts'
import { MemoryReader } from './memory-reader.ts'

export type BrokerName = Publisher['kind']

/** What goes wrong with a broker and right again, by its name: one call for each change, not one a message. */
export interface BrokerEvents {
  onAway(broker: BrokerName, reason: string): void
  onBack(broker: BrokerName): void
  /** Something that breaks no promise but that an operator will want to know. */
  onNotice(broker: BrokerName, text: string): void
  /** Under `ackWhen: any`: what is written goes to the other broker only from now on, and what it missed when it is over. */
  onBehind(broker: BrokerName, reason: string): void
  onKeepingUp(broker: BrokerName, missing: Missing): void
}

export interface WriterHooks extends BrokerEvents {
  /** The sequence below which a writer's segments are committed, as far as the results store says. */
  committed(partition: number, writer: string): number
  /** How long each sync of the embedded log took, milliseconds. */
  synced?: (ms: number) => void
}

/** A listener's lanes, one for each partition. */
export interface Writers {
  readonly lanes: readonly LogWriter[]
  /** Resolves once all brokers are reached; until then those are away. Rejects with LogMisconfigured. */
  readonly reached: Promise<void>
  /** Why a broker cannot be reached at present, by its name. */
  away(): Partial<Record<BrokerName, string>>
  /** What the dual log could write to the other broker only; undefined for other kinds. */
  missing(): Record<BrokerName, Missing> | undefined
  /** Resolves when all that was appended is safe from this process's end. */
  close(): Promise<void>
}

/** Brokers are waited for by whoever asks for `reached`. */
export async function openWriters(config: Config, hooks: WriterHooks): Promise<Writers> {
  const { kind } = config.log
  const partitions = Array.from({ length: config.log.partitions }, (_, partition) => partition)
  if (kind === 'embedded' || kind === 'memory') {
    const lanes = await Promise.all(
      partitions.map((partition) => openLocalWriter(config, partition, hooks.synced)),
    )
    return {
      lanes,
      reached: Promise.resolve(),
      away: () => ({}),
      missing: () => undefined,
      close: async () => void (await Promise.all(lanes.map((lane) => lane.close()))),
    }
  }
  const brokers = brokersOf(kind)
  const opening = brokers.map((broker) => openPublisher(broker, config, brokerHooks(broker, hooks)))
  const publishers = opening.map((one, i) => new ComingPublisher(brokers[i], one))
  const reached = Promise.all(opening).then(() => {})
  reached.catch(() => {}) // told to whoever waits for it
  const dual = publishers.length > 1 ? dualOf(publishers, config, hooks) : undefined
  const publisher: Publishing = dual ?? publishers[0]
  const lanes = partitions.map(
    (partition) =>
      new BrokerWriter({
        kind,
        partition,
        publisher,
        backlogBytesMax: backlogBytesMax(config),
        committed: (writer) => hooks.committed(partition, writer),
      }),
  )
  return {
    lanes,
    reached,
    away: () => awayOf(publishers),
    missing: () => dual?.missing,
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()))
      await Promise.all(publishers.map((one) => one.close()))
    },
  }
}

/** How safe what such a log has acknowledged is. */
export function declaredDurability(kind: Config['log']['kind']): Durability {
  if (kind === 'embedded') return 'fsynced'
  return kind === 'memory' ? 'buffered' : 'broker-acked'
}

/** The brokers that the kind names. */
export function brokersOf(kind: Config['log']['kind']): BrokerName[] {
  if (kind === 'dual') return ['jetstream', 'kafka']
  return kind === 'jetstream' || kind === 'kafka' ? [kind] : []
}

// The clients of brokers are loaded where a broker is asked for: they take time at the start of every process, and memory.

export async function openPublisher(
  broker: BrokerName,
  config: Config,
  hooks: BrokerHooks,
): Promise<Publisher> {
  if (broker === 'jetstream')
    return (await import('./jetstream/open.ts')).openJetStreamPublisher(config, hooks)
  return (await import('./kafka/open.ts')).openKafkaPublisher(config, hooks)
}

function dualOf([jetstream, kafka]: Publisher[], config: Config, events: BrokerEvents): DualPublisher {
  const hooks = {
    onBehind: (broker: BrokerName, reason: string) => events.onBehind(broker, reason),
    onKeepingUp: (broker: BrokerName, missing: Missing) => events.onKeepingUp(broker, missing),
  }
  return new DualPublisher({ jetstream, kafka, ackWhen: config.log.dual.ackWhen, hooks })
}

function awayOf(publishers: readonly Publisher[]): Partial<Record<BrokerName, string>> {
  const away: Partial<Record<BrokerName, string>> = {}
  for (const publisher of publishers) if (publisher.away !== undefined) away[publisher.kind] = publisher.away
  return away
}

export interface ReaderHooks extends BrokerEvents {
  onDamage(damage: Damage): void
  onError(error: Error): void
  /** Segments from one number to before another of a lane that its broker does not hold any more. */
  onLost(lane: string, from: number, to: number): void
  /** Something in the log that is no segment of ours: skipped. */
  onForeign(lane: string, at: number, reason: string): void
  /** Of a dual log: a segment that only the broker has that is not consumed. */
  onOverdue(broker: BrokerName, writer: string, sequence: number): void
  /** Of a dual log: all of this lane below `next` is counted, though it is not the one that is consumed. */
  onWalked(lane: string, next: number): void
  /** True when a segment is in some commit; asked by the dual log. */
  counted(writer: string, sequence: number, receivedAt: number): boolean
}

/** Opens one partition for reading. Waits for a broker until the signal is aborted, and rejects then. */
export async function openReader(
  config: Config,
  partition: number,
  hooks: ReaderHooks,
  signal?: AbortSignal,
): Promise<LogReader> {
  const { kind } = config.log
  if (kind === 'embedded' || kind === 'memory') return openLocalReader(config, partition, hooks)
  const open = (broker: BrokerName, until?: AbortSignal) =>
    openBrokerReader(broker, config, partition, brokerHooks(broker, hooks), until)
  if (kind !== 'dual') return open(kind, signal)
  // One of the two may be away, for as long as it likes: each is opened when it is there.
  const [jetstream, kafka] = brokersOf(kind).map((broker) => {
    return new ComingReader(broker, (until) => open(broker, until))
  })
  return new DualReader({
    jetstream,
    kafka,
    consume: config.log.dual.consume,
    maxBytes: config.log.retention.maxBytes / config.log.partitions,
    counted: hooks.counted,
    hooks: { onWalked: hooks.onWalked, onOverdue: hooks.onOverdue, onError: hooks.onError },
  })
}

export async function openBrokerReader(
  broker: BrokerName,
  config: Config,
  partition: number,
  hooks: BrokerHooks,
  signal?: AbortSignal,
): Promise<BrokerReader> {
  if (broker === 'jetstream') {
    return (await import('./jetstream/open.ts')).openJetStreamReader(config, partition, hooks, signal)
  }
  const { openKafkaReader } = await import('./kafka/open.ts')
  return openKafkaReader(config, partition, hooks, signal === undefined ? {} : { signal })
}

export function brokerHooks(
  broker: BrokerName,
  {
    onAway,
    onBack,
    onNotice,
    ...rest
  }: Pick<BrokerEvents, 'onAway' | 'onBack' | 'onNotice'> &
    Partial<Pick<ReaderHooks, 'onLost' | 'onForeign'>>,
): BrokerHooks {
  return {
    onAway: (reason) => onAway(broker, reason),
    onBack: () => onBack(broker),
    onNotice: (text) => onNotice(broker, text),
    onLost: rest.onLost ?? (() => {}),
    onForeign: rest.onForeign ?? (() => {}),
  }
}

/** The embedded or the memory log's lane of one partition. */
export async function openLocalWriter(
  config: Config,
  partition: number,
  synced?: (ms: number) => void,
): Promise<LogWriter> {
  const folder = await logFolder(config, partition)
  const { kind, retention, partitions } = config.log
  if (kind === 'memory') return new MemoryWriter(folder, retention.maxBytes / partitions).open()
  const writer = newWriter()
  const link = new SocketLinkServer(join(folder, `${writer}.sock`))
  const parts = { fs: realFileSystem, folder, size: size(config), link, writer }
  return new EmbeddedWriter(synced === undefined ? parts : { ...parts, synced }).open()
}

/** One partition of the embedded or the memory log. */
export async function openLocalReader(
  config: Config,
  partition: number,
  hooks: Pick<ReaderHooks, 'onDamage' | 'onError'>,
): Promise<LogReader> {
  const folder = await logFolder(config, partition)
  const onChange = (changed: () => void) => {
    const watcher = watch(folder, { persistent: false }, (event) => {
      if (event === 'rename') changed() // the other event is each write to a chunk
    })
    watcher.on('error', hooks.onError)
    return () => watcher.close()
  }
  if (config.log.kind === 'memory') {
    return new MemoryReader({ folder, list: () => readdir(folder), watch: onChange })
  }
  return new EmbeddedReader({
    fs: realFileSystem,
    folder,
    size: size(config),
    maxAge: config.log.retention.maxAge,
    connect: (writer, heard) => connectLink(join(folder, `${writer}.sock`), heard),
    watch: (_folder, changed) => onChange(changed),
    onDamage: hooks.onDamage,
    onError: hooks.onError,
  })
}

/** The writers of whom something is in a partition of the log; undefined where the log does not tell. */
export function writersOnDisk(config: Config, partition: number): ReadonlySet<string> | undefined {
  return config.log.kind === 'embedded' ? writersIn(folderOf(config, partition)) : undefined
}

/** What one of these who is gone has left. */
export function leftByWriter(config: Config, partition: number, writer: string): Promise<Left | undefined> {
  return leftBy(realFileSystem, folderOf(config, partition), writer)
}

function size(config: Config) {
  const { log, http } = config
  return sizeOf(log.retention.maxBytes / log.partitions, segmentBytesMax(http.maxBody), writersOf(config))
}

/** Where a partition's files and sockets are; made if it is not there. */
export async function logFolder(config: Config, partition: number): Promise<string> {
  const folder = folderOf(config, partition)
  await mkdir(folder, { recursive: true })
  return folder
}

function folderOf({ dataDir }: Config, partition: number): string {
  return join(dataDir, 'log', String(partition))
}
