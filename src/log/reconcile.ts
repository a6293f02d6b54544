// Compares the two logs of a dual log, segment by segment, and copies into each what it lacks.
//
// A partition is compared in up to three steps, while the daemon may be running:
//
//   1. The ends of both logs are noted, and each log is read up to there: which identities, with which checksums.
//   2. Of what only one of them has, the other one may have got some since: it was on its way. So the other log is
//      read on past its noted end, for as long as a segment can take.
//   3. The log is read again for what is still only there: it was counted or not, it was trimmed on purpose or is
//      lacking, and it is copied.
//
// Nothing is ever removed or changed, and a copy has the identity of its original: a reader that meets both counts
// one. So an interrupted run leaves nothing to repair, and another one goes on where it ended.

import {
  CONFIRM_MS_MAX,
  RECONCILE_COPY_BYTES_MAX,
  RECONCILE_LISTED_MAX,
  RECONCILE_QUIET_MS_MAX,
  RECONCILE_RECENT_MS,
  RECONCILE_SEGMENTS_MAX,
  STALL_MS_MAX,
} from '../limits.ts'
import type { BrokerReader, Publisher } from './broker.ts'
import { checksumOf, Identities, State, TooManySegments, type WriterIdentities } from './dual/identities.ts'
import type { LogEntry, Position } from './log.ts'
import { Segment } from './segment.ts'

/** How often a reading that brings nothing is asked whether there is still something to come, milliseconds. */
const WATCH_INTERVAL_MS = 200
/** How brokers number the first segment of a log: where it is still held, nothing was trimmed. */
const FIRST_NUMBERS: Record<BrokerKind, number> = { jetstream: 1, kafka: 0 }

export type BrokerKind = Publisher['kind']

export interface Amount {
  segments: number
  events: number
}

/** `held` is the sum of `equal`, `different`, `duplicates`, `counted`, `missing` and `trimmed`. */
export interface LogReport {
  /** What was looked at: up to the end noted at the start, and what of the other log's was found beyond it. */
  held: Amount
  /** With the same bytes in the other log. */
  equal: Amount
  /** With the same identity and other bytes there. */
  different: Amount
  /** Identities that were in this log before. */
  duplicates: Amount
  /** Only here, and in the results, or taken for it. */
  counted: Amount
  /** Of `counted`: older than what the results remember, so that nobody can tell. */
  forgotten: Amount
  /** Only here, and not in the results yet. */
  missing: Amount
  /** Only here, in the results, and older than what the other log, which was trimmed, still holds. */
  trimmed: Amount
  /** Of `counted` and `missing`: copied into the other log by this run. */
  copied: Amount
}

export type Comparison = Record<BrokerKind, LogReport>

/** One identity with two contents. */
export interface Difference {
  partition: number
  writer: string
  sequence: number
  /** CRC-32 of the segment's bytes. */
  checksums: Record<BrokerKind, number>
}

/** Numbers at the end of a log of which it gives no segment: damaged, or something else. */
export interface Unread {
  partition: number
  log: BrokerKind
  /** Both included. */
  from: number
  to: number
}

export interface ReconcileReport {
  partitions: Comparison[]
  total: Comparison
  unread: Unread[]
  /** The first few of each partition. */
  differences: Difference[]
}

/** `forgotten`: too old to tell; taken for counted. */
export type Counted = (writer: string, sequence: number, receivedAt: number) => boolean | 'forgotten'

export interface ReconcileParts {
  partitions: number
  openReader(kind: BrokerKind, partition: number): Promise<BrokerReader>
  /** Called only when there is something to copy into it. */
  openPublisher(kind: BrokerKind): Promise<Publisher>
  /** Resolves with what tells whether the results have a segment; called when there is one that only one log has. */
  openLedger(partition: number): Promise<Counted>
  apply: boolean
  signal: AbortSignal
  segmentsMax?: number
  /** How long a segment may be on its way, milliseconds. */
  onTheWayMs?: number
  /** When a broker that answers gives nothing for so long, there is nothing more to come, milliseconds. */
  quietMsMax?: number
}

