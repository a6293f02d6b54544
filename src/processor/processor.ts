// The heart: reads segments from the log, drops what the ledger has, has the pool fold the rest, merges the deltas
// in log order, and commits results, ledger and positions in one transaction.
//
//   read -> claim -> fill a batch -> pool -> merge (in order) -> commit -> flushed -> the log may trim
//
// Every stage is bounded: batches in the pool, batches merged and not yet committed, rows kept. When a stage is
// full, reading waits, the log fills, and the listeners tell their clients.

import type { Config } from '../config/config.ts'
import { TASK_BYTES_TARGET, UNCOMMITTED_EFFECT_BYTES_MAX, UNCOMMITTED_TASKS_MAX } from '../limits.ts'
import type { LogReader, Position } from '../log/log.ts'
import { DeadLetters, type Order, type Outcome } from '../results/dead-letters.ts'
import type { Store } from '../results/store.ts'
import type { StoreBatch } from '../results/writes.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Histogram, Metrics } from '../telemetry/metrics.ts'
import { Accounts } from './accounts.ts'
import { Batch, Buffers } from './batch.ts'
import { Commits } from './commits.ts'
import { Handled } from './handled.ts'
import { LetterLines } from './letter-lines.ts'
import { Merged, measuresOf } from './merged.ts'
import type { Pool } from './pool.ts'
import { over, Replays } from './replays.ts'
import { putRest, putRestAt, readRest, removeRest } from './rest.ts'
import type { Done } from './runner.ts'

/** A task that is handed out so long before a commit is folded by then, milliseconds. */
const FOLD_MS = 1

export interface ProcessorParts {
  config: Config
  reader: LogReader
  /** Opened for writing. */
  store: Store
  partition: number
  /** Of the ownership that was taken: a commit under an older one is refused. */
  epoch: number
  pool: Pool
  logger: Logger
  metrics: Metrics
}

export class Processor {
  readonly #parts: ProcessorParts
  readonly #accounts: Accounts
  readonly #merged: Merged
  /** Undefined where there are no handlers. */
  readonly #handled: Handled | undefined
  readonly #buffers = new Buffers()
  #filling: Batch
  /** In log order; the first is merged next. */
  readonly #folding: Batch[] = []
  #uncommitted: Batch[] = []
  /** In the commit that is being made. */
  #written: readonly Batch[] = []
  /** Of what handlers did: bytes that are merged and not in a commit yet. */
  #effectBytes = 0
  readonly #commits: Commits
  #submitScheduled = false
  readonly #letters: DeadLetters
  readonly #replays: Replays
  readonly #letterLines: LetterLines
  #failure: Error | undefined
  /** Called when some stage has moved. */
  #watching: (() => void)[] = []
  readonly #stop = new AbortController()
  readonly #queryable: Histogram

