// What writers that are gone have made durable: each record carries the totals of its lane, so the newest one tells all.

import { readdirSync } from 'node:fs'
import type { FileSystem } from '../filesystem.ts'
import type { Written } from '../log.ts'
import { type ChunkName, isMissing, parseChunkName } from './files.ts'
import { Lane } from './lane.ts'

/** The writers of whom something is in a folder of the log; none where there is no folder yet. */
export function writersIn(folder: string): Set<string> {
  try {
    return new Set(chunksIn(readdirSync(folder)).map(({ writer }) => writer))
  } catch (error) {
    if (isMissing(error)) return new Set()
    throw error
  }
}

/**
 * All that a writer that is gone has made durable since it began; its `backlogBytes` are those of all its records.
 * Undefined where nothing of it is left. May be asked while a reader reads it.
 */
export async function leftBy(fs: FileSystem, folder: string, writer: string): Promise<Written | undefined> {
  const chunks = chunksIn(await fs.list(folder)).filter((chunk) => chunk.writer === writer)
  chunks.sort((a, b) => b.first - a.first)
  for (const { first } of chunks) {
    const written = await newest(new Lane({ fs, folder, onDamage() {} }, writer, first, undefined))
    if (written !== undefined) return written // a writer may die before it has put a record into its newest chunk
  }
  return undefined
}

async function newest(lane: Lane): Promise<Written | undefined> {
  let written: Written | undefined
  try {
    for (;;) {
      const segment = (await lane.block()).at(-1)?.segment
      if (segment === undefined) return written
      written = {
        segments: segment.sequence + 1,
        events: segment.priorEvents + segment.events,
        bodies: segment.priorBodies + segment.bodies,
        backlogBytes: lane.bytes!,
      }
    }
  } finally {
    await lane.close()
  }
}

function chunksIn(names: readonly string[]): ChunkName[] {
  return names.map(parseChunkName).filter((chunk) => chunk !== undefined)
}
