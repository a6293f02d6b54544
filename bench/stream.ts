// `npm run bench:stream`: the WebSocket door beside HTTP, in one run, with the same bodies and as many in flight; and
// the client of applications through both. `npm run bench:grpc`: the gRPC door in their place.
//
// Each line is a fresh daemon, rounds of all lines alternate, and medians are printed with the least and the greatest.

import { parseArgs } from 'node:util'
import { Histogram } from '../src/cli/histogram.ts'
import { Client } from '../src/client/index.ts'
import { Daemon } from './daemon.ts'
import { bodies } from './events.ts'
import { generate } from './generator.ts'
import { GrpcLoadClient, grpcMessage } from './grpc-client.ts'
import { describeMachine, machineLine } from './machine.ts'
import { cpuOf, processesOf, sumOf } from './processes.ts'
import { markdown, spread } from './spread.ts'
import { clientFrame, StreamClient } from './stream-client.ts'
import { methodLine } from './table.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    beside: { type: 'string', default: 'stream' },
    set: { type: 'string', multiple: true, default: [] },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const SUBJECTS = 1000
const WARMUP_SECONDS = 2
const measured = 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}]'

interface Line {
  name: string
  door: 'http' | 'stream' | 'client over HTTP' | 'client over a stream' | 'grpc' | 'grpc-unary'
  /** Events in a message, and bytes of data in each. */
  events: number
  padding: number
  connections: number
  inFlight: number
  producer?: boolean
  sets?: string[]
}

const memory = ['log.kind=memory']
const lines: Line[] = [
  { name: 'HTTP, 1 event', door: 'http', events: 1, padding: 100, connections: 256, inFlight: 256 },
  { name: 'stream, 1 event', door: 'stream', events: 1, padding: 100, connections: 4, inFlight: 256 },
  {
    name: 'stream, 1 event, 1 connection',
    door: 'stream',
    events: 1,
    padding: 100,
    connections: 1,
    inFlight: 256,
  },
  {
    name: 'stream, 1 event, producers',
    door: 'stream',
    events: 1,
    padding: 100,
    connections: 4,
    inFlight: 256,
    producer: true,
  },
  {
    name: 'stream, 1 event, 4096 in flight',
    door: 'stream',
    events: 1,
    padding: 100,
    connections: 4,
    inFlight: 4096,
  },
  { name: 'HTTP, 100 events', door: 'http', events: 100, padding: 0, connections: 256, inFlight: 256 },
  { name: 'stream, 100 events', door: 'stream', events: 100, padding: 0, connections: 4, inFlight: 256 },
  {
    name: 'HTTP, 1 event, memory log',
    door: 'http',
    events: 1,
    padding: 100,
    connections: 256,
    inFlight: 256,
    sets: memory,
  },
  {
    name: 'stream, 1 event, memory log',
    door: 'stream',
    events: 1,
    padding: 100,
    connections: 4,
    inFlight: 256,
    sets: memory,
  },
  // Events one by one through the client of applications: what promises and encoding cost beside prepared bytes. The
  // raw generators above stay what the daemon is measured with, for this one is the bottleneck before the daemon is.
  {
    name: 'client over HTTP, one by one',
    door: 'client over HTTP',
    events: 1,
    padding: 0,
    connections: 8,
    inFlight: 8,
  },
  {
    name: 'client over a stream, one by one',
    door: 'client over a stream',
    events: 1,
    padding: 0,
    connections: 1,
    inFlight: 8,
  },
  { name: 'gRPC stream, 1 event', door: 'grpc', events: 1, padding: 100, connections: 4, inFlight: 256 },
  { name: 'gRPC unary, 1 event', door: 'grpc-unary', events: 1, padding: 100, connections: 4, inFlight: 256 },
  { name: 'gRPC stream, 100 events', door: 'grpc', events: 100, padding: 0, connections: 4, inFlight: 256 },
  {
    name: 'gRPC unary, 100 events',
    door: 'grpc-unary',
    events: 100,
    padding: 0,
    connections: 4,
    inFlight: 256,
  },
].filter(({ name, door, sets }) => {
  if (values.only !== undefined) return name === values.only
  if (door === 'http') return sets === undefined || values.beside === 'stream'
  return door.startsWith(values.beside) || (values.beside === 'stream' && door.startsWith('client'))
}) as Line[]

interface Outcome {
  events: number
  seconds: number
  latency: Histogram
}

