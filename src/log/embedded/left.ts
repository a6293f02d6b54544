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
    const newest = await headIn(fs, folder, chunk, newestOf)
    if (newest === undefined) continue
    const oldest =
      (await headIn(fs, folder, chunks[0], oldestOf)) ?? (await headIn(fs, folder, chunk, oldestOf)) ?? newest
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

/** Of a chunk; undefined where it is gone. */
async function headIn(
  fs: FileSystem,
  folder: string,
  chunk: ChunkName,
  headOf: (file: File, chunk: ChunkName) => Promise<Head | undefined>,
): Promise<Head | undefined> {
  let file: File
  try {
    file = await fs.open(join(folder, chunk.name), 'read')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
  try {
    return await headOf(file, chunk)
  } finally {
    await file.close()
  }
}

/** A chunk that was used before may still begin with an older record of the same writer. */
async function oldestOf(file: File, { writer, first }: ChunkName): Promise<Head | undefined> {
  const block = Buffer.allocUnsafeSlow(HEAD_BYTES)
  const head = readHead(block.subarray(0, await file.read(block, 0)), 0, writer)
  return head?.sequence === first ? head : undefined
}

/** The head of the last whole record. */
async function newestOf(file: File, { writer, first }: ChunkName): Promise<Head | undefined> {
  const block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  let newest: Head | undefined
  // The last write: only there a record may be torn.
  let write: { at: number; head: Head }[] = []
  let before: Head | undefined
  let at = 0
  let from = 0
  let length = 0
  for (let sequence = first; ; sequence++) {
    if (at + HEAD_BYTES > from + length) {
      from = at
      length = await file.read(block, from)
    }
    const head = readHead(block.subarray(0, length), at - from, writer)
    if (head === undefined || head.sequence !== sequence) break
    if (head.inWrite === 0) {
      before = newest
      write = []
    }
    newest = head
    write.push({ at, head })
    at += head.bytes
  }
  return lastWhole(file, writer, write, before)
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
