// Dashboards, rules and what serves them, as far as they can be checked without a daemon. That every query has data is
// shown in e2e/dashboards.test.ts.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { dashboardFiles } from '../scripts/dashboards/files.ts'
import { fetchPrometheus, prometheusMissing } from '../scripts/tools/prometheus.ts'
import { catalogue, type Metric } from '../src/telemetry/catalogue.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { ProcessMetrics } from '../src/telemetry/process.ts'
import { dashboards, panelsOf, shown } from './dashboards.ts'
import { labelsIn, seriesIn } from './promql.ts'

const run = promisify(execFile)

const root = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const needsPromtool = { skip: (await prometheusMissing()) ?? false }

interface Alert {
  alert: string
  expr: string
  labels: { severity: string }
  annotations: { summary: string; description: string; runbook: string }
}

interface Recording {
  record: string
  expr: string
}

const rulesOf = <R>(file: string): R[] =>
  parse(read(`grafana/prometheus/${file}`)).groups.flatMap(({ rules }: { rules: R[] }) => rules)

const alerts = rulesOf<Alert>('alerts.yml')
const records = rulesOf<Recording>('rules.yml')

const promtool = async (...words: string[]) => {
  const { promtool } = await fetchPrometheus()
  await run(promtool, words, { cwd: join(root, 'grafana/prometheus') })
}

test('the files that Grafana reads are those that the code makes', () => {
  assert.deepEqual(readdirSync(join(root, 'grafana/dashboards')).sort(), Object.keys(dashboardFiles).sort())
  for (const [name, text] of Object.entries(dashboardFiles)) {
    assert.ok(read(`grafana/dashboards/${name}`) === text, `${name} is old: npm run dashboards`)
  }
})

test('every panel says what it shows, in what unit, and what to do about it', () => {
  for (const dashboard of dashboards) {
    const panels = panelsOf(dashboard)
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
    for (const { title, description = '', targets = [], fieldConfig } of panels) {
      assert.ok(description.length > 20 && description.endsWith('.'), title)
      assert.ok(targets.length > 0, title)
      assert.ok(fieldConfig?.defaults.unit, title)
      for (const { expr } of targets) assert.match(expr, /job=~"\$job", instance=~"\$instance"/, title)
    }
    const ids = dashboard.panels.map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length, 'panels have addresses of their own')
  }
})

test('panels fill their rows, and none lies on another', () => {
  for (const { title, panels } of dashboards) {
    const taken = new Set<string>()
    let bottom = 0
    for (const { gridPos } of panels) {
      const { x, y, w, h } = gridPos
      bottom = Math.max(bottom, y + h)
      for (let i = x; i < x + w; i++) {
        for (let j = y; j < y + h; j++) {
          assert.ok(i < 24 && !taken.has(`${i} ${j}`), `${title}: ${JSON.stringify(gridPos)}`)
          taken.add(`${i} ${j}`)
        }
      }
    }
    assert.equal(taken.size, 24 * bottom, `${title} has holes`)
  }
})

test('dashboards lead to each other, with the same choice', () => {
  for (const { links, tags, templating } of dashboards) {
    assert.deepEqual(links[0].tags, tags)
    assert.deepEqual(
      templating.list.slice(0, 3).map(({ name }) => name),
      ['datasource', 'job', 'instance'],
    )
  }
  assert.equal(new Set(dashboards.map(({ uid }) => uid)).size, dashboards.length)
})

test('every variable that a query uses is one of its dashboard', () => {
  for (const dashboard of dashboards) {
    const names = new Set(dashboard.templating.list.map(({ name }) => name))
    for (const [, name] of JSON.stringify(dashboard.panels).matchAll(/\$(\w+)/g)) {
      assert.ok(names.has(name) || name.startsWith('__'), `${dashboard.title}: $${name}`)
    }
  }
})

