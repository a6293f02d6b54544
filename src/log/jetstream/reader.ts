// Reads one partition of the stream.

import type { Config } from '../../config/config.ts'
import { MESSAGE_HEADER_BYTES_MAX } from '../../limits.ts'
import type { BrokerHooks, BrokerReader } from '../broker.ts'
import { History } from '../history.ts'
import { type LogEntry, LogUnavailable, type Position } from '../log.ts'
import { Segment } from '../segment.ts'
import { Link } from './connection.ts'
import { Feed, type Fetched, messageAt } from './feed.ts'
import {
  ensureStream,
  findStream,
  identityOf,
  laneOf,
  managerOf,
  type StreamIdentity,
  subjectOf,
} from './stream.ts'
import { newestStays, Trimmer } from './trim.ts'

export class JetStreamReader implements BrokerReader {
  readonly kind = 'jetstream'
  readonly #config: Config
  readonly #hooks: BrokerHooks
  readonly #link: Link
  readonly #stream: StreamIdentity
  readonly #subject: string
  readonly #trimmer: Trimmer
  readonly #closed = new AbortController()
  #history: History

  private constructor(
    config: Config,
    partition: number,
    hooks: BrokerHooks,
    link: Link,
    stream: StreamIdentity,
  ) {
    this.#config = config
    this.#hooks = hooks
    this.#link = link
    this.#stream = stream
    this.#subject = subjectOf(stream.name, partition)
    this.#history = this.#newHistory()
    this.#trimmer = new Trimmer({ link, config, subject: this.#subject, history: () => this.#history })
  }

  /** Resolves once the server is reached and the stream is as it has to be; see Link.open. */
  static async open(
    config: Config,
    partition: number,
    hooks: BrokerHooks,
    signal?: AbortSignal,
  ): Promise<JetStreamReader> {
    let stream: StreamIdentity | undefined
    const link = await Link.open(
      {
        config: config.log.jetstream,
        hooks,
        prepare: async (connection) => {
          stream ??= await ensureStream(connection, config, (text) => hooks.onNotice(text))
        },
      },
      signal,
    )
    return new JetStreamReader(config, partition, hooks, link, stream!)
  }

  lane(): Promise<string> {
    return Promise.resolve(laneOf(this.#stream))
  }

  async *read(from: Position, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const lane = laneOf(this.#stream)
    this.#history = this.#newHistory()
    let begun = false
    const over = new AbortController() // also when the reading is left without an abort
    const end = AbortSignal.any([signal, over.signal, this.#closed.signal])
    const feed = new Feed(
      {
        link: this.#link,
        stream: this.#stream,
        subject: this.#subject,
        from: from.get(lane) ?? 0,
        newestStays: this.#config.log.partitions > 1 && newestStays(this.#config),
        onLost: (first, next) => this.#hooks.onLost(lane, first, next),
        onAnew: (why) => {
          this.#history = this.#newHistory()
          this.#trimmer.reset()
          this.#hooks.onNotice(why)
        },
      },
      end,
    )
    try {
      for (;;) {
        const fetched = feed.poll() ?? (await feed.take())
        if (fetched === undefined || end.aborted) return
        const segment = this.#segmentOf(fetched, lane)
        if (segment === undefined) continue
        const next = fetched.at + 1
        if (!begun) begun = await this.#begin(fetched.at)
        this.#history.read(next, fetched.bytes.length + MESSAGE_HEADER_BYTES_MAX, performance.now())
        yield { segment, lane, next }
      }
    } finally {
      over.abort()
    }
  }

  committed(position: Position): void {
    const next = position.get(laneOf(this.#stream))
    if (next !== undefined) this.#trimmer.committed(next)
  }

  finished(): string[] {
    return []
  }

  async bounds(): Promise<{ first: number; next: number }> {
    const { connection, presence } = this.#link
    if (connection === undefined)
      throw new LogUnavailable(`JetStream is away: ${presence.reason ?? 'closed'}`)
    const manager = await managerOf(connection)
    const info = await findStream(manager, this.#stream.name)
    if (info === undefined || identityOf(info).created !== this.#stream.created) {
      throw new LogUnavailable(`the stream ${this.#stream.name} does not exist any more`)
    }
    // The stream is shared by all partitions: its own ends are those of another one.
    const { first_seq, last_seq } = info.state
    const newest = await messageAt(manager, this.#stream.name, { last_by_subj: this.#subject })
    if (newest === undefined) return { first: last_seq + 1, next: last_seq + 1 }
    const oldest = await messageAt(manager, this.#stream.name, {
      seq: first_seq,
      next_by_subj: this.#subject,
    })
    return { first: oldest?.seq ?? newest.seq, next: newest.seq + 1 }
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#trimmer.close()
    await this.#link.close()
  }

  /** Tells the history what was held before the first segment that is read. False where that cannot be known now. */
  async #begin(at: number): Promise<boolean> {
    try {
      const { first } = await this.bounds()
      const { partitions } = this.#config.log
      this.#history.begin(first, at, Math.ceil((at - first) / partitions), performance.now())
      return true
    } catch {
      return false // it is away: with the next one
    }
  }

  /** The budget is the stream's, which the partitions share. */
  #newHistory(): History {
    const { retention, partitions } = this.#config.log
    return new History({ ...retention, maxBytes: retention.maxBytes / partitions })
  }

  #segmentOf({ at, bytes }: Fetched, lane: string): Segment | undefined {
    try {
      return new Segment(bytes)
    } catch (error) {
      this.#hooks.onForeign(lane, at, (error as Error).message)
      return undefined
    }
  }
}
