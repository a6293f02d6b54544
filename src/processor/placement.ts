// Where rows go in the store. A commit puts few of them into their places, and many into a run (results/runs.ts), so that
// their places are behind. A checkpoint brings them up to date: it goes through all that are behind in the order of their
// keys, a part of them with each commit, so that neighbours share the pages of the tree; then the runs from before it are
// dropped. Whatever a run has, its rows' places are never ahead of the newest run that has them.

import {
  CHECKPOINT_COMMITS,
  CHECKPOINT_ROWS_MAX,
  CHECKPOINT_ROWS_MIN,
  CHECKPOINT_RUNS_MIN,
  KEY_BYTES_MAX,
  ROWS_IN_PLACE_MAX,
} from '../limits.ts'
import { putRowKey, rowKeyBytes } from '../results/keys.ts'
import { KEY, NUMBERS, putKey, putStats, rowBytesMax, SKETCH } from '../results/row.ts'
import {
  chunkKey,
  encodeNewestWindow,
  encodeRuns,
  newestWindowKey,
  type Runs,
  RunWriter,
  runsKey,
} from '../results/runs.ts'
import { WINDOW } from './delta.ts'
import { flagged } from './row-order.ts'
import { BUCKETS, DOUBLES, INTS, KEY_AT, KEY_BYTES, type RowTable } from './row-table.ts'

/** The small part of a commit that is needed here: it copies what it is given. */
export interface RowBatch {
  putRow(key: Buffer, value: Buffer): void
  put(to: 'runs', key: Buffer, value: Buffer): void
  removeRange(from: 'runs', start: Buffer, end: Buffer): void
  putMeta(key: string, value: Buffer): void
  removeMeta(key: string): void
}

interface Checkpoint {
  /** In the order of their keys. */
  rows: Int32Array
  /** Those before are in their places. */
  at: number
  /** How many come there with a commit at least. */
  part: number
  /** When all are, runs below this are not needed. */
  below: number
}

interface Kind {
  /** Of the measure, in the store. */
  id: number
  numbers: boolean
  sketch: boolean
}

// For all measures: they are written one after the other.
const writer = new RunWriter()

export class Placement {
  readonly #kind: Kind
  /** Of rows. */
  readonly #flags: number
  /** Those that count; runs below `#dropped` are not in the store any more. */
  readonly #runs: Runs = { first: 0, next: 0 }
  #dropped = 0
  #behindSize = 0
  #checkpoint: Checkpoint | undefined
  /** The newest window that was written. */
  #newestWindow: number
  /** Where the key ends of the row that was encoded last. */
  #keyEnd = 0

  constructor(kind: Kind, newestWindow: number) {
    this.#kind = kind
    this.#flags = (kind.numbers ? NUMBERS : 0) | (kind.sketch ? SKETCH : 0)
    this.#newestWindow = newestWindow
  }

  /** Rows that are behind in their places. */
  get behindSize(): number {
    return this.#behindSize
  }
  /** True while there are runs. */
  get behind(): boolean {
    return this.#dropped < this.#runs.next
  }

