// What the results stand for: how far each lane is read, and each writer come, which segments and bodies are counted
// (ledger.ts), and how many there were. It goes into every commit beside the rows, so that both are true of one moment.

import type { Config } from '../config/config.ts'
import { PROGRESS_MS_MAX, WRITER_MS_MIN } from '../limits.ts'
import type { LogReader } from '../log/log.ts'
import {
  type Counters,
  putCounters,
  putLane,
  putWriter,
  readCounters,
  readLanes,
  readWriters,
  removeLane,
  removeWriter,
  type WriterProgress,
} from '../results/progress.ts'
import type { Store } from '../results/store.ts'
import type { StoreBatch } from '../results/writes.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Batch } from './batch.ts'
import { horizonOf, Ledger } from './ledger.ts'

/** How often producers that are idle for too long are looked for, milliseconds. */
const FORGET_INTERVAL_MS = 60_000

/** Kinds of log whose writers have no end that could be seen: they are forgotten when they are this many maxAge old. */
const endless: ReadonlySet<string> = new Set(['jetstream', 'kafka', 'dual'])
const WRITER_AGES = 2

export interface AccountsParts {
  config: Config
  reader: LogReader
  store: Store
  logger: Logger
}

/** What has moved since the last commit. */
interface Moved {
  lanes: Set<string>
  writers: Set<string>
}

export class Accounts {
  readonly #parts: AccountsParts
  readonly ledger: Ledger
  readonly counters: Counters
  /** The number from which to read each lane on, as of the last commit. */
  readonly positions: Map<string, number>
  readonly #writers: Map<string, WriterProgress>
  /** Of lanes that were read elsewhere: they move with the next commit. */
  readonly #walked = new Map<string, number>()
  #forgotAt = 0

  constructor(parts: AccountsParts) {
    this.#parts = parts
    const { store } = parts
    this.ledger = new Ledger(store.ledger(), (writer) => this.#writers.get(writer)?.sequence ?? 0)
    this.counters = readCounters(store)
    this.positions = readLanes(store)
    this.#writers = readWriters(store)
  }

  /** All of a lane below `next` is counted, though it was read elsewhere. False where that is known. */
  walked(lane: string, next: number): boolean {
    if (next <= (this.positions.get(lane) ?? 0)) return false
    this.#walked.set(lane, next)
    return true
  }

  /**
   * Accounts for these batches, and puts where that comes to into a commit. `partly`: the batch that is committed in parts;
   * its segments are counted with the first part, and its lanes and writers are brought forward with the last.
   */
  write(write: StoreBatch, batches: readonly Batch[], partly: Batch | undefined): void {
    const { ledger, positions, counters } = this
    const writers = this.#writers
    const finished = this.#parts.reader.finished()
    const moved = this.#advance(batches)
    for (const lane of finished) {
      positions.delete(lane)
      partly?.lanes.delete(lane) // of a batch that was begun by an earlier process
      partly?.writers.delete(lane)
    }
    const gone = [...finished, ...this.#forget(partly)]
    for (const writer of gone) {
      ledger.forgetWriter(writer)
      writers.delete(writer)
      moved.lanes.delete(writer)
      moved.writers.delete(writer)
    }
    const counted = partly === undefined ? batches : [...batches, partly]
    ledger.count(
      counted.map((batch) => batch.takeClaims()),
      write,
    )
    for (const lane of moved.lanes) putLane(write, lane, positions.get(lane)!)
    for (const writer of moved.writers) putWriter(write, writer, writers.get(writer)!)
    for (const lane of finished) removeLane(write, lane)
    for (const writer of gone) removeWriter(write, writer)
    putCounters(write, counters)
  }

  /** Moves positions and counters to where they stand after these batches. */
  #advance(batches: readonly Batch[]): Moved {
    const lanes = new Set<string>(this.#walked.keys())
    const writers = new Set<string>()
    for (const [lane, next] of this.#walked) this.positions.set(lane, next)
    this.#walked.clear()
    for (const batch of batches) {
      this.#count(batch)
      for (const [lane, next] of batch.lanes) {
        this.positions.set(lane, next)
        lanes.add(lane)
      }
      for (const [writer, progress] of batch.writers) {
        if ((this.#writers.get(writer)?.sequence ?? 0) > progress.sequence) continue // one that came late
        this.#writers.set(writer, progress)
        writers.add(writer)
      }
    }
    return { lanes, writers }
  }

  #count(batch: Batch): void {
    const { counters } = this
    counters.events += batch.events
    counters.bodies += batch.bodies
    counters.duplicateEvents += batch.duplicateEvents
    counters.duplicateBodies += batch.duplicateBodies
    counters.redeliveredEvents += batch.redeliveredEvents
    counters.lastReceivedAt = Math.max(counters.lastReceivedAt, batch.lastReceivedAt)
  }

  /** Has the ledger forget idle producers. Returns the writers that it may forget too. */
  #forget(partly: Batch | undefined): string[] {
    const { ledger } = this
    const now = Date.now()
    if (now - this.#forgotAt < FORGET_INTERVAL_MS && !ledger.overfull) return []
    this.#forgotAt = now
    const { config, reader } = this.#parts
    ledger.forgetProducers(now - config.ledger.producerIdle)
    if (!endless.has(reader.kind)) return []
    // By the time of what was read, not by the clock: a backlog may be as old as it likes.
    const newest = Math.min(this.counters.lastReceivedAt, now) // a listener's clock may have been wrong
    const horizon = horizonOf(newest, writerAgeMax(config), reader.readUpTo?.() ?? newest)
    const old = [...this.#writers].filter(
      ([writer, { receivedAt }]) => receivedAt < horizon && partly?.writers.has(writer) !== true,
    )
    if (old.length > 0) ledger.raiseHorizon(horizon)
    for (const [writer] of old) ledger.forgetWriter(writer)
    // How far it came stays for longer: its listener may be idle and alive.
    return old.filter(([, { receivedAt }]) => receivedAt < newest - PROGRESS_MS_MAX).map(([writer]) => writer)
  }

  /** Once for each run of commits that met some: what was received so long ago should have been read long ago. */
  tellOldCopies(): void {
    const { behindHorizon } = this.ledger
    if (behindHorizon === 0) return
    this.ledger.behindHorizon = 0
    this.#parts.logger.error(
      { segments: behindHorizon },
      'segments from before all that the ledger remembers were taken for old copies: check the clocks of the listeners',
    )
  }
}

function writerAgeMax({ log }: Config): number {
  return Math.max(WRITER_AGES * log.retention.maxAge, WRITER_MS_MIN)
}