test('every alert says how bad it is, what it is, and what to do, in words that it has', () => {
  const runbook = read('docs/runbook.md')
  for (const { alert, expr, labels, annotations } of alerts) {
    assert.ok(['critical', 'warning'].includes(labels.severity), alert)
    const { summary, description, runbook: link } = annotations
    assert.ok(summary.endsWith('.') && description.endsWith('.'), alert)
    assert.equal(link, `docs/runbook.md#${alert.toLowerCase()}`)
    const section = runbook.split(`\n## ${alert}\n\n`)[1]?.split('\n## ')[0] ?? ''
    assert.ok(section.startsWith(`${labels.severity}. `), `${alert}: the runbook says how bad it is, too`)
    assert.ok(section.includes('- **Look**: ') && section.includes('- **Do**: '), alert)
    const kept = ['job', 'instance', ...labelsIn(expr)]
    for (const [, label] of (summary + description).matchAll(/\$labels\.(\w+)/g)) {
      assert.ok(kept.includes(label), `${alert} has no label ${label}`)
    }
  }
  const sections = [...runbook.matchAll(/^## (\w+)$/gm)].map(([, name]) => name)
  assert.deepEqual(sections.sort(), alerts.map(({ alert }) => alert).sort(), 'one section for each alert')
})

test('recorded series are named level:metric:operations, and each is used', () => {
  const used = JSON.stringify([alerts, records.map(({ expr }) => expr)])
  for (const { record } of records) {
    assert.match(record, /^job(_instance)?:millrace_\w+:\w+$/)
    assert.ok(used.includes(record), record)
  }
})

test('queries name metrics that there are, by labels that they have', async () => {
  const ofProcess = new ProcessMetrics(new Metrics())
  const known: Record<string, Metric> = { ...catalogue, ...(await ofProcess.describe()) }
  ofProcess.close()
  // What Prometheus itself and our own rules add.
  const labelsOf: Record<string, string[]> = { up: [], ALERTS: ['alertname', 'alertstate'] }
  for (const { record } of records) labelsOf[record] = []
  for (const [name, { type, labels, roles }] of Object.entries(known)) {
    const own = [...labels, ...(roles === undefined ? [] : ['role', 'worker'])]
    if (type !== 'histogram') labelsOf[name] = own
    else for (const end of ['bucket', 'sum', 'count']) labelsOf[`${name}_${end}`] = [...own, 'le']
    if (type === 'summary') for (const end of ['sum', 'count']) labelsOf[`${name}_${end}`] = own
  }
  const queries = [
    ...shown().map(({ where, expr }) => [where, expr]),
    ...alerts.map(({ alert, expr }) => [alert, expr]),
    ...records.map(({ record, expr }) => [record, expr]),
  ]
  for (const [where, expr] of queries) {
    const series = seriesIn(expr)
    assert.ok(series.length > 0, where)
    for (const name of series) assert.ok(name in labelsOf, `${where}: there is no ${name}`)
    const labels = ['job', 'instance', ...series.flatMap((name) => labelsOf[name])]
    for (const label of labelsIn(expr)) assert.ok(labels.includes(label), `${where}: ${label} in ${expr}`)
  }
})

test('every metric of ours is on a dashboard, but for those that say the same as another', () => {
  const seen = new Set(
    shown().flatMap(({ expr }) => seriesIn(expr).map((name) => name.replace(/_(bucket|sum|count)$/, ''))),
  )
  const unseen = Object.keys(catalogue).filter((name) => !seen.has(name))
  assert.deepEqual(unseen, ['millrace_events_accepted_total', 'millrace_lag_bytes'])
})

test('promtool finds nothing wrong with the configurations and the rules', needsPromtool, async () => {
  for (const file of ['prometheus.yml', 'compose.yml']) await promtool('check', 'config', file)
  await promtool('check', 'rules', '--lint=all', '--lint-fatal', 'rules.yml', 'alerts.yml')
})

test('every alert fires when it must, and is silent when it must not', needsPromtool, async () => {
  const tests = read('grafana/prometheus/alerts.test.yml')
  for (const { alert, labels } of alerts) {
    const fires = `alertname="${alert}", alertstate="firing", severity="${labels.severity}"`
    assert.ok(tests.includes(fires), `no test makes ${alert} fire`)
  }
  await promtool('test', 'rules', 'alerts.test.yml')
})

test('the daemon of this machine and those in containers are scraped in the same way', () => {
  const { scrape_configs: host, ...same } = parse(read('grafana/prometheus/prometheus.yml'))
  const { scrape_configs: containers, ...other } = parse(read('grafana/prometheus/compose.yml'))
  assert.deepEqual(other, same)
  assert.deepEqual([host[0].job_name, containers[0].job_name], ['millrace', 'millrace'])
  const { datasources } = parse(read('grafana/provisioning/datasources/prometheus.yml'))
  assert.equal(datasources[0].jsonData.timeInterval.split(' ')[0], same.global.scrape_interval)
})

for (const [running, chosen, other] of [
  ['', 'prometheus-host', 'prometheus'],
  ['4f1c', 'prometheus', 'prometheus-host'],
]) {
  test(`make monitor starts ${chosen} and Grafana, and opens the page`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
    t.after(() => rm(folder, { recursive: true }))
    const told = join(folder, 'told')
    const programs = {
      docker: `#!/bin/sh\necho "docker $*" >> ${told}\ncase "$*" in *" ps "*) echo "${running}" ;; esac\n`,
      'xdg-open': `#!/bin/sh\necho "xdg-open $*" >> ${told}\n`,
      uname: '#!/bin/sh\necho Linux\n',
    }
    for (const [name, text] of Object.entries(programs)) {
      await writeFile(join(folder, name), text, { mode: 0o755 })
    }
    const env = { PATH: `${folder}:/usr/bin:/bin`, DISPLAY: ':0' }
    await run(join(root, 'scripts/monitor.sh'), { env })
    const [stopped, started, opened] = (await readFile(told, 'utf8')).trimEnd().split('\n').slice(-3)
    assert.equal(stopped, `docker compose rm --stop --force ${other}`)
    assert.equal(started, `docker compose up --detach --wait --no-deps ${chosen} grafana`)
    assert.equal(opened, 'xdg-open http://127.0.0.1:3000/d/millrace-overview')
  })
}

test('where there is no docker, make monitor says what to run', async () => {
  const { stdout } = await run(join(root, 'scripts/monitor.sh'), {
    env: { PATH: '/usr/bin:/bin', DOCKER_HOST: 'unix:///nowhere/docker.sock' },
  })
  for (const [file] of stdout.matchAll(/grafana\/[\w/.]+\.\w+/g)) assert.ok(read(file), file)
  assert.match(stdout, /--config\.file=grafana\/prometheus\/prometheus\.yml/)
})
