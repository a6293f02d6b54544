// Which log the configuration names.

import { watch } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { segmentBytesMax } from '../config/log-size.ts'
import { sizeOf } from './embedded/files.ts'
import type { Damage } from './embedded/lane.ts'
import { EmbeddedReader } from './embedded/reader.ts'
import { EmbeddedWriter, newWriter } from './embedded/writer.ts'
import { realFileSystem } from './filesystem.ts'
import { connectLink, SocketLinkServer } from './link.ts'
import type { LogReader, LogWriter } from './log.ts'
import { MemoryWriter } from './memory.ts'
import { MemoryReader } from './memory-reader.ts'

export async function openWriter(config: Config): Promise<LogWriter> {
  const folder = await logFolder(config)
  if (config.log.kind === 'memory') return new MemoryWriter(folder, config.log.retention.maxBytes).open()
  const writer = newWriter()
  const link = new SocketLinkServer(join(folder, `${writer}.sock`))
  return new EmbeddedWriter({ fs: realFileSystem, folder, size: size(config), link, writer }).open()
}

export interface ReaderHooks {
  onDamage(damage: Damage): void
  onError(error: Error): void
}

export async function openReader(config: Config, hooks: ReaderHooks): Promise<LogReader> {
  const folder = await logFolder(config)
  const onChange = (changed: () => void) => {
    const watcher = watch(folder, { persistent: false }, (event) => {
      if (event === 'rename') changed() // the other event is each write to a chunk
    })
    watcher.on('error', hooks.onError)
    return () => watcher.close()
  }
  if (config.log.kind === 'memory') {
    return new MemoryReader({ folder, list: () => readdir(folder), watch: onChange })
  }
  return new EmbeddedReader({
    fs: realFileSystem,
    folder,
    size: size(config),
    maxAge: config.log.retention.maxAge,
    connect: (writer, heard) => connectLink(join(folder, `${writer}.sock`), heard),
    watch: (_folder, changed) => onChange(changed),
    ...hooks,
  })
}

function size(config: Config) {
  const { log, http, cluster } = config
  return sizeOf(log.retention.maxBytes, segmentBytesMax(http.maxBody), cluster.listeners)
}

/** Where the log's files and sockets are; made if it is not there. */
export async function logFolder(config: Config): Promise<string> {
  const folder = join(config.dataDir, 'log')
  await mkdir(folder, { recursive: true })
  return folder
}
