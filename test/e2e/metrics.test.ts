// One scrape of everything, whatever happens to the processes.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { prometheusMissing } from '../../scripts/tools/prometheus.ts'
import { catalogue, type Metric, type Role } from '../../src/telemetry/catalogue.ts'
import { until } from '../until.ts'
import { Client } from './client.ts'
import { assertCounted, killRole, untilAcked } from './counted.ts'
import { atEnd, Daemon, frame, killQuietly, temporaryFolder } from './daemon.ts'
import { GrpcClient } from './grpc-client.ts'
import { logOf, startBrokers } from './kinds.ts'
import { random } from './random.ts'
import { promtoolCheck, Scrape } from './scrape.ts'
import { StreamClient } from './stream-client.ts'

/** After which Prometheus gives a scrape up, unless told otherwise. */
const SCRAPE_MS_MAX = 10_000
/** Nobody waits for a stalled worker. */
const STALLED_MS_MAX = 1_000

/** Workers of the daemon below. */
const workers: [Role, worker: number][] = [
  ['primary', 0],
  ['listener', 0],
  ['listener', 1],
  ['processor', 0],
  ['gateway', 0],
]
const config = { cluster: { listeners: 2 }, grpc: {} }

/** Only where there are brokers. */
const ofBrokers = /^millrace_log_(up|reconnects|missing)/

test('one scrape has every metric of every process, and promtool finds no fault with it', {
  skip: (await prometheusMissing()) ?? false,
}, async (t) => {
  const daemon = await daemonWithHandler(t)
  for (let n = 0; n < 20; n++) await (await daemon.post(frame({ subject: 'a' }, { subject: 'b' }))).text()
  for (const subject of ['drop', 'drop', 'letter']) await (await daemon.post(frame({ subject }))).text()
  assert.equal((await daemon.post('no frame')).status, 400)
  const grpc = new GrpcClient(daemon.grpc)
  atEnd(t, () => grpc.close())
  const published = frame({ subject: 'g' })
  const refused = Buffer.from('no frame')
  await grpc.publish(published)
  await assert.rejects(grpc.publish(refused))
  const stream = new StreamClient(daemon, 'streaming', 1)
  const streaming = stream.run()
  await until(() => stream.acked > 0, 'an ack on the stream')
  stream.stop()
  await streaming
  const events = 44 + stream.ackedEvents
  await daemon.processed(events)
  const totals: [expected: number, name: string, ...labels: string[]][] = [
    [events, 'millrace_events_accepted_total'],
    [events, 'millrace_events_processed_total'],
    [events, 'millrace_queryable_seconds_count'],
    [43, 'millrace_received_events_total', 'door="http"'],
    [1, 'millrace_received_events_total', 'door="grpc"', 'role="gateway"'],
    [stream.ackedEvents, 'millrace_received_events_total', 'door="stream"'],
    [stream.acked, 'millrace_publish_ack_seconds_count', 'door="stream"'],
    [23, 'millrace_http_requests_total', 'route="/v1/events"', 'code="202"'],
    [1, 'millrace_http_requests_total', 'route="/v1/events"', 'code="400"'],
    [1, 'millrace_http_requests_total', 'route="/v1/stream"', 'code="101"'],
    [1, 'millrace_publish_refused_total', 'door="http"', 'code="malformed"'],
    [1, 'millrace_publish_refused_total', 'door="grpc"', 'code="malformed"'],
    [1, 'millrace_grpc_requests_total', 'method="millrace.v1.Ingest/Publish"', 'code="OK"'],
    [1, 'millrace_grpc_requests_total', 'code="INVALID_ARGUMENT"'],
    [published.length + refused.length, 'millrace_grpc_request_bytes_total', 'role="gateway"'],
    [2, 'millrace_events_dropped_total', 'handler="tried"', 'reason="unwanted"'],
    [1, 'millrace_handler_events_total', 'handler="tried"', 'outcome="dead_lettered"'],
    [events - 3, 'millrace_handler_events_total', 'outcome="handled"'],
    [1, 'millrace_events_dead_lettered_total'],
    [1, 'millrace_dead_letters'],
    [0, 'millrace_lag_events'],
    [0, 'millrace_stream_connections'],
    [1, 'millrace_ready'],
  ]
  const check = (scrape: Scrape) => {
    assert.equal(scrape.total('millrace_worker_stale'), 0)
    for (const [role, worker] of workers) {
      const of = [`role="${role}"`, `worker="${worker}"`]
      assert.equal(scrape.total('millrace_worker_up', ...of), 1, `${of} is up`)
      assert.ok(scrape.has('millrace_worker_stale', ...of), `whether ${of} is stale`)
      for (const name of ['process_resident_memory_bytes', 'nodejs_heap_size_used_bytes']) {
        assert.ok(scrape.total(name, ...of) > 1e6, `${name} of ${of}`)
      }
    }
    for (const [name, metric] of Object.entries(catalogue as Record<string, Metric>)) {
      if (ofBrokers.test(name)) continue
      const series = metric.type === 'histogram' ? `${name}_count` : name
      if (metric.roles === undefined) assert.ok(scrape.has(series), name)
      for (const role of metric.roles ?? []) {
        // Here the listeners have the data port, and the gateway has gRPC only.
        if (role === 'gateway' && /_http_/.test(name)) continue
        assert.ok(scrape.has(series, `role="${role}"`), `${name} of a ${role}`)
      }
    }
    for (const [expected, name, ...labels] of totals) {
      assert.equal(scrape.total(name, ...labels), expected, `${name} ${labels}`)
    }
  }
  // A process may be late for one of them, or not have loaded all of its metrics.
  const scrape = await scrapeThatPasses(daemon, check)
  assert.equal(await promtoolCheck(scrape), '')

  const open = await Scrape.of(daemon, 'application/openmetrics-text;version=1.0.0')
  assert.ok(open.text.endsWith('# EOF\n'))
  assert.equal(open.types.get('millrace_events_accepted'), 'counter')
  assert.equal(open.total('millrace_events_accepted_total'), events)
})