  constructor(parts: ProcessorParts) {
    this.#parts = parts
    const { store, config, metrics, logger, partition } = parts
    this.#queryable = metrics.histogram('millrace_queryable_seconds', {})
    this.#accounts = new Accounts(parts)
    this.#merged = new Merged(store, measuresOf(config))
    const { counters } = this.#accounts
    this.#letters = new DeadLetters(store, partition, counters)
    this.#letterLines = new LetterLines(this.#letters, counters, logger, partition)
    const { plans = [] } = config
    if (plans.length > 0) this.#handled = new Handled(store, plans, this.#letters)
    this.#commits = new Commits({
      store,
      epoch: parts.epoch,
      folder: config.dataDir,
      logger,
      metrics,
      write: (write) => this.#write(write),
      isFull: () => this.#full,
      hasMore: () => this.#hasMore,
      committed: () => this.#committed(),
      flushed: (position) => parts.reader.committed(position),
      moved: () => this.#moved(),
      tell: () => this.#tell(),
      failed: (error) => this.#fail(error),
    })
    this.#replays = new Replays({
      letters: this.#letters,
      isHandler: (name) => plans.some((plan) => plan.name === name),
      hasRoom: () => this.#hasRoom(),
      start: (again) => {
        const batch = this.#batch()
        batch.handleAgain(again)
        this.#fold(batch)
      },
      durable: () => this.#commits.durable(),
    })
    this.#filling = this.#batch()
  }

  /** An empty one. Where there are handlers, its frames last until it is merged. */
  #batch(): Batch {
    return new Batch(this.#buffers.take(), this.#handled === undefined ? undefined : this.#buffers.take())
  }

  /**
   * Processes until the signal is aborted; then finishes what was read, and resolves when that is durable.
   * Rejects when something broke that only a fresh start can mend; nothing is lost then.
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#stop.abort()
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    const { reader } = this.#parts
    const { positions, ledger } = this.#accounts
    this.#resume()
    for await (const { segment, lane, next } of reader.read(new Map(positions), this.#stop.signal)) {
      if (this.#filling.bytes > 0 && this.#filling.bytes + segment.frameBytes > TASK_BYTES_TARGET) {
        await this.#until(() => this.#hasRoom())
        this.#submit()
      }
      if (this.#failure !== undefined) break
      this.#filling.add(segment, lane, next, ledger, Date.now())
      this.#submitSoon()
    }
    this.#replays.close()
    await this.#until(() => this.#hasRoom())
    this.#submit()
    const commits = this.#commits
    await this.#until(
      () => this.#folding.length === 0 && this.#uncommitted.length === 0 && !commits.committing,
    )
    await this.#until(() => !commits.flushing)
    signal.removeEventListener('abort', stop)
  }

  /** Begins with what was left of a batch that is committed in parts, as if it had just been read. */
  #resume(): void {
    const rest = readRest(this.#parts.store)
    if (rest === undefined) return
    const batch = this.#batch()
    batch.resume(rest)
    for (const [lane, next] of batch.lanes) this.#accounts.positions.set(lane, next)
    this.#fold(batch)
  }

  /** Replays or drops dead letters. Resolves when what became of them is on disk. */
  letters({ act, ids }: Order): Promise<Outcome[]> {
    const one = (id: string) => (act === 'replay' ? this.#replays.replay(id) : this.#drop(id))
    return Promise.all(ids.map((id) => one(id).catch(() => over(id))))
  }

  async #drop(id: string): Promise<Outcome> {
    if (this.#stop.signal.aborted) return over(id)
    if (!this.#letters.remove(id, 'dropped')) return { id, outcome: 'unknown' }
    await this.#commits.durable()
    return { id, outcome: 'dropped' }
  }

  /** True when a segment of the log is counted. */
  hasCounted(writer: string, sequence: number, receivedAt: number): boolean {
    return this.#accounts.ledger.hasCounted(writer, sequence, receivedAt)
  }

  /** All of a lane below `next` is counted, though it was read elsewhere: its position moves with a commit. */
  walked(lane: string, next: number): void {
    if (this.#accounts.walked(lane, next)) this.#commits.soon() // also where nothing else comes any more
  }

  /** Records of the log that could not be read: a counter, since what they held is not to be had. */
  damaged(events: number): void {
    this.#accounts.counters.damagedEvents += events
  }

  /** Segments that the broker could not give: a counter, as above. */
  lost(segments: number): void {
    this.#accounts.counters.lostSegments += segments
  }

  #hasRoom(): boolean {
    return (
      this.#folding.length < this.#parts.pool.tasksMax &&
      this.#uncommitted.length < UNCOMMITTED_TASKS_MAX &&
      !this.#merged.full
    )
  }

  /**
   * Hands out what has come in time for the next commit: at the end of this turn of the event loop where one is due, so
   * that a lone event does not wait for company, and otherwise shortly before. Few large tasks cost less than many small
   * ones: each has a row for every key that it met, to be merged here.
   */
  #submitSoon(): void {
    if (this.#submitScheduled || this.#filling.empty || !this.#hasRoom()) return
    this.#submitScheduled = true
    const wait = this.#commits.dueAt - FOLD_MS - performance.now()
    const submit = () => {
      this.#submitScheduled = false
      if (this.#hasRoom()) this.#submit()
    }
    if (wait > 0) setTimeout(submit, wait)
    else setImmediate(submit)
  }

  #submit(): void {
    const batch = this.#filling
    if (batch.empty || this.#failure !== undefined) return
    this.#filling = this.#batch()
    this.#fold(batch)
  }

  #fold(batch: Batch): void {
    this.#folding.push(batch)
    if (batch.bytes === 0) {
      batch.folded = true
      this.#merge()
      return
    }
    this.#run(batch).catch((error: Error) => this.#fail(error))
  }

  /** Has the pool fold a batch. Where that comes in parts, each is merged before the next one is begun. */
  async #run(batch: Batch): Promise<void> {
    for await (const done of this.#parts.pool.run(batch.task())) {
      batch.folds(done)
      this.#merge()
      if (batch.folded) break
      await this.#until(() => batch.done.length === 0)
    }
  }

  #merge(): void {
    const folding = this.#folding
    while (folding.length > 0) {
      const batch = folding[0]
      while (batch.done.length > 0 && this.#effectBytes < UNCOMMITTED_EFFECT_BYTES_MAX) {
        const done = batch.done.shift()!
        if (batch.again?.counts(done) !== false) this.#mergePart(batch, done)
      }
      if (batch.done.length > 0 || !batch.folded) break
      folding.shift()
      this.#buffers.giveAll(batch)
      this.#uncommitted.push(batch)
    }
    if (this.#full || this.#uncommitted.length > 0) this.#commits.soon()
    this.#goOn()
  }

  #mergePart(batch: Batch, done: Done): void {
    const { delta = batch.room, effects, to } = done
    const bytes = this.#merged.merge(delta)
    batch.mergedTo = to
    if (effects === undefined) return
    this.#handled?.merge(effects, batch)
    this.#effectBytes += bytes + effects.results.length
  }

  /** Something has moved: there may be room. */
  #goOn(): void {
    this.#replays.begin()
    this.#submitSoon()
    this.#tell()
  }

  /** More is merged than may wait for its time. */
  get #full(): boolean {
    return (
      this.#effectBytes >= UNCOMMITTED_EFFECT_BYTES_MAX ||
      this.#uncommitted.length >= UNCOMMITTED_TASKS_MAX ||
      this.#merged.full
    )
  }

  /** Something is to be committed, also where nothing comes any more. */
  get #hasMore(): boolean {
    const behind = this.#merged.behind && !this.#stop.signal.aborted // a successor sees to them too
    return this.#uncommitted.length > 0 || behind
  }

  /** Writes what is merged by now, with what explains it. Returns how many rows that were. */
  #write(write: StoreBatch): number {
    if (this.#failure !== undefined) throw this.#failure // what is merged may be a part of a batch
    const batches = this.#uncommitted
    this.#uncommitted = []
    this.#written = batches
    this.#effectBytes = 0
    const [first] = this.#folding
    const partly = first !== undefined && first.mergedTo > 0 ? first : undefined
    const rows = this.#merged.write(write)
    this.#handled?.write(write)
    this.#letters.write(write)
    this.#accounts.write(write, batches, partly)
    if (batches.some(({ inParts }) => inParts)) removeRest(write)
    if (partly !== undefined) putPart(partly, write)
    return rows
  }

  /** What was written can be queried. Returns up to where it accounts for the log. */
  #committed(): Position {
    this.#measure(this.#written)
    this.#written = []
    this.#merged.letGo()
    this.#handled?.letGo()
    this.#accounts.tellOldCopies()
    this.#letterLines.tell()
    return new Map(this.#accounts.positions)
  }

  #measure(batches: readonly Batch[]): void {
    const now = Date.now()
    for (const { received } of batches) {
      for (let i = 0; i < received.length; i += 2) {
        const ms = Math.max(0, now - received[i]) // another process's clock
        this.#queryable.observeTimes(ms / 1000, received[i + 1])
      }
    }
  }

  /** There is room where something waited for a commit. */
  #moved(): void {
    if (this.#folding.length > 0) this.#merge()
    else this.#goOn()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#stop.abort()
    this.#replays.fail()
    this.#commits.fail(error)
    this.#tell()
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#failure !== undefined) throw this.#failure
      await new Promise<void>((resolve) => this.#watching.push(resolve))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  #tell(): void {
    if (this.#watching.length === 0) return
    for (const watching of this.#watching.splice(0)) watching()
  }
}

/** How far a batch is merged that is not yet, and once the rest of it. */
function putPart(batch: Batch, write: StoreBatch): void {
  if (!batch.inParts) putRest(write, batch.about(), new Uint8Array(batch.frames, 0, batch.bytes))
  putRestAt(write, batch.mergedTo)
  batch.inParts = true
}