/** It could not be done, or not all of it; what was copied stays. Says how far it came and what to do. */
export class ReconcileStopped extends Error {
  override name = 'ReconcileStopped'
}

/** Throws ReconcileStopped, and what opening a reader or a publisher throws. */
export async function reconcile(parts: ReconcileParts): Promise<ReconcileReport> {
  const copiers = new Map<BrokerKind, Copier>()
  const copierFor = async (kind: BrokerKind) => {
    const copier = copiers.get(kind) ?? new Copier(await parts.openPublisher(kind))
    copiers.set(kind, copier)
    return copier
  }
  const report: ReconcileReport = { partitions: [], total: emptyComparison(), unread: [], differences: [] }
  try {
    for (let partition = 0; partition < parts.partitions; partition++) {
      const compared = await new Partition(parts, partition, copierFor).run()
      report.partitions.push(compared.comparison)
      report.unread.push(...compared.unread)
      report.differences.push(...compared.differences)
      add(report.total, compared.comparison)
    }
  } finally {
    for (const copier of copiers.values()) await copier.close()
  }
  return report
}

/** What one log has alone and the other one could get. */
export function lackedByOther({ counted, missing, copied }: LogReport): Amount {
  return {
    segments: counted.segments + missing.segments - copied.segments,
    events: counted.events + missing.events - copied.events,
  }
}

/** One log of the partition that is compared. */
interface Side {
  kind: BrokerKind
  reader: BrokerReader
  first: number
  /** The number after its last segment, as of the start. */
  end: number
  identities: Identities
  /**
   * When the oldest segment that it holds was received, Unix milliseconds: what is older may have been trimmed.
   * Undefined where nothing was, and where it is empty: it may be new.
   */
  oldest: number | undefined
  /** Segments that only it has: all, and those that may be on their way to the other one. */
  alone: number
  recent: number
  report: LogReport
}

class Partition {
  readonly comparison = emptyComparison()
  readonly differences: Difference[] = []
  readonly unread: Unread[] = []
  readonly #parts: ReconcileParts
  readonly #partition: number
  readonly #copierFor: (kind: BrokerKind) => Promise<Copier>
  /** Unix milliseconds. */
  #begunAt = 0

  constructor(parts: ReconcileParts, partition: number, copierFor: (kind: BrokerKind) => Promise<Copier>) {
    this.#parts = parts
    this.#partition = partition
    this.#copierFor = copierFor
  }

