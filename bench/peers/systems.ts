// The systems side by side, each at the settings that were measured best here.

import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { startNats } from '../../scripts/brokers/nats.ts'
import { onPath } from '../../scripts/tools/on-path.ts'
import { Daemon } from '../daemon.ts'
import { generate } from '../generator.ts'
import { Child } from './child.ts'
import type { Load, Running, System } from './load.ts'
import { openNats } from './nats.ts'
import { checkSqlite } from './packages.ts'

const measured = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}]'

const post = (url: string) => (load: Load) => generate({ url, eventsPerBody: load.events, ...load })

async function openMillrace(sets: string[] = [], broker?: { pid: number; stop(): Promise<void> }) {
  const daemon = await Daemon.start([measured, ...sets])
  const processed = async () => (await daemon.status()).processed.events
  return {
    pids: [daemon.pid, ...(broker === undefined ? [] : [broker.pid])],
    load: post(daemon.http),
    async stored() {
      await daemon.caughtUp()
      return processed()
    },
    processed,
    async stop() {
      await daemon.stop()
      await broker?.stop()
    },
  }
}

async function openMillraceOnNats(): Promise<Running> {
  const nats = await startNats({})
  try {
    return await openMillrace(['log.kind=jetstream', `log.jetstream.servers=[${nats.servers}]`], nats)
  } catch (error) {
    await nats.stop()
    throw error
  }
}

/** Fastify before a store; `processes` of it on a cluster's port. */
async function openService(kind: string, place: string | undefined, processes: number, whole: boolean) {
  const script = join(import.meta.dirname, 'service.js')
  const { child } = await Child.start((folder) => {
    const words = [kind, place ?? join(folder, 'events.db'), String(processes), whole ? 'whole' : 'entries']
    return [process.execPath, script, ...words]
  })
  try {
    const url = await child.until(() => child.address())
    return {
      pids: [child.pid],
      load: post(url),
      async stored() {
        const answer = await fetch(`${url}/stored`)
        if (!answer.ok) throw new Error(`the service does not tell what it stored: ${await answer.text()}`)
        return Number(await answer.text())
      },
      stop: () => child.stop(),
    }
  } catch (error) {
    await child.stop()
    throw error
  }
}

async function openRedisStreams(whole: boolean): Promise<Running> {
  const program = onPath('redis-server')
  if (program === undefined)
    throw new Error('there is no redis-server on the PATH (Debian and Ubuntu: apt-get install redis-server)')
  const { child: redis, folder } = await Child.start((folder) => {
    const settings = {
      port: '0', // the Unix socket is faster, and nobody else comes to it
      unixsocket: join(folder, 'redis.sock'),
      dir: folder,
      appendonly: 'yes',
      appendfsync: 'always',
      save: '',
      'auto-aof-rewrite-percentage': '0', // no rewrite of the log in the middle of a measurement
    }
    return [program, ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])]
  })
  try {
    const socket = join(folder, 'redis.sock')
    await redis.until(() => existsSync(socket) || undefined)
    const service = await openService('redis', socket, cpus().length, whole)
    return {
      ...service,
      pids: [...service.pids, redis.pid],
      async stop() {
        await service.stop()
        await redis.stop()
      },
    }
  } catch (error) {
    await redis.stop()
    throw error
  }
}

async function openSqliteService(whole: boolean): Promise<Running> {
  await checkSqlite()
  // SQLite has one writer: a second process waits for its lock, and the slowest answers become several times slower.
  return openService('sqlite', undefined, 1, whole)
}

async function openSqliteSums(): Promise<Running> {
  await checkSqlite()
  const service = await openService('sqlite-sums', undefined, 1, false)
  return { ...service, processed: service.stored } // in the same transactions
}

const system = (name: string, durability: System['durability'], open: System['open']): System => {
  const millrace = name.startsWith('millrace')
  return { name, durability, millrace, processes: millrace || open === openSqliteSums, open }
}

export const systems: System[] = [
  system('millrace', 'fsync', () => openMillrace()),
  system('Fastify + Redis Streams', 'fsync', openRedisStreams),
  system('Fastify + better-sqlite3', 'fsync', openSqliteService),
  system('Fastify + better-sqlite3, with sums by key', 'fsync', openSqliteSums),
  system('NATS, sync_interval always, no HTTP', 'fsync', () => openNats(true)),
  system('millrace on NATS', 'write', () => openMillraceOnNats()),
  system('NATS, no HTTP', 'write', () => openNats(false)),
]