/** Over one of the doors where many messages are in flight on a connection. */
async function stream({ http, grpc }: Daemon, line: Line): Promise<Outcome> {
  const isGrpc = line.door !== 'stream'
  const payloads = bodies(line.events, SUBJECTS, line.padding)
  const frames = payloads.map(isGrpc ? grpcMessage : clientFrame)
  const latency = new Histogram()
  let measuring = false
  let messages = 0
  let failed: (error: Error) => void = () => {}
  const failure = new Promise<never>((_, reject) => {
    failed = reject
  })
  const clients = Array.from({ length: line.connections }, (_, i) => {
    const load = {
      frames,
      inFlight: line.inFlight / line.connections,
      producer: line.producer ? `bench-${i}` : undefined,
      failed: (error: Error) => failed(error),
      acked: (count: number) => {
        if (measuring) messages += count
      },
      latency: () => (measuring ? latency : undefined),
    }
    return isGrpc ? new GrpcLoadClient(load, { unary: line.door === 'grpc-unary' }) : new StreamClient(load)
  })
  for (const client of clients) await Promise.race([client.open(isGrpc ? grpc : http), failure])
  for (const client of clients) client.start()
  await Promise.race([wait(WARMUP_SECONDS), failure])
  const started = performance.now()
  measuring = true
  await Promise.race([wait(seconds), failure])
  measuring = false
  const span = (performance.now() - started) / 1000
  for (const client of clients) client.stop()
  while (clients.some((client) => !client.idle)) await Promise.race([wait(0.01), failure])
  for (const client of clients) client.close()
  return { events: messages * line.events, seconds: span, latency }
}

/** Publishes as an application would: one event after another, as long as there is room. */
async function application(url: string, line: Line): Promise<Outcome> {
  const transport = line.door === 'client over HTTP' ? 'http' : 'stream'
  const client = new Client({ url, transport, concurrency: line.inFlight })
  const latency = new Histogram()
  let stopped = false
  let measuring = false
  const publishing = (async () => {
    for (let n = 0; !stopped; n++) {
      await client.ready()
      const acked = client.publish({
        source: 'sensor/eu-1',
        type: 'temperature',
        subject: `s${n % SUBJECTS}`,
        value: (n % 1000) / 8,
      })
      // One of a hundred: they share frames, and clocks cost too.
      if (n % 100 !== 0) continue
      const due = performance.now()
      acked.then(() => {
        if (measuring) latency.record(performance.now() - due)
      })
    }
  })()
  await wait(WARMUP_SECONDS)
  const started = performance.now()
  const before = client.stats.acked
  measuring = true
  await wait(seconds)
  measuring = false
  const events = client.stats.acked - before
  const span = (performance.now() - started) / 1000
  stopped = true
  await publishing
  await client.close()
  return { events, seconds: span, latency }
}

function http(url: string, line: Line): Promise<Outcome> {
  return generate({
    url,
    connections: line.connections,
    bodies: bodies(line.events, SUBJECTS, line.padding),
    eventsPerBody: line.events,
    warmupSeconds: WARMUP_SECONDS,
    seconds,
  })
}

interface Round {
  acked: number
  p50: number
  p99: number
  privateMb: number
  cpuUs: number
  clientUs: number
  catchUpMs: number
}

async function round(line: Line): Promise<Round> {
  const door = line.door.startsWith('grpc') ? ['grpc.listen=127.0.0.1:0'] : []
  const daemon = await Daemon.start([measured, ...door, ...(line.sets ?? []), ...values.set])
  try {
    const loading =
      line.door === 'http'
        ? http(daemon.http, line)
        : line.door.startsWith('client')
          ? application(daemon.http, line)
          : stream(daemon, line)
    const look = async () => ({
      accepted: (await daemon.status()).accepted.events,
      cpu: cpuOf(daemon.pid),
      own: process.cpuUsage(),
    })
    await Promise.race([wait(WARMUP_SECONDS), loading])
    const before = await look()
    await Promise.race([wait(seconds - 0.5), loading])
    const after = await look()
    const privateMb = sumOf(processesOf(daemon.pid), 'privateMb')
    const outcome = await loading
    const accepted = after.accepted - before.accepted
    const own = after.own.user + after.own.system - before.own.user - before.own.system
    return {
      acked: outcome.events / outcome.seconds,
      p50: outcome.latency.quantile(0.5),
      p99: outcome.latency.quantile(0.99),
      privateMb,
      cpuUs: ((after.cpu - before.cpu) / accepted) * 1e6,
      clientUs: own / accepted,
      catchUpMs: await daemon.caughtUp(),
    }
  } finally {
    await daemon.stop()
  }
}

function wait(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}

console.log(
  `${machineLine(await describeMachine())}\n${methodLine({ rounds, seconds, warmupSeconds: WARMUP_SECONDS })}\n`,
)
const results = new Map<string, Round[]>(lines.map(({ name }) => [name, []]))
for (let n = 0; n < rounds; n++) for (const line of lines) results.get(line.name)!.push(await round(line))
const head = [
  ...['line', 'connections', 'in flight', 'events/s acked', 'ack p50 ms', 'p99', 'private MB'],
  ...['CPU us/event, daemon', 'generator', 'catch-up ms'],
]
const columns: [field: keyof Round, digits: number][] = [
  ['acked', 0],
  ['p50', 2],
  ['p99', 2],
  ['privateMb', 0],
  ['cpuUs', 2],
  ['clientUs', 2],
  ['catchUpMs', 0],
]
const rows = lines.map(({ name, connections, inFlight }) => {
  const all = results.get(name)!
  const cells = columns.map(([field, digits]) =>
    spread(
      all.map((one) => one[field]),
      digits,
    ),
  )
  return [name, String(connections), String(inFlight), ...cells]
})
console.log(markdown(head, rows))
