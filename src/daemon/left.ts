// What writers that are gone have left in the embedded log, read into the lanes: of the daemons before this one when it
// starts, and of a listener or the gateway when it ends. One after another, in small reads.

import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import { LANES_GONE_MAX, ORPHAN_MS_MAX } from '../limits.ts'
import { leftByWriter, writersOnDisk } from '../log/open.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Lanes } from './lanes.ts'

export class LeftInLog {
  readonly #config: Config
  readonly #lanes: Lanes
  readonly #logger: Logger
  /** Writers who were gone when they were read: nothing more comes of them. */
  readonly #gone = new Set<string>()
  #reading: Promise<void> = Promise.resolve()
  /** No other daemon has writers in the log. */
  #alone = false
  #closed = false

  constructor(config: Config, lanes: Lanes, logger: Logger) {
    this.#config = config
    this.#lanes = lanes
    this.#logger = logger
  }

  /**
   * To be called before this daemon's own workers write, where no other one has the data directory: reads what those before it
   * have left.
   */
  begin(): void {
    this.#alone = true
    this.#read()
    // Workers of a primary that was killed may go on for a moment: what they wrote since is read when they are gone, too.
    const again = setTimeout(() => {
      this.#gone.clear()
      this.#read()
    }, ORPHAN_MS_MAX)
    again.unref()
  }

  /** A process has ended, and may be heard of until what this returns is called. */
  ending(): () => void {
    let heard!: () => void
    const all = new Promise<void>((resolve) => {
      heard = resolve
    })
    this.#reading = this.#reading.then(() => all)
    return heard
  }

  /** A process is over that had these lanes, as far as is known. */
  ended(writers: readonly string[]): void {
    if (writers.length === 0) this.#gone.clear() // it may be among them: read before it had told of itself
    for (const writer of writers) this.#gone.delete(writer)
    this.#read(this.#alone ? undefined : new Set(writers))
  }

  /** Resolves when all that was asked for is read, or after so many milliseconds. */
  async settled(ms: number): Promise<void> {
    // A timer that is not counted would let a process end here that has nothing else to do.
    const read = new AbortController()
    await Promise.race([this.#reading, wait(ms, undefined, { signal: read.signal }).catch(() => {})])
    read.abort()
  }

  /** What is being read is read, and no more. */
  close(): void {
    this.#closed = true
  }

  /** Of these, or of all who are not known to live and were not read since they are gone. */
  #read(only?: ReadonlySet<string>): void {
    this.#reading = this.#reading.then(() => this.#readLanes(only))
  }

  async #readLanes(only: ReadonlySet<string> | undefined): Promise<void> {
    for (let partition = 0; partition < this.#config.log.partitions; partition++) {
      for (const writer of writersOnDisk(this.#config, partition) ?? []) {
        if (this.#closed) return
        if (this.#gone.has(writer) || this.#lanes.lives(writer) || only?.has(writer) === false) continue
        await this.#readOne(partition, writer)
      }
    }
  }

  async #readOne(partition: number, writer: string): Promise<void> {
    try {
      const left = await leftByWriter(this.#config, partition, writer)
      if (left !== undefined) this.#lanes.left(partition, writer, left)
      this.#gone.add(writer)
      for (const oldest of this.#gone) {
        if (this.#gone.size <= LANES_GONE_MAX) break
        this.#gone.delete(oldest)
      }
    } catch (error) {
      this.#logger.warn({ partition, writer, err: error }, 'what waits in the log cannot be told')
    }
  }
}
