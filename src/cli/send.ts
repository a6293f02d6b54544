// `millrace send`: a file, or what comes on standard input, to a daemon.

import { randomUUID } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import type { Client } from '../client/client.ts'
import type { Stats } from '../client/door.ts'
import { MillraceError } from '../client/error.ts'
import { parseDuration } from '../config/units.ts'
import {
  EVENTS_PER_BODY_MAX,
  PRODUCER_BYTES_MAX,
  SEND_BODY_BYTES_TARGET,
  SEND_CONCURRENCY_MAX,
} from '../limits.ts'
import { clientOf, daemonOptions } from './client.ts'
import { type Command, type Io, UsageError, type Words } from './command.ts'
import { Pace } from './pace.ts'
import { Progress } from './progress.ts'
import { type Batch, type BatchSize, placeOf } from './rows/batch.ts'
import type { Mapping } from './rows/encoder.ts'
import { frameBatches } from './rows/frames.ts'
import { ndjsonBatches } from './rows/ndjson.ts'
import { timeUnits } from './rows/time.ts'
import { formatNumber, formatRate, printable } from './table.ts'

const READ_BYTES = 1024 * 1024
const BATCH_DEFAULT = 500
/** A slow rate is spread over this many requests a second, rather than sent in large lumps. */
const REQUESTS_PER_SECOND_MIN = 10
export const formats = ['ndjson', 'csv', 'parquet', 'frames'] as const
type Format = (typeof formats)[number]

const extensions: Record<string, Format> = {
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  csv: 'csv',
  parquet: 'parquet',
  pb: 'frames',
  frames: 'frames',
}

/** Only for tables. */
const columnOptions = ['type', 'source', 'subject', 'time', 'value', 'id', 'attribute', 'time-unit']

export const send: Command = {
  name: 'send',
  operands: 'FILE|-',
  arity: [1, 1],
  summary: 'send the events of a file, each counted once however often it is retried',
  options: {
    format: { value: 'FORMAT', help: `${formats.join(', ')} (default: by the file's extension)` },
    type: { value: 'TYPE', help: 'type of all events (CSV and Parquet, required)' },
    source: { value: 'SOURCE', help: 'source of all events (CSV and Parquet, required)' },
    subject: { value: 'COLUMN', help: 'column with the subject' },
    time: { value: 'COLUMN', help: 'column with the time; without it, the time of receipt' },
    'time-unit': {
      value: 'UNIT',
      help: `of numbers as times: ${timeUnits.join(', ')} (default: by their size)`,
    },
    value: { value: 'COLUMN', help: 'column with the number that measures aggregate' },
    id: { value: 'COLUMN', help: 'column with the id' },
    attribute: {
      value: 'NAME[=COLUMN]',
      repeatable: true,
      help: 'an attribute, from the column of its name',
    },
    batch: { value: 'EVENTS', help: `events in a request (default: ${BATCH_DEFAULT})` },
    concurrency: { value: 'REQUESTS', help: 'requests in flight (default: 8)' },
    rate: { value: 'EVENTS', help: 'events a second at most (default: as fast as they are taken)' },
    'retry-for': {
      value: 'DURATION',
      help: 'how long a request is sent again when it fails for now (default: 60s)',
    },
    producer: { value: 'NAME', help: 'name under which retries count once (default: a random one)' },
    json: { help: 'print the summary as JSON' },
    ...daemonOptions,
  },
  notes: [
    'Times are RFC 3339, 2001-02-03, 2001-02-03 04:05:06 (UTC), or Unix times.',
    'A producer name that was used before is for sending the same file with the same options again: what was counted',
    'is not counted twice. Ctrl-C stops reading and waits for what is in flight; a second one does not wait.',
  ].join('\n'),
  async run(words, io) {
    const [path] = words.operands
    const format = formatOf(words, path)
    const mapping = mappingOf(words, format)
    const rate = rateOf(words)
    const size = { events: batchOf(words, rate), bytes: SEND_BODY_BYTES_TARGET }
    const client = clientOf(words, io, {
      producer: producerOf(words),
      concurrency: words.count('concurrency', 8, 1, SEND_CONCURRENCY_MAX),
      retryFor: retryForOf(words),
    })
    const source = await openEvents(path, format, mapping, size, io)
    return pump(client, source, { io, path, pace: new Pace(rate), json: words.flag('json') })
  },
}

