// What an operator looks at, from end to end: real daemons under load, a real Prometheus with our rules, and every query
// of the dashboards and rules asked of it.

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { reservePort } from '../../scripts/ports.ts'
import { prometheusMissing } from '../../scripts/tools/prometheus.ts'
import { asked, type Shown, shown } from '../dashboards.ts'
import { labelsIn, seriesIn } from '../promql.ts'
import { until } from '../until.ts'
import { killRole } from './counted.ts'
import { atEnd, Daemon, frame, temporaryFolder } from './daemon.ts'
import { GrpcClient } from './grpc-client.ts'
import { logOf, startBrokers } from './kinds.ts'
import { PrometheusServer, SCRAPE_SECONDS, type Series } from './prometheus.ts'
import { RawStream } from './raw-stream.ts'
import { TapClient } from './tap-client.ts'

/** Between two rounds of the load: enough for every rate, and far from what the machine can do. */
const ROUND_MS = 20
/** How far back the graphs look. */
const RANGE_SECONDS = 60

/** A daemon with every door, two partitions, and a handler that does all that a handler may do. */
async function embedded(t: TestContext): Promise<Daemon> {
  const folder = await temporaryFolder(t)
  const dataDir = join(folder, 'data')
  await mkdir(dataDir)
  const handler = join(folder, 'handler.mjs')
  await writeFile(
    handler,
    `import { deadLetter, defineHandler, drop } from 'millrace'
     export default defineHandler({
       name: 'picky',
       map({ type }) {
         if (type === 'bad') return deadLetter('it is bad')
         if (type === 'useless') return drop('of no use')
       },
     })`,
  )
  return Daemon.start(t, {
    dataDir,
    config: {
      handlers: [handler],
      grpc: {},
      log: { partitions: 2, retention: { maxBytes: '512MiB' } },
    },
  })
}

/** A daemon on two brokers. */
async function onBrokers(t: TestContext): Promise<Daemon> {
  const log = { ...logOf('dual', await startBrokers(t, 'dual')), dual: { ackWhen: 'both' } }
  const listen = `127.0.0.1:${await reservePort()}` // where Prometheus finds it after a restart
  return Daemon.start(t, { config: { log, admin: { listen } } })
}

/** Everything that daemons can be asked for or given, round by round, until the test ends. */
async function load(t: TestContext, all: Daemon, brokers: Daemon): Promise<void> {
  const grpc = new GrpcClient(all.grpc)
  atEnd(t, () => grpc.close())
  const stream = await RawStream.open(t, all)
  await TapClient.open(t, all, '?rate=1')
  let over = false
  atEnd(t, () => {
    over = true
  })
  const good = Array.from({ length: 20 }, (_, i) => ({ subject: `s${i}`, value: i }))
  const whole = frame(...good)
  const mixed = frame(...good, { type: 'bad' }, { type: 'useless' })
  const producer = { 'millrace-producer': 'p', 'millrace-sequence': '1' }
  const round = async () => {
    stream.send(whole)
    await Promise.all([
      all.post(mixed).then(drained),
      all.post(whole, producer).then(drained), // the same one each time: it counts once
      all.post('no frame').then(drained),
      all.get('/v1/measures/by-subject?merge=true'),
      grpc.publish(whole),
      brokers.post(whole).then(drained, () => {}), // it is killed and restarted meanwhile
    ])
  }
  void (async () => {
    while (!over) {
      await round().catch((error) => {
        if (!over) throw error
      })
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS))
    }
  })()
}

const drained = async (response: Response) => void (await response.arrayBuffer())

const needsPrometheus = { skip: (await prometheusMissing()) ?? false }

