// The heart: reads segments from the log, drops what the ledger has, has the pool fold the rest, merges the deltas
// in log order, and commits results, ledger and positions in one transaction.
//
//   read -> claim -> fill a batch -> pool -> merge (in order) -> commit -> flushed -> the log may trim
//
// Every stage is bounded: batches in the pool, batches merged and not yet committed, rows kept. When a stage is
// full, reading waits, the log fills, and the listeners tell their clients.

import { statfs } from 'node:fs/promises'
import type { Config } from '../config/config.ts'
import {
  COMMIT_INTERVAL_MS_BUSY,
  COMMIT_INTERVAL_MS_CALM,
  COMMIT_INTERVAL_MS_MAX,
  COMMIT_SHARE_BUSY,
  COMMIT_SHARE_CALM,
  IDLE_SHARE_MIN,
  PROGRESS_MS_MAX,
  STORE_FREE_BYTES_MIN,
  TASK_BYTES_TARGET,
  UNCOMMITTED_EFFECT_BYTES_MAX,
  UNCOMMITTED_TASKS_MAX,
  WRITER_MS_MIN,
} from '../limits.ts'
import type { LogReader, Position } from '../log/log.ts'
import { DeadLetters, type Order, type Outcome } from '../results/dead-letters.ts'
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
import type { Store, StoreBatch } from '../results/store.ts'
import { LineRate, type Logger } from '../telemetry/logger.ts'
import type { Histogram, Metrics } from '../telemetry/metrics.ts'
import { Batch, Buffers } from './batch.ts'
import { Handled } from './handled.ts'
import { Idle } from './idle.ts'
import { horizonOf, Ledger } from './ledger.ts'
import { Merged, measuresOf } from './merged.ts'
import type { Pool } from './pool.ts'
import { over, Replays } from './replays.ts'
import { putRest, putRestAt, readRest, removeRest } from './rest.ts'
import type { Done } from './runner.ts'

/** A task that is handed out so long before a commit is folded by then, milliseconds. */
const FOLD_MS = 1
/** How often producers that are idle for too long are looked for, milliseconds. */
const FORGET_INTERVAL_MS = 60_000
const SPACE_INTERVAL_MS = 250

/** Kinds of log whose writers have no end that could be seen: they are forgotten when they are this many maxAge old. */
const endless: ReadonlySet<string> = new Set(['jetstream', 'kafka', 'dual'])
const WRITER_AGES = 2

/** The least time from the start of a commit that took so long to be written to the next one's, milliseconds. */
function commitInterval(writing: number, idle: number): number {
  const wanted =
    idle < IDLE_SHARE_MIN
      ? Math.max(COMMIT_INTERVAL_MS_BUSY, writing / COMMIT_SHARE_BUSY)
      : Math.max(COMMIT_INTERVAL_MS_CALM, writing / COMMIT_SHARE_CALM)
  return Math.min(wanted, COMMIT_INTERVAL_MS_MAX)
}

function writerAgeMax({ log }: Config): number {
  return Math.max(WRITER_AGES * log.retention.maxAge, WRITER_MS_MIN)
}

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

interface Waiter {
  resolve(): void
  reject(error: Error): void
}

export class Processor {
  readonly #parts: ProcessorParts
  readonly #ledger: Ledger
  readonly #merged: Merged
  /** Undefined where there are no handlers. */
  readonly #handled: Handled | undefined
  readonly #counters: Counters
  /** Where each lane, and each writer, stands as of the last commit. */
  readonly #positions: Map<string, number>
  readonly #writers: Map<string, WriterProgress>
  readonly #buffers = new Buffers()
  #filling: Batch
  /** In log order; the first is merged next. */
  readonly #folding: Batch[] = []
  #uncommitted: Batch[] = []
  /** Of what handlers did: bytes that are merged and not in a commit yet. */
  #effectBytes = 0
  #committing = false
  /** While the next commit waits for its time. */
  #commitTimer: NodeJS.Timeout | undefined
  readonly #idle = new Idle()
  #flushing = false
  /** When the next commit may start, by performance.now(). */
  #commitDueAt = 0
  #commits = 0
  #walked = new Map<string, number>()
  /** As of the last commit. */
  #committed: Position = new Map()
  #forgotAt = 0
  #spaceSeenAt = Number.NEGATIVE_INFINITY
  #submitScheduled = false
  readonly #letters: DeadLetters
  readonly #replays: Replays
  readonly #leaving = new LineRate(1)
  readonly #dying = new LineRate(1)
  /** Dead letters that the log was told of. */
  #lettersTold: number
  /** Those who wait for what is merged to be on disk; and whether some came since the last commit began. */
  readonly #waiters = new Set<Waiter>()
  #awaited = false
  #failure: Error | undefined
  /** Called when some stage has moved. */
  #watching: (() => void)[] = []
  readonly #stop = new AbortController()
  readonly #commitSeconds: Histogram
  readonly #commitRows: Histogram
  readonly #queryable: Histogram