async function pump(
  client: Client,
  source: Source,
  { io, path, pace, json }: { io: Io; path: string; pace: Pace; json: boolean },
): Promise<number> {
  const started = performance.now()
  const summary = () => ({
    producer: client.producer,
    ...client.stats,
    seconds: (performance.now() - started) / 1000,
  })
  const progress = new Progress(io.stderr, summary)
  /** No new bodies. */
  const stop = new AbortController()
  let interrupted = false
  const forget = onInterrupt(() => {
    interrupted = true
    io.stderr.write('\nwaiting for what is in flight; a second interrupt does not wait\n')
    stop.abort()
    source.close()
  })
  let wrong: Error | undefined
  let failed: Batch | undefined
  const deliver = (batch: Batch) => {
    client.publishBody(batch).catch((error: Error) => {
      if (failed !== undefined) return
      failed = batch
      wrong = error
      stop.abort()
      client.close({ retry: false }).catch(() => {})
    })
  }
  try {
    for await (const batch of source.batches) {
      await pace.turn(batch.events, stop.signal)
      if (stop.signal.aborted) break
      deliver(batch)
      await client.ready()
      if (stop.signal.aborted) break
      progress.fraction = batch.fraction
    }
  } catch (error) {
    // Kept: what is in flight is waited for, and the summary comes first. A closed input is not a mistake.
    if (!interrupted) wrong ??= error as Error
  }
  // What failed there was told to `deliver` before.
  await client.close().catch(() => {})
  const total = summary()
  source.close()
  forget()
  progress.end()
  if (wrong instanceof UsageError) throw wrong
  const why =
    wrong === undefined
      ? interrupted
        ? 'interrupted before the end'
        : undefined
      : explain(wrong, failed, path)
  io.stdout.write(json ? `${asJson(total, why)}\n` : `${describe(total)}\n`)
  if (why === undefined) return 0
  io.stderr.write(`millrace send: ${printable(why)}\n`)
  return 1
}

interface Source {
  batches: AsyncIterable<Batch>
  /** Ends reading, so that who waits for more wakes up. */
  close(): void
}

export async function openEvents(
  path: string,
  format: Format,
  mapping: Mapping | undefined,
  size: BatchSize,
  io: Io,
): Promise<Source> {
  const totalBytes = path === '-' ? undefined : bytesOf(path)
  if (format === 'parquet') {
    if (path === '-') throw new UsageError('Parquet is read from its end, so it needs a file instead of -')
    const { parquetBatches } = await import('./rows/parquet.ts')
    return { batches: parquetBatches(path, mapping!, size), close() {} }
  }
  const input = path === '-' ? io.stdin : createReadStream(path, { highWaterMark: READ_BYTES })
  const close = () => void input.destroy()
  if (format === 'csv') {
    const { csvBatches } = await import('./rows/csv.ts')
    return { batches: csvBatches(input, mapping!, size, totalBytes), close }
  }
  return { batches: (format === 'ndjson' ? ndjsonBatches : frameBatches)(input, size, totalBytes), close }
}

function bytesOf(path: string): number {
  let isFile: boolean
  let size: number
  try {
    const found = statSync(path)
    isFile = !found.isDirectory()
    size = found.size
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UsageError(`${path}: ${code === 'ENOENT' ? 'there is no such file' : message}`)
  }
  if (!isFile) throw new UsageError(`${path} is a directory`)
  return size
}

export function formatOf(words: Words, path: string): Format {
  const given = words.choice('format', formats)
  if (given !== undefined) return given
  const extension = /\.([^./\\]+)$/.exec(path)?.[1].toLowerCase() ?? ''
  if (Object.hasOwn(extensions, extension)) return extensions[extension]
  throw new UsageError(`--format is missing for ${path}: one of ${formats.join(', ')}`)
}

