// `millrace tap`: events as they come.

import { once } from 'node:events'
import { type Dispatcher, request } from 'undici'
import { TAP_RATE_DEFAULT, TAP_RATE_MAX } from '../limits.ts'
import { daemonOptions, noAnswer, refusalOf, type Target, targetOf } from './client.ts'
import { type Command, Failure, type Io, UsageError } from './command.ts'
import { serverSent } from './event-stream.ts'
import { formatNumber, printable } from './table.ts'

/** Characters of an event's data that stand in its line. */
const DATA_CHARACTERS_MAX = 80

const filters = ['type', 'source', 'subject'] as const

export const tap: Command = {
  name: 'tap',
  operands: '',
  arity: [0, 0],
  summary: 'print events as they come, until Ctrl-C',
  options: {
    type: { value: 'PATTERN', help: 'only events of this type; * at either end stands for anything' },
    source: { value: 'PATTERN', help: 'only events from this source' },
    subject: { value: 'PATTERN', help: 'only events about this subject' },
    rate: {
      value: 'EVENTS',
      help: `events a second at most, up to ${TAP_RATE_MAX}: a fair sample where there are more (default: ${TAP_RATE_DEFAULT})`,
    },
    count: { value: 'EVENTS', help: 'end after so many events' },
    json: { help: 'print each event as a CloudEvent in JSON, a line each' },
    ...daemonOptions,
  },
  notes: 'It never slows down the daemon: what is not shown is counted, and told on standard error.',
  async run(words, io) {
    const target = targetOf(words, io)
    const search = new URLSearchParams()
    for (const name of filters) {
      const given = words.text(name)
      if (given === undefined) continue
      if (given.slice(1, -1).includes('*'))
        throw new UsageError(`--${name} ${given}: * may stand at either end only`)
      search.set(name, given)
    }
    search.set('rate', String(words.count('rate', TAP_RATE_DEFAULT, 1, TAP_RATE_MAX)))
    const most = words.count('count', Number.POSITIVE_INFINITY, 1, Number.MAX_SAFE_INTEGER)
    const interrupted = new AbortController()
    const interrupt = () => interrupted.abort()
    process.once('SIGINT', interrupt)
    try {
      const shown = await follow(target, search, io, words.flag('json'), most, interrupted.signal)
      if (shown >= most || interrupted.signal.aborted) return 0
      throw new Failure(`${target.origin} has ended the tap`)
    } finally {
      process.removeListener('SIGINT', interrupt)
    }
  },
}

/** Prints events until there were `most`, or the stream ends. Resolves with how many were printed. */
async function follow(
  target: Target,
  search: URLSearchParams,
  io: Io,
  json: boolean,
  most: number,
  signal: AbortSignal,
): Promise<number> {
  let shown = 0
  try {
    const answer = await open(target, search, signal)
    for await (const { event, data } of serverSent(answer.body)) {
      if (event === 'missed') {
        io.stderr.write(`${describeMissed(JSON.parse(data))}\n`)
        continue
      }
      const line = json ? data : describe(JSON.parse(data))
      if (!io.stdout.write(`${line}\n`)) await once(io.stdout, 'drain', { signal })
      if (++shown >= most) break
    }
  } catch (error) {
    if (error instanceof Failure) throw error
    if (!signal.aborted) throw new Failure(noAnswer(target, error as Error), { cause: error })
  }
  return shown
}

async function open(
  target: Target,
  search: URLSearchParams,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const answer = await request(`${target.origin}${target.prefix}/v1/events/tail?${search}`, {
    headers: target.headers,
    bodyTimeout: 0,
    signal,
  })
  if (answer.statusCode !== 200) throw new Failure(refusalOf(answer.statusCode, await answer.body.text()))
  return answer
}

/** One line: when it came, what it is, its number and data, and the request that brought it. */
function describe(event: Record<string, unknown>): string {
  const {
    type,
    source,
    subject,
    value,
    data,
    data_base64: base64,
    millracereceived,
    millracecorrelation,
  } = event
  const received = String(millracereceived).slice(11, -1)
  const parts = [
    received,
    type,
    source,
    subject ?? '-',
    value ?? '-',
    shortened(data, base64),
    millracecorrelation,
  ]
  return parts.map((part) => printable(String(part)).replaceAll('\n', '\\n')).join('  ')
}

function shortened(data: unknown, base64: unknown): string {
  if (data === undefined && base64 === undefined) return '-'
  const text =
    base64 === undefined ? (typeof data === 'string' ? data : JSON.stringify(data)) : `base64:${base64}`
  return text.length > DATA_CHARACTERS_MAX ? `${text.slice(0, DATA_CHARACTERS_MAX)}…` : text
}

function describeMissed({
  missed,
  sampled,
  unread,
}: Record<'missed' | 'sampled' | 'unread', number>): string {
  const parts = [
    [sampled, 'by the rate'],
    [missed, 'since somebody was slow'],
    [unread, 'not looked at'],
  ] as const
  const told = parts.filter(([count]) => count > 0).map(([count, why]) => `${formatNumber(count)} ${why}`)
  return `not shown: ${told.join(', ')}`
}
