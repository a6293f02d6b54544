// Sends segments to all partitions, in order, and once each as far as the broker can tell.
//
// publish -> waiting -> [ a batch for each partition, a request for each leader ] -> confirmed
//
// One request at a time is on its way to a leader; what comes meanwhile waits and goes together with the next. A batch
// keeps its records and its sequence until its fate is known: sent again, the broker knows it. When its fate will never
// be known, the producer is replaced by a new one, for the broker accepts no gap in the sequences of the old one.

import { crc32 } from 'node:zlib'
import { KAFKA_BATCH_BYTES_MAX } from '../../limits.ts'
import type { Publisher } from '../broker.ts'
import { LogUnavailable, LogUnconfirmed } from '../log.ts'
import type { Segment } from '../segment.ts'
import type { Cluster } from './cluster.ts'
import type { KafkaLimits, Presence } from './presence.ts'
import { CODE, KafkaFailure, type OutgoingRecord, type ProducerIdentity, refused } from './protocol.ts'

export const ID_HEADER = 'millrace-id'
export const CRC_HEADER = 'millrace-crc'

/** How often deadlines are looked at while something waits: this part of the shorter of them. */
const TICKS = 8
/** Sequences are counted in 31 bits. */
const SEQUENCES = 2 ** 31

/** The broker lost the producer, or it lost the broker. */
const PRODUCER_BROKEN: number[] = [
  CODE.outOfOrderSequence,
  CODE.invalidProducerEpoch,
  CODE.invalidProducerMapping,
  CODE.unknownProducer,
  CODE.producerFenced,
]

/** The batch will never be taken. */
const REFUSED_FOR_GOOD: number[] = [
  CODE.messageTooLarge,
  CODE.recordListTooLarge,
  CODE.topicForbidden,
  CODE.clusterForbidden,
]

/**
 * What a broker answers only before it appends. That it does not lead the partition it also says of a batch in its log,
 * where it lost the lead while it waited for the other replicas.
 */
const NOT_APPENDED: number[] = [...PRODUCER_BROKEN, ...REFUSED_FOR_GOOD, CODE.notEnoughReplicas]

interface Entry {
  record: OutgoingRecord
  since: number
  settled: boolean
  resolve(): void
  reject(error: Error): void
}

interface Batch {
  entries: Entry[]
  bytes: number
  sequence: number
  /** It may be in the log: some request with it has had no answer that says otherwise. */
  unsure: boolean
}

/** Requests to leaders that were sent at once. */
interface Round {
  left: number
  failed: boolean
}

class Lane {
  readonly partition: number
  waiting: Entry[] = []
  batch: Batch | undefined
  sequence = 0

  constructor(partition: number) {
    this.partition = partition
  }

  get busy(): boolean {
    return this.batch !== undefined || this.waiting.length > 0
  }

  /** Makes a batch of what waits and fits; of one larger record where it may be more than fits. */
  fill(room: number, alone: boolean): void {
    let bytes = 0
    let count = 0
    for (const { record } of this.waiting) {
      if (bytes + record.value.length > room && !(alone && count === 0)) break
      bytes += record.value.length
      count++
    }
    if (count === 0) return
    const entries = this.waiting.splice(0, count)
    this.batch = { entries, bytes, sequence: this.sequence, unsure: false }
    this.sequence = (this.sequence + count) % SEQUENCES
  }

  /** Those that are told that they are not in the log must not be sent any more. */
  leaveOut(given: Entry): void {
    const { batch } = this
    if (batch === undefined) return
    batch.entries = batch.entries.filter((entry) => entry !== given)
    batch.bytes -= given.record.value.length
    this.sequence = (batch.sequence + batch.entries.length) % SEQUENCES
    if (batch.entries.length === 0) this.batch = undefined
  }

  /** A new producer counts from 0. */
  restart(): void {
    this.sequence = 0
    if (this.batch === undefined) return
    this.batch.sequence = 0
    this.sequence = this.batch.entries.length
  }
}

export class KafkaPublisher implements Publisher {
  readonly kind = 'kafka'
  readonly #cluster: Cluster
  readonly #presence: Presence
  readonly #limits: KafkaLimits
  readonly #lanes: Lane[] = []
  readonly #stop = new AbortController()
  #producer: ProducerIdentity | undefined
  /** Producers replaced since the last batch that was confirmed. */
  #replaced = 0
  #rounds = 0
  /** Entries that are neither confirmed nor given up. */
  #open = 0
  /** When something was confirmed last, or began to wait. */
  #progressAt = 0
  #ticking: NodeJS.Timeout | undefined
  #driving: Promise<void> | undefined
  #closed = false
  /** A connection was lost: whether the broker is there has to be seen. */
  #doubtful = false
  #emptied: () => void = () => {}

