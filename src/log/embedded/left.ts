// What a writer that is gone has left in the log, told by the heads of its records: each carries the totals of its lane up to
// there. Nothing is written and nothing is synced: whoever reads the log does that, and knows of damage.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { File, FileSystem } from '../filesystem.ts'
import type { Written } from '../log.ts'
import { type ChunkName, isMissing, parseChunkName } from './files.ts'
import { HEAD_BYTES, type Head, readHead, readRecord } from './record.ts'

const BLOCK_BYTES = 128 * 1024

/** `backlogBytes`: of all its records that are there. */
export interface Left extends Written {
  /** In its segments that are not there any more. */
  trimmed: { events: number; bodies: number }
}

/** Heads of records that follow each other: the first of them and the last. */
interface Ends {
  oldest: Head
  newest: Head
}

/** The writers of whom something is in a folder of the log; undefined where that cannot be told. */
export function writersIn(folder: string): ReadonlySet<string> | undefined {
  try {
    return new Set(chunksIn(readdirSync(folder)).map(({ writer }) => writer))
  } catch (error) {
    return isMissing(error) ? new Set() : undefined
  }
}

/**
 * What is there of a writer that is gone, up to its last whole record, or up to where some are damaged. Undefined where nothing
 * is. May be asked while the log is read and trimmed: what it has lost meanwhile was processed.
 */
export async function leftBy(fs: FileSystem, folder: string, writer: string): Promise<Left | undefined> {
  const chunks = chunksIn(await fs.list(folder)).filter((chunk) => chunk.writer === writer)
  chunks.sort((a, b) => a.first - b.first)
  // A writer may die before it has put a record into its newest chunk.
  for (const chunk of chunks.toReversed()) {
    const ends = await endsOf(fs, folder, chunk)
    if (ends === undefined) continue
    const { newest } = ends
    const oldest = (await endsOf(fs, folder, chunks[0], 1))?.oldest ?? ends.oldest
    return {
      segments: newest.sequence + 1,
      events: newest.priorEvents + newest.events,
      bodies: newest.priorBodies + newest.bodies,
      backlogBytes: newest.priorBytes + newest.bytes - oldest.priorBytes,
      trimmed: { events: oldest.priorEvents, bodies: oldest.priorBodies },
    }
  }
  return undefined
}

function chunksIn(names: readonly string[]): ChunkName[] {
  return names.map(parseChunkName).filter((chunk) => chunk !== undefined)
}

/** Of a chunk's records, or of the first so many. */
async function endsOf(
  fs: FileSystem,
  folder: string,
  { name, writer, first }: ChunkName,
  recordsMax = Number.POSITIVE_INFINITY,
): Promise<Ends | undefined> {
  let file: File
  try {
    file = await fs.open(join(folder, name), 'read')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  try {
    return await walk(file, writer, first, recordsMax)
  } finally {
    await file.close()
  }
}

async function walk(
  file: File,
  writer: string,
  first: number,
  recordsMax: number,
): Promise<Ends | undefined> {
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  let oldest: Head | undefined
  let newest: Head | undefined
  // The last write: only there a record may be torn.
  let write: { at: number; head: Head }[] = []
  let before: Head | undefined
  let at = 0
  let from = 0
  let length = 0
  for (let n = 0; n < recordsMax; n++) {
    if (at + HEAD_BYTES > from + length) {
      from = at
      length = await file.read(block, from)
    }
    const head = readHead(block.subarray(0, length), at - from, writer)
    if (head === undefined || head.sequence !== first + n) break
    if (head.inWrite === 0) {
      before = newest
      write = []
    }
    newest = head
    oldest ??= head
    write.push({ at, head })
    at += head.bytes
  }
  if (recordsMax === Number.POSITIVE_INFINITY) newest = await lastWhole(file, writer, write, before)
  return oldest === undefined || newest === undefined ? undefined : { oldest, newest }
}

/** The head of the last record whose CRC checks. */
async function lastWhole(
  file: File,
  writer: string,
  write: readonly { at: number; head: Head }[],
  before: Head | undefined,
): Promise<Head | undefined> {
  let whole = before
  for (const { at, head } of write) {
    const record = Buffer.allocUnsafeSlow(head.bytes)
    const length = await file.read(record, at)
    const read = readRecord(record.subarray(0, length), 0, writer, head.sequence, head.bytes)
    if (read.kind !== 'record') break
    whole = head
  }
  return whole
}