test('a broker that goes away and comes back shows, and so does what is refused meanwhile', async (t) => {
  const brokers = await startBrokers(t, 'jetstream')
  const daemon = await Daemon.start(t, { config: { log: logOf('jetstream', brokers) } })
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  await untilAcked([client], 10)
  const watching = watch(daemon, [
    ['listener', 0],
    ['listener', 1],
    ['processor', 0],
  ])
  const isUp = (scrape: Scrape) => scrape.total('millrace_log_up', 'broker="jetstream"') === 2
  await watching.until(isUp)
  await brokers.nats!.kill()
  await watching.until((scrape) => scrape.total('millrace_log_up') === 0)
  await watching.until((scrape) => scrape.total('millrace_backpressure', 'reason="log_unavailable"') > 0)
  await brokers.nats!.restart()
  await watching.until((scrape) => isUp(scrape) && scrape.total('millrace_log_reconnects_total') >= 3)
  await untilAcked([client], 10)
  await watching.until((scrape) => scrape.total('millrace_backpressure') === 0)
  client.stop()
  await sending
  await watching.stop()
})

test('workers are killed, stopped and replaced under load: each scrape is quick and whole, and no counter goes back', async (t) => {
  const { pick, seed } = random(t)
  const daemon = await Daemon.start(t, { config })
  const clients = Array.from({ length: 4 }, (_, i) => new Client(daemon, `client-${i}`, seed + i))
  const sending = clients.map((client) => client.run())
  const watching = watch(daemon, workers)
  await untilAcked(clients, 200)

  for (const role of ['listener', 'processor', 'gateway', 'listener', 'processor'] as const) {
    await killRole(daemon, role, pick)
    await untilAcked(clients, 200)
    await watching.until((scrape) => scrape.total('millrace_worker_up') === workers.length)
  }
  for (const role of ['listener', 'processor']) {
    const { pid } = (await daemon.status()).roles.find((one) => one.role === role)!
    process.kill(pid, 'SIGSTOP')
    atEnd(t, () => killQuietly(pid, 'SIGCONT'))
    await watching.until((scrape) => scrape.total('millrace_worker_stale', `role="${role}"`) === 1)
    process.kill(pid, 'SIGCONT')
    await watching.until((scrape) => scrape.total('millrace_worker_stale') === 0)
  }
  daemon.signal('SIGHUP')
  await daemon.line(({ msg }) => msg === 'reloaded')
  await untilAcked(clients, 200)

  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(daemon, clients)
  const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
  const last = await watching.until((scrape) => scrape.total('millrace_events_processed_total') === acked)
  const duplicates = last.total('millrace_events_duplicate_total')
  assert.equal(last.total('millrace_events_accepted_total'), acked + duplicates, 'accepted, and acked')
  assert.equal(last.total('millrace_worker_restarts_total'), 5)
  const received = last.total('millrace_received_events_total')
  assert.ok(received <= acked + duplicates, 'nothing is counted twice')
  const { scrapes, slowest, quickestStalled } = await watching.stop()
  assert.ok(quickestStalled < STALLED_MS_MAX, `with a stalled worker a scrape took ${quickestStalled} ms`)
  t.diagnostic(`${scrapes} scrapes, the slowest took ${slowest.toFixed(0)} ms`)
})