  constructor(parts: { cluster: Cluster; presence: Presence; limits: KafkaLimits }) {
    this.#cluster = parts.cluster
    this.#cluster.onLost = () => {
      this.#doubtful = true
      this.#driving ??= this.#drive()
    }
    this.#presence = parts.presence
    this.#limits = parts.limits
  }

  get away(): string | undefined {
    return this.#presence.away
  }

  publish(partition: number, segment: Segment): Promise<void> {
    if (this.#closed) return Promise.reject(new LogUnavailable('the log is closed'))
    if (this.away !== undefined) return Promise.reject(new LogUnavailable(`Kafka is away: ${this.away}`))
    return new Promise((resolve, reject) => {
      const since = performance.now()
      if (this.#open++ === 0) this.#progressAt = since
      const entry = { record: recordOf(segment), since, settled: false, resolve, reject }
      this.#lane(partition).waiting.push(entry)
      this.#ticking ??= setInterval(() => this.#tick(), this.#tickMs).unref()
      this.#driving ??= this.#drive()
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#open > 0) {
      await new Promise<void>((resolve) => {
        this.#emptied = resolve
      })
    }
    this.#stop.abort()
    this.#cluster.close()
    clearInterval(this.#ticking)
    await this.#driving
  }

  #lane(partition: number): Lane {
    this.#lanes[partition] ??= new Lane(partition)
    return this.#lanes[partition]
  }

  get #tickMs(): number {
    return Math.min(this.#limits.stallMs, this.#limits.confirmMs) / TICKS
  }

  /** Runs while something waits, and while the broker is or may be away: then it is what finds out that it is back. */
  async #drive(): Promise<void> {
    await undefined // what is published in the same turn goes together
    while (this.#open > 0 || this.#unsettled) {
      this.#doubtful = false
      try {
        await this.#round()
        this.#presence.back()
      } catch (error) {
        const failure = asFailure(error)
        this.#cluster.forget()
        if (failure.kind !== 'refused') this.#presence.gone(failure.message)
        await this.#presence.pause(this.#stop.signal)
      }
    }
    this.#driving = undefined
  }

  get #unsettled(): boolean {
    return (this.#doubtful || this.away !== undefined) && !this.#stop.signal.aborted
  }

  /** One request to each leader that something waits for. Throws when one of them has to be tried again. */
  async #round(): Promise<void> {
    this.#dropGivenUp()
    const requests = await this.#gather()
    if (requests.size === 0) {
      await this.#probe()
      if (this.#open === 0) return
      // What waits has no leader; the others may be written.
      this.#progressAt = performance.now()
      this.#presence.back()
      throw new KafkaFailure('refused', 'partitions without a leader')
    }
    const producer = this.#producer ?? (await this.#newProducer())
    this.#producer = producer
    const round: Round = { left: requests.size, failed: false }
    const results = await Promise.allSettled(
      [...requests].map(([node, lanes]) =>
        this.#send(node, lanes, producer, round).catch((error: unknown) => {
          round.left--
          round.failed = true
          throw error
        }),
      ),
    )
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Batches nobody waits for. What became of one that was sent is not known: its producer has to go, too. */
  #dropGivenUp(): void {
    for (const lane of this.#lanes) {
      if (!lane?.batch?.entries.every(({ settled }) => settled)) continue
      this.#producer = undefined
      lane.batch = undefined
    }
  }

  /**
   * The lanes to send, by the node that leads them; each turn another lane is first to take its share. One without a
   * leader keeps no other one waiting.
   */
  async #gather(): Promise<Map<number, Lane[]>> {
    const busy = this.#lanes.filter((lane) => lane?.busy)
    const first = this.#rounds++ % Math.max(1, busy.length)
    const requests = new Map<number, { lanes: Lane[]; room: number }>()
    const { leaders } = await this.#cluster.description()
    for (const lane of [...busy.slice(first), ...busy.slice(0, first)]) {
      const node = leaders[lane.partition]
      if (node === undefined) {
        this.#cluster.forget()
        continue
      }
      const request = requests.get(node) ?? { lanes: [], room: KAFKA_BATCH_BYTES_MAX }
      requests.set(node, request)
      if (lane.batch === undefined) lane.fill(request.room, request.lanes.length === 0)
      if (lane.batch === undefined) continue
      request.lanes.push(lane)
      request.room = Math.max(0, request.room - lane.batch.bytes)
    }
    return new Map([...requests].map(([node, { lanes }]) => [node, lanes]))
  }

  /** Throws where a leader does not answer, and where there is none at all. */
  async #probe(): Promise<void> {
    this.#cluster.forget()
    const { leaders } = await this.#cluster.description()
    const probed = new Set<number>()
    if (leaders.every((node) => node === undefined)) await this.#cluster.leaderOf(0) // throws
    for (const [partition, node] of leaders.entries()) {
      if (node === undefined || probed.has(node)) continue
      probed.add(node)
      await (await this.#cluster.node(node)).offset(this.#cluster.topic, partition, 'next')
    }
  }

  async #newProducer(): Promise<ProducerIdentity> {
    const producer = await (await this.#cluster.any()).newProducer()
    for (const lane of this.#lanes) lane?.restart()
    return producer
  }

  async #send(node: number, all: Lane[], producer: ProducerIdentity, round: Round): Promise<void> {
    const connection = await this.#cluster.node(node)
    const lanes = all.filter(({ batch }) => batch !== undefined) // some may have been given up meanwhile
    if (lanes.length === 0) {
      round.left--
      return
    }
    const batches = lanes.map(({ partition, batch }) => ({
      partition,
      sequence: batch!.sequence,
      records: batch!.entries.map(({ record }) => record),
    }))
    const sureBefore = lanes.map(({ batch }) => !batch!.unsure)
    for (const { batch } of lanes) batch!.unsure = true
    const codes = await connection.produce(this.#cluster.topic, producer, batches)
    const good = [...codes.values()].every((code) => code === CODE.none)
    // Before anyone hears that it is confirmed: who then publishes again must not find it away.
    if (good && round.left === 1 && !round.failed) this.#presence.back()
    let again: KafkaFailure | undefined
    for (const [i, lane] of lanes.entries()) {
      const code = codes.get(lane.partition) ?? CODE.unknownTopic
      if (sureBefore[i] && NOT_APPENDED.includes(code)) lane.batch!.unsure = false
      again = this.#answered(lane, code) ?? again
    }
    if (again !== undefined) throw again
    round.left--
  }

  /** Settles a batch; gives the reason where it has to be sent again. */
  #answered(lane: Lane, code: number): KafkaFailure | undefined {
    if (code === CODE.none || code === CODE.duplicateSequence) {
      this.#progressAt = performance.now()
      this.#replaced = 0
      this.#settle(lane, (entry) => entry.resolve())
      return undefined
    }
    const failure = refused(code, `partition ${lane.partition} of ${this.#cluster.topic} was not written`)
    if (REFUSED_FOR_GOOD.includes(code)) {
      const error = lane.batch!.unsure ? unconfirmed(failure.message) : unavailable(failure.message)
      this.#producer = undefined // the sequences of this batch are missing now
      this.#settle(lane, (entry) => entry.reject(error))
      return undefined
    }
    if (!PRODUCER_BROKEN.includes(code)) return failure
    this.#producer = undefined
    return this.#replaced++ === 0 ? undefined : failure
  }

  #settle(lane: Lane, settle: (entry: Entry) => void): void {
    const { entries } = lane.batch!
    lane.batch = undefined
    for (const entry of entries) this.#close(entry, settle)
  }

  #close(entry: Entry, settle: (entry: Entry) => void): void {
    if (entry.settled) return
    entry.settled = true
    settle(entry)
    if (--this.#open === 0) this.#emptied()
  }

  #tick(): void {
    const now = performance.now()
    if (this.#open === 0) {
      clearInterval(this.#ticking)
      this.#ticking = undefined
      return
    }
    if (this.away === undefined && now - this.#progressAt >= this.#limits.stallMs) {
      this.#presence.gone(`nothing was confirmed for ${this.#limits.stallMs} ms`)
    }
    for (const lane of this.#lanes) if (lane !== undefined) this.#giveUp(lane, now - this.#limits.confirmMs)
  }

  /** Those that were published before `since` are told what is known. */
  #giveUp(lane: Lane, since: number): void {
    const { batch, waiting } = lane
    const waited = `for ${this.#limits.confirmMs} ms`
    for (const entry of batch?.entries ?? []) {
      if (entry.since > since) break
      if (!batch!.unsure) lane.leaveOut(entry)
      const error = batch!.unsure
        ? unconfirmed(`Kafka has not confirmed the segment ${waited}`)
        : unavailable(`Kafka has not taken the segment ${waited}`)
      this.#close(entry, ({ reject }) => reject(error))
    }
    const late = waiting.findIndex((entry) => entry.since > since)
    for (const entry of waiting.splice(0, late < 0 ? waiting.length : late)) {
      this.#close(entry, ({ reject }) => reject(unavailable(`Kafka was busy or away ${waited}`)))
    }
  }
}

function recordOf(segment: Segment): OutgoingRecord {
  const { bytes, writer, sequence } = segment
  return {
    value: bytes,
    headers: {
      [ID_HEADER]: Buffer.from(`${writer}.${sequence}`),
      [CRC_HEADER]: Buffer.from(crcOf(bytes)),
    },
  }
}

export function crcOf(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, '0')
}

function unavailable(message: string): LogUnavailable {
  return new LogUnavailable(message)
}

function unconfirmed(message: string): LogUnconfirmed {
  return new LogUnconfirmed(message)
}

/** What is no answer of a broker is a fault of the client: the connection is made anew, as after a lost one. */
function asFailure(error: unknown): KafkaFailure {
  if (error instanceof KafkaFailure) return error
  return new KafkaFailure('away', `the client failed: ${(error as Error).message}`)
}