test(
  'every panel, mark and variable has data, and every rule can be worked out',
  needsPrometheus,
  async (t) => {
    const [all, brokers] = await Promise.all([embedded(t), onBrokers(t)])
    const jobs = { millrace: [new URL(all.admin).host], 'millrace-brokers': [new URL(brokers.admin).host] }
    const prometheus = await PrometheusServer.start(t, jobs)
    await load(t, all, brokers)

    const restarts = (count: number) =>
      until(async () => {
        const query = `sum(millrace_worker_restarts_total{role="listener", job="millrace-brokers"}) == ${count}`
        return (await prometheus.now(query)).length > 0
      }, `Prometheus to know of ${count} restarts`)
    await restarts(0)
    await killRole(brokers, 'listener', ([first]) => first)
    await restarts(1)
    // To rate() a counter that goes back has begun anew, and all of it is a step.
    const job = '{job="millrace-brokers"}'
    const names = (await prometheus.labelValues(job, '__name__')).filter((name) =>
      /^millrace_.*_(total|count|bucket)$/.test(name),
    )
    assert.ok(names.length > 20, names.join(' '))
    for (const name of names) {
      const resets = await prometheus.now(`sum(resets(${name}${job}[1m]))`)
      assert.deepEqual([name, resets.map(({ values }) => values[0][1])], [name, ['0']])
    }
    await brokers.stop()
    await brokers.launch()

    await t.test('panels and marks', async () => {
      let empty: { query: Shown; why: string }[] = shown().map((query) => ({ query, why: 'not asked' }))
      await until(async () => {
        const answers = await Promise.all(
          empty.map(async ({ query }) => ({ query, why: await whyEmpty(prometheus, query) })),
        )
        empty = answers.flatMap(({ query, why }) => (why === undefined ? [] : [{ query, why }]))
        return empty.length === 0
      }, 'every panel').catch((error: Error) => {
        const list = empty.map(({ query, why }) => `${query.where}: ${why}\n    ${query.expr}`)
        assert.fail(`${error.message}; what is missing:\n${list.join('\n')}`)
      })
    })

    await t.test('variables', async () => {
      for (const { where, selector, label } of asked()) {
        const values = await prometheus.labelValues(filled(selector), label)
        assert.ok(values.length > 0, where)
      }
    })

    await t.test('rules', async () => {
      await until(
        async () => (await prometheus.rules()).every(({ health }) => health !== 'unknown'),
        'the rules',
      )
      for (const { name, type, query, health, lastError } of await prometheus.rules()) {
        assert.equal(health, 'ok', `${name}: ${lastError}`)
        // A scrape that comes too late takes its series away until the next one.
        if (type === 'recording') await until(async () => (await prometheus.now(name)).some(hasNumber), name)
        const labels = new Set<string>()
        for (const series of seriesIn(query)) {
          let found: Awaited<ReturnType<typeof prometheus.now>> = []
          await until(async () => {
            found = await prometheus.now(series)
            return found.length > 0
          }, `${name}: ${series}`)
          for (const { metric } of found) for (const label of Object.keys(metric)) labels.add(label)
        }
        for (const label of labelsIn(query))
          assert.ok(labels.has(label), `${name}: nothing has a label ${label}`)
      }
    })

    await t.test('what is wrong is told, and nothing else', async () => {
      await until(async () => (await firing(prometheus)).includes('MillraceDeadLetters'), 'the alert')
      assert.deepEqual(await firing(prometheus), ['MillraceDeadLetters'])
      await until(async () => {
        return (await prometheus.targets()).every(({ health }) => health === 'up')
      }, 'all targets to be up')
    })
  },
)

async function firing(prometheus: PrometheusServer): Promise<string[]> {
  return (await prometheus.rules()).filter(({ state }) => state === 'firing').map(({ name }) => name)
}

/** Why a graph of the last minute would show nothing, or undefined. */
async function whyEmpty(prometheus: PrometheusServer, query: Shown): Promise<string | undefined> {
  const { expr, instant, heatmap, labels } = query
  const series = instant
    ? await prometheus.now(filled(expr))
    : await prometheus.lately(filled(expr), RANGE_SECONDS)
  if (series.length === 0) return 'no series'
  if (!series.some(hasNumber)) return 'no number'
  if (heatmap && !series.some(({ values }) => values.some(([, value]) => Number(value) > 0)))
    return 'all zero'
  const unlabelled = labels.find((label) => series.some(({ metric }) => !(label in metric)))
  return unlabelled === undefined ? undefined : `a series without the label ${unlabelled}`
}

function hasNumber({ values }: Series): boolean {
  return values.some(([, value]) => Number.isFinite(Number(value)))
}

/** As Grafana sends it, with everything chosen. */
function filled(expr: string): string {
  return expr
    .replaceAll('$__rate_interval', `${4 * SCRAPE_SECONDS}s`)
    .replaceAll('$__interval', `${SCRAPE_SECONDS}s`)
    .replaceAll(/\$(job|instance|role)\b/g, '.*')
}
