// Rows that were committed lately. Where a commit changes many rows, they are put into the store side by side, as one run
// sorted by key, and into their places in the tree later, many changes of a row at once (processor/placement.ts). A row in its
// place costs a page of the tree to be copied; a row in a run costs its bytes.
//
// Of a key the newest run that has it tells the row; where none has it, its place does.
//
// A run is cut into chunks:
//   key    u32 measure, u32 run (big endian), then what the key of the chunk's last row has behind the measure
//   value  rows in the order of their keys, each: u16 bytes of key, u32 bytes of value (little endian), key, value
//
// Meta `runs:<measure>` tells which runs there are: u32 the first one's number, u32 the one after the last (little endian).
// Meta `newest:<measure>` tells of which window no row that was ever written is newer: f64 its start, Unix milliseconds.

import { RUN_CHUNK_BYTES } from '../limits.ts'
import { MEASURE_BYTES } from './keys.ts'
import type { Item } from './merge.ts'

/** Whole numbers: first <= run < next. */
export interface Runs {
  first: number
  next: number
}

/** Of the entries of meta. */
export const RUNS_PREFIX = 'runs:'
const CHUNK_PREFIX_BYTES = MEASURE_BYTES + 4
const ROW_HEAD_BYTES = 6

/** In meta. */
export function runsKey(measure: number): string {
  return RUNS_PREFIX + measure
}

export function encodeRuns({ first, next }: Runs): Buffer {
  const value = Buffer.allocUnsafe(8)
  value.writeUInt32LE(first)
  value.writeUInt32LE(next, 4)
  return value
}

export function decodeRuns(value: Buffer): Runs {
  return { first: value.readUInt32LE(), next: value.readUInt32LE(4) }
}

/** In meta. */
export function newestWindowKey(measure: number): string {
  return `newest:${measure}`
}

export function encodeNewestWindow(start: number): Buffer {
  const value = Buffer.allocUnsafe(8)
  value.writeDoubleLE(start)
  return value
}

/** Where the chunks of a run start, or the first of those whose rows may come at or after `key`. */
export function chunkKey(measure: number, run: number, key?: Buffer): Buffer {
  const rest = key?.subarray(MEASURE_BYTES) ?? Buffer.alloc(0)
  const chunk = Buffer.allocUnsafe(CHUNK_PREFIX_BYTES + rest.length)
  chunk.writeUInt32BE(measure)
  chunk.writeUInt32BE(run, MEASURE_BYTES)
  chunk.set(rest, CHUNK_PREFIX_BYTES)
  return chunk
}

/**
 * The rows of each run with start <= key < end, the oldest run first. `chunks`: of the store, those whose keys are in a
 * range.
 */
export function runRanges(
  chunks: (start: Buffer, end: Buffer) => Iterable<Item>,
  measure: number,
  { first, next }: Runs,
  start: Buffer,
  end: Buffer,
): Iterable<Item>[] {
  return Array.from({ length: next - first }, (_, place) => {
    const run = first + place
    return rowsOf(chunks(chunkKey(measure, run, start), chunkKey(measure, run + 1)), start, end)
  })
}

function* rowsOf(chunks: Iterable<Item>, start: Buffer, end: Buffer): Iterable<Item> {
  let started = false
  for (const { value: chunk } of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const keyAt = at + ROW_HEAD_BYTES
      const keyEnd = keyAt + chunk.readUInt16LE(at)
      const rowEnd = keyEnd + chunk.readUInt32LE(at + 2)
      at = rowEnd
      started ||= chunk.compare(start, 0, start.length, keyAt, keyEnd) >= 0
      if (!started) continue
      if (chunk.compare(end, 0, end.length, keyAt, keyEnd) >= 0) return
      yield { key: chunk.subarray(keyAt, keyEnd), value: chunk.subarray(keyEnd, rowEnd) }
    }
  }
}

/** Of a row's values in its place and in runs, given in this order. */
export function newestOf(values: Buffer[]): Buffer {
  return values[values.length - 1]
}

/** The part of a commit that is needed here; it copies what it is given. */
export interface ChunkBatch {
  put(to: 'runs', key: Buffer, value: Buffer): void
}

/** Writes runs, one at a time. */
export class RunWriter {
  /** Rows are written here, where `reserve` says. */
  room = Buffer.allocUnsafeSlow(RUN_CHUNK_BYTES)
  view = new DataView(this.room.buffer)
  #batch!: ChunkBatch
  #measure = 0
  #run = 0
  #bytes = 0
  #lastKey = 0
  #lastKeyEnd = 0

  /** Forgets what a commit that failed has left. */
  clear(): void {
    this.#bytes = 0
  }

  begin(batch: ChunkBatch, measure: number, run: number): void {
    this.#batch = batch
    this.#measure = measure
    this.#run = run
  }

  /** Where key and value of the next row are to be written, one behind the other, of so many bytes at most. */
  reserve(bytesMax: number): number {
    const bytes = ROW_HEAD_BYTES + bytesMax
    if (this.#bytes + bytes > RUN_CHUNK_BYTES) this.end()
    if (bytes > this.room.length) {
      this.room = Buffer.allocUnsafeSlow(bytes)
      this.view = new DataView(this.room.buffer)
    }
    return this.#bytes + ROW_HEAD_BYTES
  }

  /** They were written at `at`, where the key ends at `keyEnd` and the value at `end`. In the order of keys. */
  add(at: number, keyEnd: number, end: number): void {
    this.view.setUint16(at - ROW_HEAD_BYTES, keyEnd - at, true)
    this.view.setUint32(at - ROW_HEAD_BYTES + 2, end - keyEnd, true)
    this.#lastKey = at
    this.#lastKeyEnd = keyEnd
    this.#bytes = end
  }

  /** Puts what was not put yet. */
  end(): void {
    if (this.#bytes === 0) return
    const last = this.room.subarray(this.#lastKey, this.#lastKeyEnd)
    this.#batch.put('runs', chunkKey(this.#measure, this.#run, last), this.room.subarray(0, this.#bytes))
    this.#bytes = 0
  }
}