  async run(): Promise<this> {
    const readers: BrokerReader[] = []
    try {
      for (const kind of ['jetstream', 'kafka'] as const) {
        readers.push(await this.#parts.openReader(kind, this.#partition))
      }
      const [one, other] = await Promise.all(readers.map((reader) => this.#begin(reader)))
      this.#begunAt = Date.now()
      for (const side of [one, other]) await this.#index(side)
      this.#compare(one, other)
      await this.#lookAgain(one, other)
      await this.#lookAgain(other, one)
      await this.#settle(one, other)
      await this.#settle(other, one)
      return this
    } finally {
      await Promise.allSettled(readers.map((reader) => reader.close()))
    }
  }

  async #begin(reader: BrokerReader): Promise<Side> {
    const { first, next } = await this.#boundsOf(reader)
    return {
      kind: reader.kind,
      reader,
      first,
      end: next,
      identities: new Identities(this.#parts.segmentsMax ?? RECONCILE_SEGMENTS_MAX),
      oldest: undefined,
      alone: 0,
      recent: 0,
      report: this.comparison[reader.kind],
    }
  }

  /** Asked again for a while: a topic that was made a moment ago has no leader yet. */
  async #boundsOf(reader: BrokerReader): Promise<{ first: number; next: number }> {
    for (const until = performance.now() + STALL_MS_MAX; ; ) {
      try {
        return await reader.bounds()
      } catch (error) {
        if (performance.now() > until || this.#parts.signal.aborted) {
          throw this.#stopped(`${reader.kind} does not say what it holds: ${(error as Error).message}`, error)
        }
      }
      await new Promise((resolve) => setTimeout(resolve, WATCH_INTERVAL_MS))
    }
  }

  // --- Step 1 -------------------------------------------------------------------------------------------

  async #index(side: Side): Promise<void> {
    const recent = this.#begunAt - RECONCILE_RECENT_MS
    for await (const { segment, next } of this.#held(side)) {
      if (side.report.held.segments === 0 && next - 1 > FIRST_NUMBERS[side.kind]) {
        side.oldest = segment.receivedAt
      }
      try {
        side.identities.add(segment, segment.receivedAt > recent)
      } catch (error) {
        if (!(error instanceof TooManySegments)) throw error
        throw this.#stopped(`${side.kind}: ${error.message}, which is more than can be compared`, error)
      }
      count(side.report.held, segment.events)
    }
    side.identities.sort()
  }

  #compare(one: Side, other: Side): void {
    for (const [writer, mine] of one.identities.writers) {
      const theirs = other.identities.writers.get(writer)
      for (let i = 0; i < mine.length; i++) {
        if (mine.state(i) === State.duplicate) continue
        const j = theirs?.find(mine.sequence(i)) ?? -1
        if (j >= 0) this.#both(writer, [one, mine, i], [other, theirs!, j])
      }
    }
    for (const side of [one, other]) {
      forEach(side, (identities, i) => {
        if (identities.state(i) === State.duplicate) count(side.report.duplicates, identities.events(i))
        if (identities.state(i) !== State.held) return
        identities.setState(i, State.alone)
        side.alone++
        if (identities.isRecent(i)) side.recent++
      })
    }
  }

