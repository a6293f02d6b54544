// Reads one partition from a position of ours, whoever owns it, and trims what was committed.
//
// While the segments of one answer are handed out, the next answer is on its way, and no more: together they are what
// is read ahead.

import { MESSAGE_HEADER_BYTES_MAX } from '../../limits.ts'
import type { BrokerHooks, BrokerReader } from '../broker.ts'
import { History } from '../history.ts'
import type { LogEntry, Position } from '../log.ts'
import { Segment } from '../segment.ts'
import { Answers, Rewritten } from './answers.ts'
import type { Cluster } from './cluster.ts'
import type { KafkaLimits, Presence } from './presence.ts'
import { CODE, type Fetched, type FetchedRecord, KafkaFailure } from './protocol.ts'
import { CRC_HEADER, crcOf } from './publisher.ts'

/** Two answers are in memory at once. */
const ANSWERS = 2

export interface ReaderParts {
  cluster: Cluster
  /** For fetching, which keeps a connection busy for as long as nothing comes. */
  newCluster: () => Cluster
  presence: Presence
  limits: KafkaLimits
  hooks: BrokerHooks
  partition: number
  /** Of this partition: bytes and milliseconds. */
  retention: { maxBytes: number; maxAge: number }
}

/** Where a reading stands. */
interface Place {
  lane: string
  at: number
}

export class KafkaReader implements BrokerReader {
  readonly kind = 'kafka'
  readonly #parts: ReaderParts
  readonly #named: Promise<string>
  #settleName: (lane: string) => void = () => {}
  #lane: string | undefined
  #history: History
  #trimTo: number | undefined
  #trimmedAt = Number.NEGATIVE_INFINITY
  #trimming: Promise<void> | undefined
  #committed = 0
  readonly #closing = new AbortController()

