// The writing end of a lane: one listener's chunks.
//
// append -> pending -> [ stamp, write, one sync for all of them ] -> resolve, tell the reader
//
// Invariants: an append resolves only after a sync that began after its write ended; records lie in the order of
// their sequences; a chunk whose write or sync failed is cut back to what was durable and never written again.

import { randomBytes } from 'node:crypto'
import { FREE_SPACE_BYTES_MIN } from '../../limits.ts'
import type { File, FileSystem } from '../filesystem.ts'
import { type LinkServer, NOTHING } from '../link.ts'
import { LogFull, LogUnavailable, type LogWriter, type Written } from '../log.ts'
import type { Segment } from '../segment.ts'
import { ChunkSupply, chunkName, type LogSize } from './files.ts'
import { RECORD_HEAD_BYTES, recordBytes, writeHead } from './record.ts'

const REPAIR_MS_MIN = 50
const REPAIR_MS_MAX = 1000
/** Refusing has to stay cheap: a full log is looked at again after so long. */
const FULL_MS = 50
/** Bytes that are made durable by one sync at the most. */
const WRITE_BYTES_MAX = 8 * 1024 * 1024

export interface WriterParts {
  fs: FileSystem
  folder: string
  size: LogSize
  link: LinkServer
  writer?: string
  freeSpaceMin?: number
  /** Told how long each sync took, milliseconds. */
  synced?: (ms: number) => void
}

interface Pending {
  segment: Segment
  resolve(): void
  reject(error: Error): void
}

export class EmbeddedWriter implements LogWriter {
  readonly kind = 'embedded'
  readonly durability = 'fsynced'
  readonly givesBack = true
  readonly writer: string
  readonly #parts: WriterParts
  readonly #supply: ChunkSupply
  #chunk: File | undefined
  /** Where the next record goes: everything before it is durable. */
  #end = 0
  #durable = NOTHING
  #pending: Pending[] = []
  #driving: Promise<void> | undefined
  #broken: Error | undefined
  /** The log was full: it is not looked at again before some time has passed or something was committed. */
  #full: { error: LogFull; committedBytes: number; until: number } | undefined
  #repairing: Promise<void> | undefined
  #closed = false

  constructor(parts: WriterParts) {
    this.#parts = parts
    this.writer = parts.writer ?? newWriter()
    this.#supply = new ChunkSupply(
      parts.fs,
      parts.folder,
      parts.size,
      parts.freeSpaceMin ?? FREE_SPACE_BYTES_MIN,
    )
  }

  async open(): Promise<this> {
    await this.#parts.link.listen()
    void this.#supply.ahead().catch(() => {})
    return this
  }

  append(segment: Segment): Promise<void> {
    if (this.#closed) return Promise.reject(new LogUnavailable('the log is closed'))
    if (this.#broken !== undefined) return Promise.reject(unavailable(this.#broken))
    return new Promise((resolve, reject) => {
      this.#pending.push({ segment, resolve, reject })
      this.#driving ??= this.#drive()
    })
  }

  written(): Written {
    const { sequence, events, bodies, bytes } = this.#durable
    const backlogBytes = Math.max(0, bytes - this.#parts.link.committedBytes)
    return { segments: sequence, events, bodies, backlogBytes }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#driving
    await this.#repairing
    await this.#supply.close()
    await this.#chunk?.close()
    await this.#parts.link.close()
  }

  async #drive(): Promise<void> {
    while (this.#pending.length > 0) {
      try {
        await this.#writeSome()
      } catch (error) {
        const refused = this.#pending
        this.#pending = []
        const reason = error instanceof LogFull ? error : unavailable(error as Error)
        for (const { reject } of refused) reject(reason)
      }
    }
    this.#driving = undefined
  }

  async #writeSome(): Promise<void> {
    if (this.#chunk === undefined || !this.#fits(recordBytes(this.#pending[0].segment))) await this.#roll()
    const chunk = this.#chunk!
    const { buffers, taken, bytes } = this.#gather()
    try {
      await chunk.write(buffers, this.#end)
      const writtenAt = performance.now()
      await chunk.sync()
      this.#parts.synced?.(performance.now() - writtenAt)
    } catch (error) {
      this.#abandon(chunk, error as Error)
      throw error
    }
    this.#end += bytes
    let { sequence, events, bodies } = this.#durable
    for (const { segment } of taken) {
      sequence++
      events += segment.events
      bodies += segment.bodies
    }
    this.#durable = { sequence, bytes: this.#durable.bytes + bytes, events, bodies }
    this.#pending.splice(0, taken.length)
    this.#parts.link.publish(this.#durable)
    for (const { resolve } of taken) resolve()
  }

  /** As many records as fit, stamped with the identities that they get when they are durable. */
  #gather(): { buffers: Buffer[]; taken: Pending[]; bytes: number } {
    const heads = Buffer.allocUnsafe(this.#pending.length * RECORD_HEAD_BYTES)
    const buffers: Buffer[] = []
    const taken: Pending[] = []
    let bytes = 0
    const { sequence, bytes: priorBytes } = this.#durable
    let { events, bodies } = this.#durable
    for (const pending of this.#pending) {
      const { segment } = pending
      const more = recordBytes(segment)
      if (taken.length > 0 && (bytes + more > WRITE_BYTES_MAX || !this.#fits(bytes + more))) break
      segment.stamp(this.writer, sequence + taken.length, events, bodies)
      const at = taken.length * RECORD_HEAD_BYTES
      writeHead(heads, at, segment, taken.length, priorBytes + bytes)
      buffers.push(heads.subarray(at, at + RECORD_HEAD_BYTES), segment.bytes)
      taken.push(pending)
      bytes += more
      events += segment.events
      bodies += segment.bodies
    }
    return { buffers, taken, bytes }
  }

  #fits(bytes: number): boolean {
    return this.#end + bytes <= this.#parts.size.chunkBytes
  }

  async #roll(): Promise<void> {
    const { committedBytes } = this.#parts.link
    const full = this.#full
    if (full !== undefined && performance.now() < full.until && committedBytes === full.committedBytes) {
      throw full.error
    }
    this.#full = undefined
    const next = await this.#supply
      .take(chunkName(this.writer, this.#durable.sequence))
      .catch((error: Error) => {
        if (error instanceof LogFull) {
          this.#full = { error, committedBytes, until: performance.now() + FULL_MS }
        }
        throw error
      })
    await this.#chunk?.close().catch(() => {}) // all of it is synced
    this.#chunk = next
    this.#end = 0
    void this.#supply.ahead().catch(() => {})
  }

  /**
   * Nothing that was refused may be found later: the chunk is cut back, and until that has worked nothing else is
   * taken. If the process ends before, the reader may find a record whose client was told 503: counted, though not
   * promised.
   */
  #abandon(chunk: File, error: Error): void {
    this.#broken = error
    this.#chunk = undefined
    const durable = this.#end
    const repair = async () => {
      for (let wait = REPAIR_MS_MIN; ; wait = Math.min(wait * 2, REPAIR_MS_MAX)) {
        try {
          await chunk.truncate(durable)
          await chunk.sync()
          break
        } catch (again) {
          this.#broken = again as Error
          if (this.#closed) break
          await new Promise((resolve) => setTimeout(resolve, wait))
        }
      }
      await chunk.close().catch(() => {})
      this.#broken = undefined
    }
    this.#repairing = repair()
  }
}

export function newWriter(): string {
  return randomBytes(8).toString('hex')
}

function unavailable(error: Error): LogUnavailable {
  if (error instanceof LogUnavailable) return error
  return new LogUnavailable(`the log cannot be written: ${error.message}`, { cause: error })
}
