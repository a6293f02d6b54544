// The schema of the configuration: every key with its type, its default, and what is wrong with a value.

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createSecureContext } from 'node:tls'
import { z } from 'zod'
import {
  BODY_BYTES_MAX,
  IN_FLIGHT_BYTES_MAX,
  LISTENERS_MAX,
  PARTITIONS_MAX,
  RETENTION_MS_MIN,
  THREAD_HEAP_BYTES_MIN,
  THREADS_MAX,
} from '../limits.ts'
import { credentialsProblem, jetstream, kafka } from './brokers.ts'
import type { Config, Listen, LogKind } from './config.ts'
import {
  choice,
  count,
  countOrAuto,
  duration,
  list,
  map,
  parsed,
  readableFile,
  section,
  sectionOr,
  size,
  text,
  wordOr,
} from './fields.ts'
import { handlers } from './handlers.ts'
import { leastBrokerBytes, leastBytes, segmentBytesMax } from './log-size.ts'
import { measures } from './measures.ts'
import { formatListen, formatSize, isLoopback, parseListen } from './units.ts'

const BODY_BYTES_MIN = 1024
const kinds: readonly LogKind[] = ['embedded', 'memory', 'jetstream', 'kafka', 'dual']
const cores = () => availableParallelism()
/** Folding is a small part of the work: listeners and the processor itself need the rest. */
const halfOfCores = () => Math.max(1, Math.floor(availableParallelism() / 2))

const listen = (byDefault: string) => section({ listen: parsed(parseListen).prefault(byDefault) })

const tls = map({ cert: readableFile(), key: readableFile() }).check(({ value, issues }) => {
  try {
    createSecureContext({ cert: readFileSync(value.cert), key: readFileSync(value.key) })
  } catch (error) {
    const message = `cert and key are not a PEM certificate and its key: ${(error as Error).message}`
    issues.push({ code: 'custom', message, input: value })
  }
})

const authKey = map({
  name: text(),
  sha256: parsed((value) => {
    if (typeof value === 'string' && /^[0-9a-fA-F]{64}$/.test(value)) return value.toLowerCase()
    // What was written is not shown: it may be the key itself.
    throw new RangeError("must be the key's SHA-256 as 64 hexadecimal digits: printf %s KEY | sha256sum")
  }),
  scopes: list(choice(['publish', 'query', 'admin']), 'scopes: publish, query, admin')
    .min(1, 'must have one scope at least: publish, query, admin')
    .refine((scopes) => new Set(scopes).size === scopes.length, 'has a scope twice'),
  eventsPerSecond: count('a whole number of events', 1, Number.MAX_SAFE_INTEGER).optional(),
})

const auth = map({
  keys: list(authKey, 'keys')
    .min(1, 'must have one key at least, or write auth: none')
    .check(({ value, issues }) => {
      for (const field of ['name', 'sha256'] as const) {
        const all = value.map((key) => key[field])
        all.forEach((one, i) => {
          if (all.indexOf(one) === i) return
          const message = `is the same as that of keys[${all.indexOf(one)}]: keys must differ`
          issues.push({ code: 'custom', path: [i, field], message, input: value })
        })
      }
    }),
})

const shape = {
  dataDir: text().prefault('./data'),
  http: section({
    listen: parsed(parseListen).prefault('127.0.0.1:7070'),
    maxBody: size(
      BODY_BYTES_MIN,
      IN_FLIGHT_BYTES_MAX,
      `${formatSize(BODY_BYTES_MIN)} to ${formatSize(IN_FLIGHT_BYTES_MAX)}`,
    ).prefault(BODY_BYTES_MAX),
    tls: tls.optional(),
  }),
  grpc: sectionOr('none', {
    listen: parsed(parseListen).prefault('127.0.0.1:7071'),
    tls: tls.optional(),
  }),
  admin: listen('127.0.0.1:7072'),
  cluster: section({
    listeners: countOrAuto('a whole number of listeners', LISTENERS_MAX, cores).prefault('auto'),
    processors: count('a whole number of processors', 1, PARTITIONS_MAX).prefault(1),
  }),
  pool: section({
    threads: countOrAuto('a whole number of threads', THREADS_MAX, halfOfCores).prefault('auto'),
    heap: size(THREAD_HEAP_BYTES_MIN, Number.MAX_SAFE_INTEGER, 'at least 32MiB').prefault('512MiB'),
  }),
  log: section({
    kind: choice(kinds).prefault('embedded'),
    partitions: count('a whole number of partitions', 1, PARTITIONS_MAX).prefault(1),
    retention: section({
      maxBytes: size(1, Number.MAX_SAFE_INTEGER, 'more than nothing').prefault('10GiB'),
      maxAge: duration(RETENTION_MS_MIN, 'at least 1s').prefault('24h'),
    }),
    jetstream,
    kafka,
    dual: section({
      ackWhen: choice(['both', 'any']).prefault('both'),
      consume: choice(['jetstream', 'kafka', 'union']).prefault('jetstream'),
    }),
  }),
  ledger: section({ producerIdle: duration(RETENTION_MS_MIN, 'at least 1s').prefault('24h') }),
  logging: section({
    level: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).prefault('info'),
  }),
  measures,
  handlers,
  auth: wordOr('none', auth).optional(),
}

