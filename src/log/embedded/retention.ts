// What becomes of chunks whose every record is committed: they are kept as history while there is room and they are
// young, and then used again, or removed where there are free ones enough.

import { join } from 'node:path'
import type { FileSystem } from '../filesystem.ts'
import { freeName, isFree, isMissing, type LogSize, parseChunkName } from './files.ts'

/** Free chunks that writers should find, whatever their number. */
const FREE_CHUNKS_MIN = 3

/** Nobody takes this long to write one chunk. */
const UNFINISHED_MS_MAX = 60_000

export interface RetentionParts {
  fs: FileSystem
  folder: string
  size: LogSize
  maxAge: number
  freeSpaceMin: number
}

/**
 * Where a lane stands: committed below this sequence; over when nothing will follow and all of it is committed; empty
 * when nothing was ever read from it.
 */
export interface Standing {
  committed: number
  over: boolean
  empty: boolean
}

interface Committed {
  name: string
  /** Unix milliseconds. */
  changedAt: number
  empty: boolean
}

export class Retention {
  readonly #parts: RetentionParts
  /** When chunks that are committed, and so never change again, were changed last. */
  #changedAt = new Map<string, number>()

  constructor(parts: RetentionParts) {
    this.#parts = parts
  }

  /** One round, with so many writers alive. Resolves with the writers that have chunks left. */
  async run(now: number, live: number, standing: (writer: string) => Standing): Promise<Set<string>> {
    const { fs, folder, size, maxAge, freeSpaceMin } = this.#parts
    const names = await fs.list(folder)
    await this.#removeUnfinished(names, now)
    const wanted = Math.max(FREE_CHUNKS_MIN, live + 1)
    let free = names.filter(isFree).length
    let total = names.filter((name) => name.endsWith('.chunk')).length
    const gone = new Set<string>()
    const diskIsLow = (await fs.freeBytes(folder)) < freeSpaceMin + size.chunkBytes
    for (const { name, changedAt, empty } of await this.#committedChunks(names, standing)) {
      const tooMany = total > size.chunksMax
      const needed = free < wanted && (diskIsLow || total + wanted - free > size.chunksMax)
      const old = changedAt < now - maxAge
      if (!tooMany && !needed && !old && !empty) continue
      if (!tooMany && free < wanted && (await this.#recycle(name))) free++
      else {
        await fs.remove(join(folder, name))
        total--
      }
      gone.add(name)
      this.#changedAt.delete(name)
    }
    for (const name of total > size.chunksMax ? names.filter(isFree) : []) {
      if (total <= size.chunksMax) break // the budget was larger once
      if (await fs.remove(join(folder, name)).then(() => true, isMissing)) total--
    }
    const left = names.filter((name) => !gone.has(name))
    return new Set(left.flatMap((name) => parseChunkName(name)?.writer ?? []))
  }

  /** Chunks that somebody began to make and did not live to finish. */
  async #removeUnfinished(names: string[], now: number): Promise<void> {
    const { fs, folder } = this.#parts
    for (const name of names) {
      if (!name.endsWith('.chunk.new')) continue
      const path = join(folder, name)
      const age = now - (await fs.changedAt(path).catch(() => now))
      if (age > UNFINISHED_MS_MAX) await fs.remove(path).catch(() => {})
    }
  }

  /** The oldest first. */
  async #committedChunks(names: string[], standing: (writer: string) => Standing): Promise<Committed[]> {
    const { fs, folder } = this.#parts
    const chunks = names.map(parseChunkName).filter((chunk) => chunk !== undefined)
    chunks.sort((a, b) => (a.writer < b.writer ? -1 : a.writer > b.writer ? 1 : a.first - b.first))
    const committed: Committed[] = []
    for (let i = 0; i < chunks.length; i++) {
      const { writer, name } = chunks[i]
      const { committed: below, over, empty } = standing(writer)
      const next = chunks[i + 1]
      // A chunk ends where the next one of its lane begins; the last one of a lane ends with the lane.
      const whole = next?.writer === writer ? next.first <= below : over
      if (!whole) continue
      const changedAt = this.#changedAt.get(name) ?? (await fs.changedAt(join(folder, name)))
      this.#changedAt.set(name, changedAt)
      committed.push({ name, changedAt, empty: empty && over })
    }
    return committed.sort((a, b) => a.changedAt - b.changedAt)
  }

  /** False for a chunk of another size, which is of no use. */
  async #recycle(name: string): Promise<boolean> {
    const { fs, folder, size } = this.#parts
    const file = await fs.open(join(folder, name), 'read')
    const bytes = await file.size()
    await file.close()
    if (bytes !== size.chunkBytes) return false
    await fs.rename(join(folder, name), join(folder, freeName()))
    return true
  }
}