  /**
   * Puts these rows into a commit. `hurry`: more than these come into their places. `inOrder` puts rows into the order of
   * their keys that are in that of their numbers.
   */
  write(
    batch: RowBatch,
    table: RowTable,
    rows: Int32Array,
    hurry: boolean,
    inOrder: (rows: Int32Array) => Int32Array,
  ): void {
    writer.clear()
    const hadRuns = this.behind
    const few = rows.length <= ROWS_IN_PLACE_MAX
    const behindRows = () => inOrder(flagged(table.isBehind, this.#behindSize))
    const ordered = inOrder(rows)
    if (few && this.#behindSize <= ROWS_IN_PLACE_MAX) {
      this.#putInPlace(batch, table, ordered)
      this.#putInPlace(batch, table, behindRows())
      this.#checkpoint = undefined
      this.#runs.first = this.#runs.next
    } else {
      if (rows.length > 0) this.#putRun(batch, table, ordered)
      const due = few || hurry || this.#runs.next - this.#runs.first >= CHECKPOINT_RUNS_MIN
      if (due) this.#checkpoint ??= this.#begin(behindRows())
      this.#goOn(batch, table, hurry ? rows.length * 2 : 0)
    }
    this.#putNewestWindow(batch, table)
    if (hadRuns || this.behind) this.#putRuns(batch)
  }

  #putInPlace(batch: RowBatch, table: RowTable, rows: Int32Array): void {
    const { isBehind } = table
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]
      const at = writer.reserve(this.#bytesMax(table, row))
      const end = this.#encode(table, row, at)
      batch.putRow(writer.room.subarray(at, this.#keyEnd), writer.room.subarray(this.#keyEnd, end))
      this.#behindSize -= isBehind[row]
      isBehind[row] = 0
    }
  }

  #putRun(batch: RowBatch, table: RowTable, rows: Int32Array): void {
    const { isBehind } = table
    writer.begin(batch, this.#kind.id, this.#runs.next++)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]
      const at = writer.reserve(this.#bytesMax(table, row))
      const end = this.#encode(table, row, at)
      writer.add(at, this.#keyEnd, end)
      this.#behindSize += 1 - isBehind[row]
      isBehind[row] = 1
    }
    writer.end()
  }

  #begin(rows: Int32Array): Checkpoint {
    const part = Math.max(CHECKPOINT_ROWS_MIN, Math.ceil(rows.length / CHECKPOINT_COMMITS))
    return { rows, at: 0, part, below: this.#runs.next }
  }

  /** With the checkpoint, if there is one: puts so many rows into their places at least. */
  #goOn(batch: RowBatch, table: RowTable, rowsMin: number): void {
    if (this.#checkpoint === undefined) return
    const { rows, at, part, below } = this.#checkpoint
    const to = at + Math.min(CHECKPOINT_ROWS_MAX, Math.max(part, rowsMin))
    this.#putInPlace(batch, table, rows.subarray(at, to))
    this.#checkpoint.at = to
    if (to < rows.length) return
    this.#checkpoint = undefined
    this.#runs.first = this.#behindSize === 0 ? this.#runs.next : below
  }

  /** Tells the store of the runs that there are, having it drop one of those that are not needed. */
  #putRuns(batch: RowBatch): void {
    const { id } = this.#kind
    if (this.#dropped < this.#runs.first) {
      batch.removeRange('runs', chunkKey(id, this.#dropped), chunkKey(id, this.#dropped + 1))
      this.#dropped++
    }
    if (this.behind) batch.putMeta(runsKey(id), encodeRuns(this.#runs))
    else batch.removeMeta(runsKey(id))
  }

  #putNewestWindow(batch: RowBatch, { newestWindow }: RowTable): void {
    if (newestWindow <= this.#newestWindow) return
    this.#newestWindow = newestWindow
    batch.putMeta(newestWindowKey(this.#kind.id), encodeNewestWindow(newestWindow))
  }

  /** Key and value together. */
  #bytesMax({ ints, buckets }: RowTable, row: number): number {
    const keyBytes = ints[row * INTS + KEY_BYTES]
    const sketchBytes = buckets.encodedBytesMax(ints[row * INTS + BUCKETS])
    return rowKeyBytes(keyBytes) + rowBytesMax(keyBytes, sketchBytes)
  }

  /** Writes key and value to the writer's room from `at` on; returns the end. */
  #encode({ doubles, ints, keys, buckets }: RowTable, row: number, at: number): number {
    const { room, view } = writer
    const base = row * DOUBLES
    const keyAt = ints[row * INTS + KEY_AT]
    const keyBytes = ints[row * INTS + KEY_BYTES]
    const long = keyBytes > KEY_BYTES_MAX
    this.#keyEnd = putRowKey(this.#kind.id, keys, keyAt, keyBytes, doubles[base + WINDOW], room, at)
    let end = putStats(view, this.#keyEnd, long ? this.#flags | KEY : this.#flags, doubles, base)
    if (long) end = putKey(view, end, keys.subarray(keyAt, keyAt + keyBytes))
    if (this.#kind.sketch) end = buckets.encode(ints[row * INTS + BUCKETS], room, end)
    return end
  }

  /** Rows have other numbers now: for each former one, the new one. */
  renumber(numbers: Int32Array): void {
    if (this.#checkpoint === undefined) return
    const { rows, at } = this.#checkpoint
    this.#checkpoint.rows = rows.subarray(at).map((row) => numbers[row])
    this.#checkpoint.at = 0
  }
}