test('a client that asks for a thousand unknown routes makes one series of them', async (t) => {
  const daemon = await Daemon.start(t)
  const ask = async (path: string) => void (await (await fetch(daemon.http + path)).text())
  await ask('/v1/measures/nothing/top')
  await ask('/nothing')
  const before = await settled(daemon, 1)
  for (let n = 0; n < 1000; n += 50) {
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => ask(i % 2 ? `/made-up/${n + i}` : `/v1/measures/m${n + i}/top`)),
    )
  }
  const after = await settled(daemon, 501)
  const routes = ({ values }: Scrape) =>
    new Set([...values.keys()].flatMap((key) => /route="[^"]*"/.exec(key) ?? []))
  assert.deepEqual(routes(after), routes(before))
  assert.equal(
    after.total('millrace_http_requests_total', 'route="/v1/measures/{name}/top"', 'code="404"'),
    501,
  )
  assert.doesNotMatch(after.text, /made-up|m998/)
})

test('in one process, as under a profiler, all roles are there and Node’s numbers are there once', async (t) => {
  const daemon = await Daemon.start(t, { nodeArguments: ['--prof', '--no-logfile-per-isolate'] })
  await (await daemon.post(frame({ subject: 'a' }))).text()
  await daemon.processed(1)
  const scrape = await Scrape.of(daemon)
  assert.equal(scrape.total('millrace_events_accepted_total'), 1)
  for (const role of ['primary', 'listener', 'processor']) {
    assert.equal(scrape.total('millrace_worker_up', `role="${role}"`), 1)
  }
  assert.equal(scrape.total('nodejs_version_info'), 1)
  assert.equal(scrape.total('millrace_log_segments_total'), 1)
})

/** A handler that drops what is to be dropped, and throws for what is to be a dead letter. */
async function daemonWithHandler(t: TestContext): Promise<Daemon> {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'handler.mjs')
  await writeFile(
    path,
    `import { defineHandler, drop } from 'millrace'
     export default defineHandler({
       name: 'tried',
       map({ subject }) {
         if (subject === 'drop') return drop('unwanted')
         if (subject === 'letter') throw new Error('cannot')
       },
     })`,
  )
  return Daemon.start(t, { config: { ...config, handlers: [path] } })
}

/** Scrapes as soon as the last one is there, and holds each against all before it. */
function watch(daemon: Daemon, workers: readonly [Role, number][]) {
  const highest = new Map<string, number>()
  let last: Scrape | undefined
  let stopped = false
  let scrapes = 0
  let slowest = 0
  let quickestStalled = Number.POSITIVE_INFINITY
  const running = (async () => {
    while (!stopped && !daemon.ended) {
      const scrape = await Scrape.of(daemon)
      scrapes++
      slowest = Math.max(slowest, scrape.ms)
      if (scrape.total('millrace_worker_stale') > 0) quickestStalled = Math.min(quickestStalled, scrape.ms)
      assert.ok(scrape.ms < SCRAPE_MS_MAX, `a scrape took ${scrape.ms} ms`)
      for (const [role, worker] of workers) {
        const of = [`role="${role}"`, `worker="${worker}"`]
        for (const name of [
          'millrace_worker_up',
          'millrace_worker_stale',
          'millrace_worker_restarts_total',
        ]) {
          assert.ok(scrape.has(name, ...of), `${name} of ${of}`)
        }
      }
      for (const [series, value] of scrape.rising()) {
        assert.ok(
          value >= (highest.get(series) ?? 0),
          `${series} went from ${highest.get(series)} to ${value}`,
        )
        highest.set(series, value)
      }
      for (const series of highest.keys()) assert.ok(scrape.values.has(series), `${series} is gone`)
      last = scrape
    }
  })()
  running.catch(() => {}) // told by whoever waits
  return {
    /** The first scrape from now on that is as wanted. */
    async until(wanted: (scrape: Scrape) => boolean): Promise<Scrape> {
      const before = last
      const found = until(() => last !== before && last !== undefined && wanted(last), 'a scrape as wanted')
      await Promise.race([found, running.then(() => found)])
      return last!
    },
    async stop() {
      stopped = true
      await running
      return { scrapes, slowest, quickestStalled }
    },
  }
}

/** A scrape that has so many requests of no known route. */
function settled(daemon: Daemon, requests: number): Promise<Scrape> {
  return scrapeWhere(
    daemon,
    (scrape) => scrape.total('millrace_http_requests_total', 'route="other"') === requests,
    'all requests to be counted',
  )
}

async function scrapeWhere(
  daemon: Daemon,
  holds: (scrape: Scrape) => boolean,
  what: string,
): Promise<Scrape> {
  let scrape: Scrape
  await until(async () => {
    scrape = await Scrape.of(daemon)
    return holds(scrape)
  }, what)
  return scrape!
}

/** A scrape that this does not throw for; what was wrong with the last one, where there is none. */
async function scrapeThatPasses(daemon: Daemon, check: (scrape: Scrape) => void): Promise<Scrape> {
  let wrong: unknown
  const passes = (scrape: Scrape) => {
    try {
      check(scrape)
      return true
    } catch (error) {
      wrong = error
      return false
    }
  }
  return scrapeWhere(daemon, passes, 'a scrape with nothing wrong').catch((error) => {
    throw wrong ?? error
  })
}