  constructor(parts: ReaderParts) {
    this.#parts = parts
    this.#history = new History(parts.retention)
    this.#named = new Promise((resolve) => {
      this.#settleName = resolve
    })
  }

  lane(): Promise<string> {
    return this.#lane === undefined ? this.#named : Promise.resolve(this.#lane)
  }

  async bounds(): Promise<{ first: number; next: number }> {
    const { cluster, partition } = this.#parts
    try {
      await this.#name()
      const leader = await cluster.leader(partition)
      const first = await leader.offset(cluster.topic, partition, 'first')
      return { first, next: await leader.offset(cluster.topic, partition, 'next') }
    } catch (error) {
      cluster.forget()
      throw error
    }
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const cluster = this.#parts.newCluster()
    const { partition, limits } = this.#parts
    const { fetchWaitMs: waitMs, fetchBytes } = limits
    const answers = new Answers({ cluster, partition, bytesMax: fetchBytes / ANSWERS, waitMs })
    const ended = AbortSignal.any([signal, this.#closing.signal])
    const end = () => cluster.close() // ends a fetch that waits
    let begun = false
    ended.addEventListener('abort', end)
    try {
      let place = await this.#begin(from, ended)
      let ahead: Promise<Fetched> | undefined
      while (place !== undefined && !ended.aborted) {
        let fetched: Fetched
        try {
          fetched = await (ahead ?? answers.fetch(place.at))
          ahead = undefined
          this.#parts.presence.back()
        } catch (error) {
          ahead = undefined
          cluster.forget()
          const { lane, at }: Place = place
          place = await this.#recover(place, error as Error, ended)
          if (place?.lane !== lane || place.at < at) answers.forget()
          continue
        }
        if (fetched.next > place.at) {
          ahead = answers.fetch(fetched.next)
          ahead.catch(() => {}) // told when it is waited for
        }
        for (const record of fetched.records) {
          if (record.offset < place.at) continue
          place.at = record.offset + 1
          const segment = this.#segmentOf(place.lane, record)
          if (segment === undefined) continue
          if (ended.aborted) return
          if (!begun) begun = await this.#beginHistory(record.offset)
          this.#history.read(place.at, segment.bytes.length + MESSAGE_HEADER_BYTES_MAX, Date.now())
          yield { segment, lane: place.lane, next: place.at }
        }
        place.at = Math.max(place.at, fetched.next)
      }
    } finally {
      ended.removeEventListener('abort', end)
      cluster.close()
    }
  }

  committed(position: Position): void {
    const next = this.#lane === undefined ? undefined : position.get(this.#lane)
    if (next === undefined || next <= this.#committed) return
    this.#committed = next
    const now = performance.now()
    if (this.#trimming !== undefined || now - this.#trimmedAt < this.#parts.limits.trimIntervalMs) return
    this.#trimmedAt = now
    this.#trimTo = this.#history.trimTo(next, Date.now()) ?? this.#trimTo
    if (this.#trimTo !== undefined) this.#trimming = this.#trim(this.#trimTo)
  }

  finished(): string[] {
    return []
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#parts.cluster.close()
    await this.#trimming
  }

  /** Tried again after the next commit where it fails. */
  async #trim(before: number): Promise<void> {
    const { cluster, partition } = this.#parts
    try {
      await (await cluster.leader(partition)).deleteRecords(cluster.topic, partition, before)
      this.#trimTo = undefined
    } catch {
      cluster.forget()
    }
    this.#trimming = undefined
  }

  /** Tells the history what was held before the first segment that is read. False where that cannot be known now. */
  async #beginHistory(at: number): Promise<boolean> {
    try {
      const { first } = await this.bounds()
      this.#history.begin(first, at, at - first, Date.now())
      return true
    } catch {
      return false // it is away: with the next one
    }
  }

  /** Undefined where the reading ended before a broker was reached. */
  async #begin(from: Position, ended: AbortSignal): Promise<Place | undefined> {
    return this.#persist(ended, async () => {
      const lane = await this.#name()
      return { lane, at: from.get(lane) ?? (await this.bounds()).first }
    })
  }

  async #recover(place: Place, error: Error, ended: AbortSignal): Promise<Place | undefined> {
    if (ended.aborted) return undefined
    if (error instanceof Rewritten) {
      return this.#persist(ended, async () => {
        this.#parts.cluster.forget()
        const lane = await this.#name()
        const bounds = await this.bounds()
        return lane === place.lane ? this.#anew(place, error.message, bounds) : { lane, at: bounds.first }
      })
    }
    if (!(error instanceof KafkaFailure)) throw error
    if (error.kind === 'unreadable') {
      this.#parts.hooks.onForeign(place.lane, place.at, error.message)
      return { ...place, at: place.at + 1 }
    }
    if (error.code === CODE.offsetOutOfRange) {
      return this.#persist(ended, async () => this.#moved(place, await this.bounds()))
    }
    if (error.kind !== 'refused') this.#parts.presence.gone(error.message)
    await this.#parts.presence.pause(ended)
    return this.#persist(ended, async () => {
      this.#parts.cluster.forget()
      const lane = await this.#name()
      return lane === place.lane ? place : { lane, at: (await this.bounds()).first }
    })
  }

  /** What was asked for is not there: it was trimmed by someone else, or the partition has lost its end. */
  #moved(place: Place, bounds: { first: number; next: number }): Place {
    const { lane, at } = place
    const { first, next } = bounds
    if (at > next) return this.#anew(place, `ends at ${next} and we have read up to ${at}`, bounds)
    if (at < first) this.#parts.hooks.onLost(lane, at, first)
    return { lane, at: Math.max(at, first) }
  }

  /** The broker has lost what it had confirmed. What it holds since then cannot be told: the ledger skips what it has. */
  #anew({ lane }: Place, why: string, { first }: { first: number }): Place {
    const { cluster, partition, hooks, retention } = this.#parts
    hooks.onNotice(
      `partition ${partition} of ${cluster.topic} ${why}: the broker has lost what it had confirmed; all is read anew`,
    )
    this.#history = new History(retention)
    this.#committed = 0
    this.#trimTo = undefined
    return { lane, at: first }
  }

  /** Tries until it works or the reading ends. */
  async #persist<T>(ended: AbortSignal, attempt: () => Promise<T>): Promise<T | undefined> {
    const { presence, cluster } = this.#parts
    while (!ended.aborted) {
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof KafkaFailure)) throw error
        if (ended.aborted) break
        cluster.forget()
        if (error.kind !== 'refused') presence.gone(error.message)
      }
      await presence.pause(ended)
    }
    return undefined
  }

  /** The lane as of now: another one where the topic was made anew. */
  async #name(): Promise<string> {
    const { cluster } = this.#parts
    const { id } = await cluster.description()
    const lane = id === undefined ? `kafka:${cluster.topic}` : `kafka:${cluster.topic}:${id}`
    if (lane !== this.#lane) {
      this.#lane = lane
      this.#history = new History(this.#parts.retention)
      this.#committed = 0
      this.#trimTo = undefined
      this.#settleName(lane)
    }
    return lane
  }

  #segmentOf(lane: string, { offset, value, header }: FetchedRecord): Segment | undefined {
    const foreign = (reason: string) => {
      this.#parts.hooks.onForeign(lane, offset, reason)
      return undefined
    }
    if (value === null) return foreign('it is empty')
    const crc = header(CRC_HEADER)?.toString()
    if (crc !== undefined && crc !== crcOf(value)) return foreign('its checksum is wrong')
    try {
      return new Segment(value)
    } catch (error) {
      return foreign((error as Error).message)
    }
  }
}