  #both(
    writer: string,
    [one, mine, i]: [Side, WriterIdentities, number],
    [other, theirs, j]: [Side, WriterIdentities, number],
  ): void {
    const equal = mine.checksum(i) === theirs.checksum(j)
    const state = equal ? State.equal : State.different
    mine.setState(i, state)
    theirs.setState(j, state)
    this.#account(one, mine.events(i), other, theirs.events(j), equal)
    if (!equal) {
      this.#list(writer, mine.sequence(i), one.kind, mine.checksum(i), theirs.checksum(j))
    }
  }

  #account(one: Side, events: number, other: Side, otherEvents: number, equal: boolean): void {
    const what = equal ? 'equal' : 'different'
    count(one.report[what], events)
    count(other.report[what], otherEvents)
  }

  /** `mine`: the checksum in the log of this kind. */
  #list(writer: string, sequence: number, kind: BrokerKind, mine: number, theirs: number): void {
    if (this.differences.length >= RECONCILE_LISTED_MAX) return
    const checksums =
      kind === 'jetstream' ? { jetstream: mine, kafka: theirs } : { jetstream: theirs, kafka: mine }
    this.differences.push({ partition: this.#partition, writer, sequence, checksums })
  }

  // --- Step 2 -------------------------------------------------------------------------------------------

  /** Finds in `other`, past its noted end, what only `one` had. */
  async #lookAgain(one: Side, other: Side): Promise<void> {
    if (one.alone === 0) return
    const { next } = await this.#boundsOf(other.reader)
    if (next <= other.end && one.recent === 0) return
    const waitUntil = this.#begunAt + (this.#parts.onTheWayMs ?? CONFIRM_MS_MAX)
    const done = (place: number) => {
      return one.alone === 0 || (place >= next && (one.recent === 0 || Date.now() >= waitUntil))
    }
    const from = new Map([[await other.reader.lane(), other.end]])
    for await (const { segment } of this.#read(other, from, next, done)) {
      const mine = one.identities.writers.get(segment.writer)
      const i = mine?.find(segment.sequence) ?? -1
      if (mine === undefined || i < 0 || mine.state(i) !== State.alone) continue
      const checksum = checksumOf(segment)
      const equal = checksum === mine.checksum(i)
      mine.setState(i, equal ? State.equal : State.different)
      one.alone--
      if (mine.isRecent(i)) one.recent--
      count(other.report.held, segment.events)
      this.#account(one, mine.events(i), other, segment.events, equal)
      if (!equal) this.#list(segment.writer, segment.sequence, one.kind, mine.checksum(i), checksum)
    }
  }

  // --- Step 3 -------------------------------------------------------------------------------------------

  async #settle(one: Side, other: Side): Promise<void> {
    if (one.alone === 0) return
    const { apply, openLedger } = this.#parts
    const counted = await openLedger(this.#partition)
    for await (const { segment } of this.#held(one, () => one.alone === 0)) {
      const { writer, sequence, events, receivedAt } = segment
      const identities = one.identities.writers.get(writer)
      const i = identities?.find(sequence) ?? -1
      if (identities === undefined || i < 0 || identities.state(i) !== State.alone) continue
      identities.setState(i, State.settled)
      one.alone--
      const isCounted = counted(writer, sequence, receivedAt)
      if (isCounted === true && other.oldest !== undefined && receivedAt < other.oldest) {
        count(one.report.trimmed, events)
        continue
      }
      count(one.report[isCounted ? 'counted' : 'missing'], events)
      if (isCounted === 'forgotten') count(one.report.forgotten, events)
      if (apply) await this.#copy(one, other, segment)
    }
    if (apply) await this.#copied(one, other)
    this.#gone(one, counted)
  }

  async #copy(one: Side, other: Side, segment: Segment): Promise<void> {
    const copier = await this.#copierFor(other.kind)
    await copier.copy(this.#partition, segment, one.report.copied).catch((error) => {
      throw this.#copyStopped(one, other, error)
    })
  }

  async #copied(one: Side, other: Side): Promise<void> {
    if (one.report.counted.segments + one.report.missing.segments === 0) return
    const copier = await this.#copierFor(other.kind)
    await copier.flushed().catch((error) => {
      throw this.#copyStopped(one, other, error)
    })
  }

  /** What the daemon has trimmed since step 1 cannot be copied any more. */
  #gone(side: Side, counted: Counted): void {
    if (side.alone === 0) return
    forEach(side, (identities, i, writer) => {
      if (identities.state(i) !== State.alone) return
      // What was trimmed was committed: where the ledger has forgotten it, it is as old as that.
      const isCounted = counted(writer, identities.sequence(i), 0)
      count(side.report[isCounted ? 'trimmed' : 'missing'], identities.events(i))
    })
  }

  // --- Reading ------------------------------------------------------------------------------------------

  /** What a log held at the start, as far as it still does; ends early when `done` says so. */
  async *#held(side: Side, done = () => false): AsyncGenerator<LogEntry> {
    if (side.first >= side.end) return
    const entries = this.#read(side, new Map(), side.end, (place) => place >= side.end || done())
    for await (const entry of entries) {
      if (entry.next > side.end) return
      yield entry
    }
  }

  /**
   * Reads until `done`, which is asked after each entry, and now and then while none comes: what was still to come
   * may have been trimmed. `place`: the number from which to read on. `end`: that after the last one that must come.
   */
  async *#read(
    { reader, kind }: Side,
    from: Position,
    end: number,
    done: (place: number) => boolean,
  ): AsyncGenerator<LogEntry> {
    const { signal, quietMsMax = RECONCILE_QUIET_MS_MAX } = this.#parts
    const stop = new AbortController()
    const abort = () => stop.abort()
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
    let place = Math.max(0, ...from.values())
    let waiting = true
    let quietMs = 0
    const look = async () => {
      const { first } = await reader.bounds()
      if (!waiting) return
      place = Math.max(place, first)
      quietMs += WATCH_INTERVAL_MS // only while the broker answers: one that is away is waited for
      const silent = place < end && quietMs > quietMsMax
      if (silent && !this.unread.some(({ log }) => log === kind))
        this.unread.push({ partition: this.#partition, log: kind, from: place, to: end - 1 })
      if (silent || done(place)) abort()
    }
    const watch = setInterval(() => {
      if (waiting) look().catch(() => {})
    }, WATCH_INTERVAL_MS)
    try {
      for await (const entry of reader.read(from, stop.signal)) {
        waiting = false
        quietMs = 0
        place = entry.next
        yield entry
        if (done(place)) return
        waiting = true
      }
    } finally {
      clearInterval(watch)
      signal.removeEventListener('abort', abort)
    }
    if (signal.aborted) throw this.#stopped(`reading ${kind} was interrupted`, signal.reason)
  }

  #copyStopped(one: Side, other: Side, cause: Error): ReconcileStopped {
    const { segments } = one.report.copied
    return this.#stopped(
      `copying into ${other.kind} stopped after ${segments} segments: ${cause.message}. What was copied is complete; ` +
        'run it again to go on',
      cause,
    )
  }

  #stopped(message: string, cause: unknown): ReconcileStopped {
    return new ReconcileStopped(`partition ${this.#partition}: ${message}`, { cause })
  }
}