/** Undefined for formats whose events say all of it themselves. */
export function mappingOf(words: Words, format: Format): Mapping | undefined {
  if (format === 'ndjson' || format === 'frames') {
    const given = columnOptions.find((name) => words.flag(name))
    if (given === undefined) return undefined
    throw new UsageError(`--${given} is for CSV and Parquet: the events of ${format} have their own`)
  }
  const required = (name: string) => {
    const given = words.text(name)
    if (given) return given
    throw new UsageError(`--${name} is missing: the ${name} of all events`)
  }
  const attributes = words.all('attribute').map((text) => {
    const equals = text.indexOf('=')
    const name = equals < 0 ? text : text.slice(0, equals)
    const column = equals < 0 ? text : text.slice(equals + 1)
    if (name === '' || column === '') throw new UsageError(`--attribute ${text}: write NAME or NAME=COLUMN`)
    return { name, column }
  })
  const names = attributes.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new UsageError(`--attribute ${twice} is given twice`)
  return {
    type: required('type'),
    source: required('source'),
    id: words.text('id'),
    subject: words.text('subject'),
    time: words.text('time'),
    value: words.text('value'),
    attributes,
    timeUnit: words.choice('time-unit', timeUnits),
  }
}

function rateOf(words: Words): number | undefined {
  return words.flag('rate') ? words.count('rate', 0, 1, Number.MAX_SAFE_INTEGER) : undefined
}

function batchOf(words: Words, rate: number | undefined): number {
  const most = words.count('batch', BATCH_DEFAULT, 1, EVENTS_PER_BODY_MAX)
  return rate === undefined ? most : Math.min(most, Math.ceil(rate / REQUESTS_PER_SECOND_MIN))
}

function producerOf(words: Words): string {
  const given = words.text('producer') ?? randomUUID()
  if (/^[\x21-\x7e]+$/.test(given) && given.length <= PRODUCER_BYTES_MAX) return given
  throw new UsageError(`--producer: 1 to ${PRODUCER_BYTES_MAX} visible ASCII characters`)
}

function retryForOf(words: Words): number {
  const given = words.text('retry-for') ?? '60s'
  if (given === '0' || given === '0s') return 0
  try {
    return parseDuration(given)
  } catch (error) {
    throw new UsageError(`--retry-for: ${(error as Error).message}`)
  }
}

/** What went wrong, and where in the input: `batch` is what was refused or not answered, if anything. */
function explain(error: Error, batch: Batch | undefined, path: string): string {
  const input = path === '-' ? 'standard input' : path
  if (batch === undefined) return `${input}: ${error.message}`
  if (!(error instanceof MillraceError && error.refused)) return error.message
  const { unit, from, to } = batch
  // The answer counts within its body; people look into the file.
  const message = error.message.replace(/^([a-z-]+: )(?:event|line) ([0-9]+)\b/, (found, code, nth) => {
    const place = placeOf(batch, Number(nth))
    return place === undefined ? found : code + place
  })
  return `${input}, ${from === to ? `${unit} ${from}` : `${unit}s ${from} to ${to}`}: ${message}`
}

/** What came of everything that was sent. */
type Summary = Stats & { producer: string; seconds: number }

function describe({ sent, acked, refused, unanswered, retries, seconds }: Summary): string {
  const parts = [
    `sent ${formatNumber(sent)}`,
    `acked ${formatNumber(acked)}`,
    `refused ${formatNumber(refused)}`,
    ...(unanswered > 0 ? [`unanswered ${formatNumber(unanswered)}`] : []),
    `retries ${formatNumber(retries)}`,
    `${seconds.toFixed(1)} s`,
    `${formatRate(acked / seconds)} events/s`,
  ]
  return parts.join('  ')
}

function asJson(summary: Summary, error: string | undefined): string {
  const { acked, seconds } = summary
  return JSON.stringify({ ...summary, eventsPerSecond: Math.round(acked / seconds), ...(error && { error }) })
}

/** Calls `first` at the first SIGINT or SIGTERM; the second one ends the process. Returns what undoes it. */
function onInterrupt(first: () => void): () => void {
  let times = 0
  const heard = () => {
    if (++times === 1) first()
    else process.exit(1)
  }
  process.on('SIGINT', heard).on('SIGTERM', heard)
  return () => void process.off('SIGINT', heard).off('SIGTERM', heard)
}