  constructor(parts: ProcessorParts) {
    this.#parts = parts
    const { store, config, metrics } = parts
    this.#commitSeconds = metrics.histogram('millrace_commit_seconds', {})
    this.#commitRows = metrics.histogram('millrace_commit_rows', {})
    this.#queryable = metrics.histogram('millrace_queryable_seconds', {})
    this.#ledger = new Ledger(store.ledger(), (writer) => this.#writers.get(writer)?.sequence ?? 0)
    this.#merged = new Merged(store, measuresOf(config))
    this.#counters = readCounters(store)
    this.#positions = readLanes(store)
    this.#writers = readWriters(store)
    this.#lettersTold = this.#counters.deadLetters
    this.#letters = new DeadLetters(store, parts.partition, this.#counters)
    const { plans = [] } = config
    if (plans.length > 0) this.#handled = new Handled(store, plans, this.#letters)
    this.#replays = new Replays({
      letters: this.#letters,
      isHandler: (name) => plans.some((plan) => plan.name === name),
      hasRoom: () => this.#hasRoom(),
      start: (again) => {
        const batch = this.#batch()
        batch.handleAgain(again)
        this.#fold(batch)
      },
      durable: () => this.#durable(),
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
    this.#resume()
    for await (const { segment, lane, next } of reader.read(new Map(this.#positions), this.#stop.signal)) {
      if (this.#filling.bytes > 0 && this.#filling.bytes + segment.frameBytes > TASK_BYTES_TARGET) {
        await this.#until(() => this.#hasRoom())
        this.#submit()
      }
      if (this.#failure !== undefined) break
      this.#filling.add(segment, lane, next, this.#ledger, Date.now())
      this.#submitSoon()
    }
    this.#replays.close()
    await this.#until(() => this.#hasRoom())
    this.#submit()
    await this.#until(() => this.#folding.length === 0 && this.#uncommitted.length === 0 && !this.#committing)
    await this.#until(() => !this.#flushing)
    signal.removeEventListener('abort', stop)
  }

  /** Begins with what was left of a batch that is committed in parts, as if it had just been read. */
  #resume(): void {
    const rest = readRest(this.#parts.store)
    if (rest === undefined) return
    const batch = this.#batch()
    batch.resume(rest)
    for (const [lane, next] of batch.lanes) this.#positions.set(lane, next)
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
    await this.#durable()
    return { id, outcome: 'dropped' }
  }

  /** Resolves when all that is merged so far is on disk. */
  #durable(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiters.add({ resolve, reject })
      this.#awaited = true
      this.#commitSoon()
    })
  }

  /** True when a segment of the log is counted. */
  hasCounted(writer: string, sequence: number, receivedAt: number): boolean {
    return this.#ledger.hasCounted(writer, sequence, receivedAt)
  }

