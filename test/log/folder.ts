// A log in a folder of its own, with small limits, as the daemon opens it.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Config } from '../../src/config/config.ts'
import type { Damage } from '../../src/log/embedded/lane.ts'
import type { LogReader, LogWriter } from '../../src/log/log.ts'
import { MemoryWriter } from '../../src/log/memory.ts'
import { logFolder, openLocalReader, openLocalWriter } from '../../src/log/open.ts'

const MAX_BODY = 1024 * 1024
const MAX_BYTES = 80 * 1024 * 1024
const MAX_AGE_MS = 3_600_000
/** Whoever tests the memory log has read what it wants: a writer that is closed then need not wait. */
const CLOSE_MS = 10

export interface Folder {
  config: Config
  damage: Damage[]
  openWriter(): Promise<LogWriter>
  openReader(): Promise<LogReader>
  /** Closes what is still open, and removes all of it. */
  destroy(): Promise<void>
}

export async function folder(kind: 'embedded' | 'memory', maxBytes = MAX_BYTES): Promise<Folder> {
  const dataDir = await mkdtemp(join(tmpdir(), 'millrace-log-'))
  const config = {
    dataDir,
    http: { maxBody: MAX_BODY },
    cluster: { listeners: 2 },
    grpc: 'none',
    log: { kind, partitions: 1, retention: { maxBytes, maxAge: MAX_AGE_MS } },
  } as Config
  const writers: LogWriter[] = []
  const readers: LogReader[] = []
  const damage: Damage[] = []
  return {
    config,
    damage,
    async openWriter() {
      const writer =
        kind === 'memory'
          ? await new MemoryWriter(await logFolder(config, 0), maxBytes, CLOSE_MS).open()
          : await openLocalWriter(config, 0)
      writers.push(writer)
      return writer
    },
    async openReader() {
      const hooks = {
        onDamage: (one: Damage) => void damage.push(one),
        onError: (error: Error) => assert.fail(error),
      }
      const reader = await openLocalReader(config, 0, hooks)
      readers.push(reader)
      return reader
    },
    async destroy() {
      for (const reader of readers) await reader.close()
      await Promise.all(writers.map((writer) => writer.close().catch(() => {})))
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}
