// `millrace bench`: a small load for a running daemon, and where the time of its requests goes.
//
// Bodies are made beforehand and go through the client, as those of an application would. What the daemon can do at
// most is measured by a generator that does less (`npm run bench`): this process is the bottleneck before the daemon is.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../client/client.ts'
import { EventEncoder } from '../client/encoder.ts'
import type { Timings } from '../client/trace.ts'
import { BENCH_SECONDS_MAX, EVENTS_PER_BODY_MAX, SEND_CONCURRENCY_MAX } from '../limits.ts'
import { clientOf, daemonOptions } from './client.ts'
import { type Command, Failure, UsageError } from './command.ts'
import { Histogram } from './histogram.ts'
import { formatNumber, formatRate, printable, Table } from './table.ts'
import { rounded, Trace } from './trace.ts'

/** Bodies that are sent in turn, and the subjects of their events. */
const BODIES = 64
const SUBJECTS = 1000

export const bench: Command = {
  name: 'bench',
  operands: '',
  arity: [0, 0],
  summary: 'send made-up events to a daemon, and print what it takes and how soon it answers',
  options: {
    'events-per-request': { value: 'EVENTS', help: 'events in a body (default: 100)' },
    connections: { value: 'COUNT', help: 'connections, each with one request in flight (default: 16)' },
    rate: { value: 'REQUESTS', help: 'requests a second (default: as many as are answered)' },
    seconds: { value: 'SECONDS', help: `how long, 1 to ${BENCH_SECONDS_MAX} (default: 5)` },
    stream: {
      help: 'over one WebSocket instead, with as many messages in flight as there would be connections',
    },
    trace: { help: 'show where the time of a request goes: queue, dns, tcp, tls, send, first byte, rest' },
    subject: { value: 'PREFIX', help: 'what the subjects begin with (default: bench-)' },
    json: { help: 'print JSON' },
    ...daemonOptions,
  },
  notes: [
    'The events are of type bench and count like all others: use a daemon whose results do not matter. With --rate,',
    'latency counts from when a request was due. Ctrl-C ends it early, with what was measured until then.',
  ].join('\n'),
  async run(words, io) {
    const perBody = words.count('events-per-request', 100, 1, EVENTS_PER_BODY_MAX)
    const connections = words.count('connections', 16, 1, SEND_CONCURRENCY_MAX)
    const rate = words.flag('rate') ? words.count('rate', 0, 1, 1_000_000) : undefined
    const seconds = words.count('seconds', 5, 1, BENCH_SECONDS_MAX)
    if (words.flag('trace') && words.flag('stream')) throw new UsageError('--trace is of requests over HTTP')
    const trace = words.flag('trace') ? new Trace() : undefined
    const client = clientOf(words, io, {
      transport: words.flag('stream') ? 'stream' : 'http',
      concurrency: connections,
      retryFor: 5_000,
      trace: trace && ((timings: Timings) => trace.add(timings)),
    })
    const made = bodies(perBody, words.text('subject') ?? 'bench-')
    const outcome = await load(client, made, perBody, seconds, rate)
    if (outcome.failure !== undefined && outcome.latency.count === 0)
      throw new Failure(outcome.failure.message)
    io.stdout.write(
      words.flag('json') ? `${asJson(outcome, client, trace)}\n` : describe(outcome, client, trace),
    )
    if (outcome.failure === undefined) return 0
    io.stderr.write(`millrace bench: ${printable(outcome.failure.message)}\n`)
    return 1
  },
}

interface Outcome {
  seconds: number
  events: number
  /** Milliseconds. */
  latency: Histogram
  failure: Error | undefined
}

/** Sends until the time is over, something fails, or an interrupt comes. */
async function load(
  client: Client,
  made: Buffer[],
  events: number,
  seconds: number,
  rate: number | undefined,
): Promise<Outcome> {
  const outcome: Outcome = { seconds: 0, events: 0, latency: new Histogram(), failure: undefined }
  const over = new AbortController()
  const end = () => over.abort()
  process.on('SIGINT', end).on('SIGTERM', end)
  const timer = setTimeout(end, seconds * 1000)
  const started = performance.now()
  for (let n = 0; ; n++) {
    if (rate !== undefined) await until(started + (n / rate) * 1000, over.signal)
    await client.ready()
    if (over.signal.aborted) break
    // With a rate, waiting for a connection is a part of the latency.
    const due = rate === undefined ? performance.now() : started + (n / rate) * 1000
    client.publishBody({ bytes: made[n % made.length], events, type: 'application/x-protobuf' }).then(
      ({ accepted }) => {
        outcome.events += accepted
        outcome.latency.record(performance.now() - due)
      },
      (error: Error) => {
        outcome.failure ??= error
        over.abort()
      },
    )
  }
  // What failed is in the outcome.
  await client.close({ retry: outcome.failure === undefined }).catch(() => {})
  clearTimeout(timer)
  process.off('SIGINT', end).off('SIGTERM', end)
  outcome.seconds = (performance.now() - started) / 1000
  return outcome
}

async function until(time: number, signal: AbortSignal): Promise<void> {
  const wait = time - performance.now()
  if (wait > 0) await sleep(wait, undefined, { signal }).catch(() => {})
}

/** Frames of events as a sensor would post them. */
function bodies(events: number, subjects: string): Buffer[] {
  const encoder = new EventEncoder()
  let made = 0
  return Array.from({ length: BODIES }, () => {
    for (let i = 0; i < events; i++, made++) {
      const subject = `${subjects}${made % SUBJECTS}`
      encoder.add({ source: 'millrace/bench', type: 'bench', subject, value: (made % 1000) / 8 })
    }
    return encoder.take()
  })
}

function describe({ seconds, events, latency, failure }: Outcome, client: Client, trace?: Trace): string {
  const { retries } = client.stats
  const counts = [
    `${formatNumber(latency.count)} requests`,
    `${formatNumber(events)} events`,
    `${formatNumber(retries)} retries`,
    `${seconds.toFixed(1)} s`,
    ...(failure === undefined ? [] : ['ended by a failure']),
  ]
  const rates = `${formatRate(latency.count / seconds)} requests/s  ${formatRate(events / seconds)} events/s`
  const table = new Table(['', 'p50 ms', 'p95 ms', 'p99 ms', 'max ms'])
  const quantiles = [0.5, 0.95, 0.99].map((part) => latency.quantile(part))
  const acks = table.page([['ack', ...quantiles, latency.max].map(rounded)])
  return `${counts.join('  ')}\n${rates}\n\n${acks}${trace === undefined ? '' : `\n${trace.describe()}`}`
}

function asJson({ seconds, events, latency, failure }: Outcome, client: Client, trace?: Trace): string {
  return JSON.stringify({
    requests: latency.count,
    events,
    retries: client.stats.retries,
    seconds,
    requestsPerSecond: Math.round(latency.count / seconds),
    eventsPerSecond: Math.round(events / seconds),
    latency: {
      p50: latency.quantile(0.5),
      p95: latency.quantile(0.95),
      p99: latency.quantile(0.99),
      max: latency.max,
    },
    ...(trace && { trace: trace.toJson() }),
    ...(failure && { error: failure.message }),
  })
}