/** Sends copies into one log, several at a time and a bounded number of bytes. */
class Copier {
  readonly #publisher: Publisher
  #bytes = 0
  #failure: Error | undefined
  #moved: () => void = () => {}

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  /** Resolves when there is room for the next one. `copied` is raised when it is confirmed. */
  async copy(partition: number, original: Segment, copied: Amount): Promise<void> {
    const bytes = Buffer.from(original.bytes) // the original's are gone with the next entry
    await this.#until(() => this.#bytes === 0 || this.#bytes + bytes.length <= RECONCILE_COPY_BYTES_MAX)
    const segment = new Segment(bytes)
    this.#bytes += bytes.length
    this.#publisher
      .publish(partition, segment)
      .then(
        () => count(copied, segment.events),
        (error: Error) => {
          this.#failure ??= error
        },
      )
      .finally(() => {
        this.#bytes -= bytes.length
        this.#moved()
      })
  }

  /** Resolves when all is confirmed. */
  async flushed(): Promise<void> {
    await this.#until(() => this.#bytes === 0)
  }

  close(): Promise<void> {
    return this.#publisher.close()
  }

  /** After a failure: waits for what is on its way, so that what was copied is known, and rejects. */
  async #until(condition: () => boolean): Promise<void> {
    while (this.#failure === undefined ? !condition() : this.#bytes > 0) {
      await new Promise<void>((resolve) => {
        this.#moved = resolve
      })
    }
    if (this.#failure !== undefined) throw this.#failure
  }
}

function forEach(
  { identities: { writers } }: Side,
  act: (identities: WriterIdentities, i: number, writer: string) => void,
): void {
  for (const [writer, identities] of writers) {
    for (let i = 0; i < identities.length; i++) act(identities, i, writer)
  }
}

function count(amount: Amount, events: number): void {
  amount.segments++
  amount.events += events
}

function emptyComparison(): Comparison {
  const nothing = (): Amount => ({ segments: 0, events: 0 })
  const report = (): LogReport => ({
    held: nothing(),
    equal: nothing(),
    different: nothing(),
    duplicates: nothing(),
    counted: nothing(),
    forgotten: nothing(),
    missing: nothing(),
    trimmed: nothing(),
    copied: nothing(),
  })
  return { jetstream: report(), kafka: report() }
}

function add(total: Comparison, more: Comparison): void {
  for (const kind of ['jetstream', 'kafka'] as const) {
    for (const [what, amount] of Object.entries(more[kind]) as [keyof LogReport, Amount][]) {
      total[kind][what].segments += amount.segments
      total[kind][what].events += amount.events
    }
  }
}