/** What the keys have to do with each other. Parts that are wrong by themselves are not known here. */
interface Loose {
  http?: { listen?: unknown; maxBody?: unknown }
  grpc?: unknown
  admin?: { listen?: unknown }
  log?: { kind?: unknown; partitions?: unknown; jetstream?: unknown; retention?: { maxBytes?: unknown } }
  cluster?: { listeners?: unknown; processors?: unknown }
  auth?: unknown
}

/**
 * Checks a plain object of settings. Other claims are looked at even when a key is wrong by itself, so that all
 * problems are told of at once.
 */
export const schema = together(section(shape))

export { shape }

/** The smallest `log.retention.maxBytes` for each partition: for the memory log, one segment. */
export function leastRetentionBytes(kind: Config['log']['kind'], maxBody: number, writers: number): number {
  const segment = segmentBytesMax(maxBody)
  if (kind === 'memory') return segment
  return kind === 'embedded' ? leastBytes(segment, writers) : leastBrokerBytes(segment, writers)
}

function together<T extends z.ZodType>(schema: T) {
  const claim = (path: string[], wrong: (config: Loose) => string | undefined) =>
    z.refine((config: unknown) => wrong(config as Loose) === undefined, {
      path,
      when: ({ value }) => typeof value === 'object' && value !== null,
      error: (issue) => wrong(issue.input as Loose) ?? '',
    })
  return schema.check(
    claim(['http', 'listen'], (config) => openToOthers(config, config.http?.listen)),
    claim(['grpc', 'listen'], (config) => openToOthers(config, grpcListen(config))),
    claim(['admin', 'listen'], (config) => openToOthers(config, config.admin?.listen)),
    claim(['grpc', 'listen'], (config) => {
      return samePort(grpcListen(config), 'http.listen', config.http?.listen)
    }),
    claim(['admin', 'listen'], (config) => {
      return (
        samePort(config.admin?.listen, 'http.listen', config.http?.listen) ??
        samePort(config.admin?.listen, 'grpc.listen', grpcListen(config))
      )
    }),
    claim(['log', 'jetstream'], ({ log }) => credentialsProblem(log?.jetstream ?? {})),
    claim(['cluster', 'processors'], ({ log, cluster }) => {
      if (typeof cluster?.processors !== 'number' || typeof log?.partitions !== 'number') return undefined
      if (cluster.processors <= log.partitions) return undefined
      return `${cluster.processors} processors have ${log.partitions} partitions to share: set log.partitions to ${cluster.processors} or more`
    }),
    claim(['log', 'retention', 'maxBytes'], ({ http, grpc, log, cluster }) => {
      const kind = log?.kind
      const maxBytes = log?.retention?.maxBytes
      if (typeof maxBytes !== 'number' || typeof http?.maxBody !== 'number') return undefined
      if (!kinds.some((known) => known === kind)) return undefined
      const listeners = typeof cluster?.listeners === 'number' ? cluster.listeners : 1
      const writers = grpc === 'none' ? listeners : listeners + 1
      const partitions = typeof log?.partitions === 'number' ? log.partitions : 1
      const least = partitions * leastRetentionBytes(kind as LogKind, http.maxBody, writers)
      if (maxBytes >= least) return undefined
      const mebibytes = Math.ceil(least / 2 ** 20)
      const why = `with bodies of up to ${formatSize(http.maxBody)} (http.maxBody)`
      return `${formatSize(maxBytes)} is too small for a log of kind ${kind}: at least ${mebibytes}MiB ${why}`
    }),
  )
}

function openToOthers(config: Loose, address: unknown): string | undefined {
  if (!isListen(address) || isLoopback(address.host) || config.auth !== undefined) return undefined
  return `${formatListen(address)} can be reached from other machines: configure auth.keys, or write auth: none`
}

function samePort(address: unknown, name: string, other: unknown): string | undefined {
  if (!isListen(address) || !isListen(other) || other.port === 0) return undefined
  const same = formatListen(address) === formatListen(other)
  return same ? `is the same as ${name}: each needs a port of its own` : undefined
}

function grpcListen({ grpc }: Loose): unknown {
  return typeof grpc === 'object' && grpc !== null && 'listen' in grpc ? grpc.listen : undefined
}

function isListen(value: unknown): value is Listen {
  return typeof value === 'object' && value !== null && 'host' in value
}