  /** All of a lane below `next` is counted, though it was read elsewhere: its position moves with a commit. */
  walked(lane: string, next: number): void {
    if (next <= (this.#positions.get(lane) ?? 0)) return
    this.#walked.set(lane, next)
    this.#commitSoon() // also where nothing else comes any more
  }

  /** Records of the log that could not be read: a counter, since what they held is not to be had. */
  damaged(events: number): void {
    this.#counters.damagedEvents += events
  }

  /** Segments that the broker could not give: a counter, as above. */
  lost(segments: number): void {
    this.#counters.lostSegments += segments
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
    const wait = this.#commitDueAt - FOLD_MS - performance.now()
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
    if (this.#full || this.#uncommitted.length > 0) this.#commitSoon()
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

  #commitSoon(): void {
    const now = this.#full
    const waiting = this.#commitTimer !== undefined
    if (this.#committing && !(now && waiting)) return
    this.#committing = true
    clearTimeout(this.#commitTimer)
    this.#commitTimer = undefined
    const wait = now ? 0 : this.#commitDueAt - performance.now()
    const commit = () => {
      this.#commitTimer = undefined
      this.#commit().catch((error: Error) => this.#fail(error))
    }
    if (wait > 0) this.#commitTimer = setTimeout(commit, wait)
    else commit()
  }

  async #commit(): Promise<void> {
    const { store, epoch } = this.#parts
    await this.#space()
    const startedAt = performance.now()
    let batches: readonly Batch[] = []
    let waiters: readonly Waiter[] = []
    await store.commit(epoch, (write) => {
      batches = this.#uncommitted
      waiters = [...this.#waiters]
      const begunAt = performance.now()
      this.#commitRows.observe(this.#write(write))
      const writing = performance.now() - begunAt
      this.#commitDueAt = startedAt + commitInterval(writing, this.#idle.share(startedAt))
    })
    this.#measure(batches, startedAt)
    this.#merged.letGo()
    this.#handled?.letGo()
    this.#committed = new Map(this.#positions)
    this.#commits++
    this.#tellOldCopies()
    this.#tellLetters()
    this.#tellLeft()
    this.#committing = false
    void this.#flush()
    if (waiters.length > 0) void this.#release(waiters)
    const behind = this.#merged.behind && !this.#stop.signal.aborted // a successor sees to them too
    if (this.#uncommitted.length > 0 || this.#awaited || behind) this.#commitSoon()
    if (this.#folding.length > 0) this.#merge()
    else this.#goOn()
  }

  /** Writes what is merged by now, with what explains it. Returns how many rows that were. */
  #write(write: StoreBatch): number {
    if (this.#failure !== undefined) throw this.#failure // what is merged may be a part of a batch
    const batches = this.#uncommitted
    this.#uncommitted = []
    this.#effectBytes = 0
    this.#awaited = false
    const [first] = this.#folding
    const partly = first !== undefined && first.mergedTo > 0 ? first : undefined
    const finished = this.#parts.reader.finished()
    const moved = this.#advance(batches)
    for (const lane of finished) {
      this.#positions.delete(lane)
      partly?.lanes.delete(lane) // of a batch that was begun by an earlier process
      partly?.writers.delete(lane)
    }
    const gone = [...finished, ...this.#forget(partly)]
    for (const writer of gone) {
      this.#ledger.forgetWriter(writer)
      this.#writers.delete(writer)
      moved.lanes.delete(writer)
      moved.writers.delete(writer)
    }
    const rows = this.#merged.write(write)
    this.#handled?.write(write)
    this.#ledger.count(
      [...batches, ...(partly === undefined ? [] : [partly])].map((batch) => batch.takeClaims()),
      write,
    )
    if (batches.some(({ inParts }) => inParts)) removeRest(write)
    if (partly !== undefined) putPart(partly, write)
    for (const lane of moved.lanes) putLane(write, lane, this.#positions.get(lane)!)
    for (const writer of moved.writers) putWriter(write, writer, this.#writers.get(writer)!)
    for (const lane of finished) removeLane(write, lane)
    for (const writer of gone) removeWriter(write, writer)
    this.#letters.write(write)
    putCounters(write, this.#counters)
    return rows
  }

  /** Moves positions and counters to where they stand after these batches. Returns what has moved. */
  #advance(batches: readonly Batch[]): { lanes: Set<string>; writers: Set<string> } {
    const lanes = new Set<string>(this.#walked.keys())
    const writers = new Set<string>()
    for (const [lane, next] of this.#walked) this.#positions.set(lane, next)
    this.#walked.clear()
    for (const batch of batches) {
      this.#account(batch)
      for (const [lane, next] of batch.lanes) {
        this.#positions.set(lane, next)
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

  #account(batch: Batch): void {
    const counters = this.#counters
    counters.events += batch.events
    counters.bodies += batch.bodies
    counters.duplicateEvents += batch.duplicateEvents
    counters.duplicateBodies += batch.duplicateBodies
    counters.redeliveredEvents += batch.redeliveredEvents
    counters.lastReceivedAt = Math.max(counters.lastReceivedAt, batch.lastReceivedAt)
  }

  /** These are committed. */
  #measure(batches: readonly Batch[], startedAt: number): void {
    this.#commitSeconds.observe((performance.now() - startedAt) / 1000)
    const now = Date.now()
    for (const { received } of batches) {
      for (let i = 0; i < received.length; i += 2) {
        const ms = Math.max(0, now - received[i]) // another process's clock
        this.#queryable.observeTimes(ms / 1000, received[i + 1])
      }
    }
  }

  /** The log may let go only of what is flushed: a power cut takes the store back to there. */
  async #flush(): Promise<void> {
    if (this.#flushing) return
    this.#flushing = true
    try {
      for (let told = 0; told !== this.#commits; ) {
        told = this.#commits
        const position = this.#committed
        await this.#parts.store.flushed()
        this.#parts.reader.committed(position)
      }
    } catch (error) {
      this.#fail(error as Error)
    }
    this.#flushing = false
    this.#tell()
  }

  /** These waited for the commit that was called last. */
  async #release(waiters: readonly Waiter[]): Promise<void> {
    try {
      await this.#parts.store.flushed()
    } catch {
      return // whoever waits is told of the failure
    }
    for (const waiter of waiters) {
      this.#waiters.delete(waiter)
      waiter.resolve()
    }
  }

  /**
   * Has the ledger forget idle producers. Returns the writers that it may forget too. `partly`: the batch that is committed in
   * parts; its segments are counted with the first part, and its writers are brought forward with the last.
   */
  #forget(partly: Batch | undefined): string[] {
    const now = Date.now()
    if (now - this.#forgotAt < FORGET_INTERVAL_MS && !this.#ledger.overfull) return []
    this.#forgotAt = now
    const { config, reader } = this.#parts
    this.#ledger.forgetProducers(now - config.ledger.producerIdle)
    if (!endless.has(reader.kind)) return []
    // By the time of what was read, not by the clock: a backlog may be as old as it likes.
    const newest = Math.min(this.#counters.lastReceivedAt, now) // a listener's clock may have been wrong
    const horizon = horizonOf(newest, writerAgeMax(config), reader.readUpTo?.() ?? newest)
    const old = [...this.#writers].filter(
      ([writer, { receivedAt }]) => receivedAt < horizon && partly?.writers.has(writer) !== true,
    )
    if (old.length > 0) this.#ledger.raiseHorizon(horizon)
    for (const [writer] of old) this.#ledger.forgetWriter(writer)
    // How far it came stays for longer: its listener may be idle and alive.
    return old.filter(([, { receivedAt }]) => receivedAt < newest - PROGRESS_MS_MAX).map(([writer]) => writer)
  }

  /** Once for each run of commits that met some: what was received so long ago should have been read long ago. */
  #tellOldCopies(): void {
    const { behindHorizon } = this.#ledger
    if (behindHorizon === 0) return
    this.#ledger.behindHorizon = 0
    this.#parts.logger.error(
      { segments: behindHorizon },
      'segments from before all that the ledger remembers were taken for old copies: check the clocks of the listeners',
    )
  }

  /** How many there are since the last line, and the newest of them; why is told by the letter, which may quote its event. */
  #tellLetters(): void {
    const { newest } = this.#letters
    if (newest === undefined || this.#dying.next(Date.now()) === undefined) return
    const { deadLetters } = this.#counters
    const events = deadLetters - this.#lettersTold
    this.#lettersTold = deadLetters
    this.#letters.newest = undefined
    const { id, handler, correlationId } = newest
    this.#parts.logger.warn(
      { partition: this.#parts.partition, events, id, handler, correlationId },
      'events became dead letters: millrace dlq show says why',
    )
  }

  #tellLeft(): void {
    const { left } = this.#letters
    if (left === 0 || this.#leaving.next(Date.now()) === undefined) return
    this.#letters.left = 0
    this.#parts.logger.error(
      { partition: this.#parts.partition, left, kept: this.#letters.size },
      'there are more dead letters than are kept: the oldest have left for good',
    )
  }

  /** Waits while the disk is too full to write the store. */
  async #space(): Promise<void> {
    const { config, logger } = this.#parts
    if (performance.now() - this.#spaceSeenAt < SPACE_INTERVAL_MS) return
    for (let told = false; ; told = true) {
      const { bavail, bsize } = await statfs(config.dataDir)
      this.#spaceSeenAt = performance.now()
      if (bavail * bsize >= STORE_FREE_BYTES_MIN) return
      if (!told) logger.error({ free: bavail * bsize }, 'the disk is full: commits wait until there is room')
      await new Promise((resolve) => setTimeout(resolve, SPACE_INTERVAL_MS))
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#stop.abort()
    this.#replays.fail()
    for (const { reject } of this.#waiters) reject(error)
    this.#waiters.clear()
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
