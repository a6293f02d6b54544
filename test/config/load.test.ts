import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { leastBytes, segmentBytesMax } from '../../src/config/log-size.ts'
import { leastRetentionBytes } from '../../src/config/schema.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const file = join(folder, 'm.yaml')

interface Given {
  yaml?: string
  env?: Record<string, string>
  sets?: string[]
}

function load({ yaml, env = {}, sets = [] }: Given) {
  writeFileSync(file, yaml ?? '')
  return loadConfig({ file, env, sets }).config
}

/** The problems, with the file's folder left out. */
function problemsOf(given: Given): string[] {
  try {
    load(given)
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems.map((problem) => problem.replaceAll(file, 'm.yaml'))
  }
  return []
}

const byDefault = {
  dataDir: './data',
  http: { listen: { host: '127.0.0.1', port: 7070 }, maxBody: 4 * 2 ** 20 },
  grpc: { listen: { host: '127.0.0.1', port: 7071 } },
  admin: { listen: { host: '127.0.0.1', port: 7072 } },
  cluster: { listeners: availableParallelism(), processors: 1 },
  pool: { threads: Math.max(1, Math.floor(availableParallelism() / 2)), heap: 512 * 2 ** 20 },
  log: {
    kind: 'embedded',
    partitions: 1,
    retention: { maxBytes: 10 * 2 ** 30, maxAge: 86_400_000 },
    jetstream: { servers: ['127.0.0.1:4222'], stream: 'MILLRACE', replicas: 1 },
    kafka: { brokers: ['127.0.0.1:9092'], topic: 'millrace.events', replicas: 1, client: 'kafkajs' },
    dual: { ackWhen: 'both', consume: 'jetstream' },
  },
  ledger: { producerIdle: 86_400_000 },
  logging: { level: 'info' },
  measures: [
    { name: 'by-subject', where: {}, by: ['subject'], value: 'value', window: 60_000, quantiles: true },
  ],
  handlers: [],
}

test('everything has a default: an empty file is a configuration', () => {
  for (const yaml of ['', '# only a comment\n', '{}', 'http:\nlog: { kind: }\nmeasures:\n']) {
    assert.deepEqual(load({ yaml }), byDefault, yaml)
  }
})

test('a whole configuration is read as it is meant', () => {
  const sha256 = 'ab'.repeat(32)
  const yaml = `
dataDir: /var/lib/millrace
http: { listen: "[::]:80", maxBody: 1MB }
grpc: none
admin: { listen: localhost:0 }
cluster: { listeners: 3, processors: 2 }
pool: { threads: auto }
log:
  kind: dual
  partitions: 4
  retention: { maxBytes: 1.5GiB, maxAge: 7d }
  jetstream: { servers: ["a:1", "[::1]:2"], stream: S, replicas: 3, user: u, password: p, tls: true }
  kafka:
    brokers: b:9, c:9
    topic: t.x
    replicas: 2
    client: platformatic
    sasl: { mechanism: scram-sha-512, username: u, password: p }
  dual: { ackWhen: any, consume: union }
ledger: { producerIdle: 90m }
logging: { level: debug }
measures:
  - name: errors
    where: { type: "*.error", attributes.region: eu-* }
    by: [source, attributes.region]
    value: none
    window: all
handlers: []
auth: { keys: [ { name: app, sha256: ${sha256.toUpperCase()}, scopes: [publish, query], eventsPerSecond: 10 } ] }
`
  assert.deepEqual(load({ yaml }), {
    dataDir: '/var/lib/millrace',
    http: { listen: { host: '::', port: 80 }, maxBody: 1_000_000 },
    grpc: 'none',
    admin: { listen: { host: 'localhost', port: 0 } },
    cluster: { listeners: 3, processors: 2 },
    pool: { threads: Math.max(1, Math.floor(availableParallelism() / 2)), heap: 512 * 2 ** 20 },
    log: {
      kind: 'dual',
      partitions: 4,
      retention: { maxBytes: 1.5 * 2 ** 30, maxAge: 7 * 86_400_000 },
      jetstream: {
        servers: ['a:1', '[::1]:2'],
        stream: 'S',
        replicas: 3,
        user: 'u',
        password: 'p',
        tls: true,
      },
      kafka: {
        brokers: ['b:9', 'c:9'],
        topic: 't.x',
        replicas: 2,
        client: 'platformatic',
        sasl: { mechanism: 'scram-sha-512', username: 'u', password: 'p' },
      },
      dual: { ackWhen: 'any', consume: 'union' },
    },
    ledger: { producerIdle: 5_400_000 },
    logging: { level: 'debug' },
    measures: [
      {
        name: 'errors',
        where: { type: '*.error', 'attributes.region': 'eu-*' },
        by: ['source', 'attributes.region'],
        value: 'none',
        window: 'all',
        quantiles: false,
      },
    ],
    handlers: [],
    auth: { keys: [{ name: 'app', sha256, scopes: ['publish', 'query'], eventsPerSecond: 10 }] },
  })
})

test('files win over defaults, the environment over files, --set over both', () => {
  const yaml =
    'log: { kind: memory, retention: { maxAge: 1h, maxBytes: 1GiB } }\npool: { threads: 1 }\ndataDir: file'
  assert.equal(load({ yaml }).dataDir, 'file')
  const env = { MILLRACE_DATADIR: 'env', millrace_Log__Retention__MaxAge: '2h', MILLRACE_POOL__THREADS: '2' }
  const both = load({ yaml, env, sets: ['pool.threads=3', 'pool.threads=4'] })
  assert.equal(both.dataDir, 'env')
  assert.deepEqual(both.log, {
    ...byDefault.log,
    kind: 'memory',
    partitions: 1,
    retention: { maxAge: 7_200_000, maxBytes: 2 ** 30 },
  })
  assert.equal(both.pool.threads, 4, 'the last --set wins')
})

test('a section in the environment is replaced as a whole, then its keys one by one', () => {
  const env = { MILLRACE_LOG__RETENTION__MAXAGE: '3h', MILLRACE_LOG: '{ kind: memory }' }
  const { log } = load({ yaml: 'log: { kind: embedded, retention: { maxBytes: 1GiB } }', env })
  assert.deepEqual(log, {
    ...byDefault.log,
    kind: 'memory',
    partitions: 1,
    retention: { maxBytes: 10 * 2 ** 30, maxAge: 10_800_000 },
  })
})

test('measures can be written in the environment and in --set', () => {
  const measures = '[{ name: m, by: [type], window: 1h, where: { type: "a*" } }]'
  const expected = [
    { name: 'm', where: { type: 'a*' }, by: ['type'], value: 'value', window: 3_600_000, quantiles: false },
  ]
  assert.deepEqual(load({ env: { MILLRACE_MEASURES: measures } }).measures, expected)
  assert.deepEqual(load({ sets: [`measures=${measures}`] }).measures, expected)
})

test('values outside of files need no quotes for what YAML would read otherwise', () => {
  assert.deepEqual(load({ sets: ['http.listen=[::1]:80'] }).http.listen, { host: '::1', port: 80 })
  assert.equal(load({ sets: ['dataDir=a: b #c'] }).dataDir, 'a: b #c')
  assert.equal(load({ sets: ['dataDir="5"'] }).dataDir, '5')
})

test('an empty variable counts as not set, and those that are no settings are left alone', () => {
  const env = { MILLRACE_DATADIR: ' ', MILLRACE_ROLE: 'x', MILLRACE_INTERNAL_SEED: '1', MILLRACE_URL: 'u' }
  assert.equal(load({ yaml: 'dataDir: file', env: { ...env, MILLRACE_KEY: 'k', PATH: '/' } }).dataDir, 'file')
})

const wrong: [claim: string, given: Given, problems: string[]][] = [
  [
    'unknown keys, each with its place and the nearest one',
    { yaml: 'log:\n  knd: memory\n  retention: { maxByte: 1GiB }\nmeasure: []\n' },
    [
      'm.yaml:2:3: log.knd: there is no such key; did you mean kind?',
      'm.yaml:3:16: log.retention.maxByte: there is no such key; did you mean maxBytes?',
      'm.yaml:4:1: measure: there is no such key; did you mean measures?',
    ],
  ],
  [
    'an unknown key that is close to nothing, with what there is',
    { yaml: 'pool: { colour: red }' },
    ['m.yaml:1:9: pool.colour: there is no such key: one of threads, heap'],
  ],
  [
    'text that is not YAML',
    { yaml: 'a: 1\nb: [1, 2\n' },
    ['m.yaml:3:1: Flow sequence in block collection must be sufficiently indented and end with a ]'],
  ],
  [
    'a key that stands twice',
    { yaml: 'dataDir: a\ndataDir: b\n' },
    ['m.yaml:2:1: dataDir stands here twice: keep one of them'],
  ],
  [
    'a document that is a list',
    { yaml: '- a\n- b\n' },
    ['m.yaml:1:1: a configuration is a map of keys and values, such as "dataDir: ./data"'],
  ],
  [
    'a document that is text',
    { yaml: 'hello' },
    ['m.yaml:1:1: a configuration is a map of keys and values, such as "dataDir: ./data"'],
  ],
  [
    'wrong types',
    { yaml: 'dataDir: 5\nhttp: [1]\nadmin: { listen: true }\nmeasures: { a: 1 }\nauth: yes\n' },
    [
      'm.yaml:1:10: dataDir: must be text: put 5 in quotes',
      'm.yaml:2:7: http: must be a map of keys and values, not a list',
      'm.yaml:3:18: admin.listen: must be an address, not true: write host:port, such as 127.0.0.1:7070 or "[::1]:7070"',
      'm.yaml:4:11: measures: must be a list of measures, not a map',
      'm.yaml:5:7: auth: must be none, or a map, not the text "yes"',
    ],
  ],
  [
    'sizes and durations that are none, or out of range',
    {
      yaml: 'http: { maxBody: 4MX }\nlog: { retention: { maxBytes: -1, maxAge: 10 } }\nledger: { producerIdle: 1ms }\n',
    },
    [
      'm.yaml:1:18: http.maxBody: "4MX" has the unknown unit MX: one of B, KB, MB, GB, TB, KiB, MiB, GiB, TiB; did you mean MB?',
      'm.yaml:2:31: log.retention.maxBytes: "-1" is not a size: write bytes or a number with a unit, such as 64KiB, 4MiB or 10GB',
      'm.yaml:2:43: log.retention.maxAge: "10" has no unit: write 10s, or ms, m, h, d',
      'm.yaml:3:25: ledger.producerIdle: "1ms" is too short: at least 1s',
    ],
  ],
  [
    'bodies larger than a listener may hold',
    { sets: ['http.maxBody=1GiB', 'log.retention.maxBytes=100GiB'] },
    ['--set http.maxBody=1GiB: http.maxBody: "1GiB" is out of range: 1KiB to 32MiB'],
  ],
  [
    'a log too small for its bodies',
    { yaml: 'log:\n  retention:\n    maxBytes: 16MiB\n' },
    [
      'm.yaml:3:15: log.retention.maxBytes: 16MiB is too small for a log of kind embedded: at least 144MiB with bodies of up to 4MiB (http.maxBody)',
    ],
  ],
  [
    'words that are not known',
    { yaml: 'log: { kind: kaffka }', env: { MILLRACE_LOGGING__LEVEL: 'warning' } },
    [
      'm.yaml:1:14: log.kind: must be one of embedded, memory, jetstream, kafka, dual, not the text "kaffka"; did you mean kafka?',
      'MILLRACE_LOGGING__LEVEL: logging.level: must be one of fatal, error, warn, info, debug, trace, not the text "warning"',
    ],
  ],
  [
    'handlers that are no list of paths',
    {
      yaml: 'handlers: [a.mjs, 5, b.mjs, a.mjs]\n',
    },
    ['m.yaml:1:19: handlers[1]: must be text: put 5 in quotes'],
  ],
  [
    'brokers that cannot be reached or be let into',
    {
      yaml: `log:
  jetstream: { servers: [4222, "nats"], stream: a.b, replicas: 9, user: u, token: t }
  kafka: { brokers: [], topic: "a b", tls: { cert: /none }, sasl: { username: u } }
  dual: { consume: both }
`,
    },
    [
      'm.yaml:2:14: log.jetstream: user and password go together',
      'm.yaml:2:26: log.jetstream.servers[0]: must be host:port, not the number 4222',
      'm.yaml:2:32: log.jetstream.servers[1]: must be host:port, such as 127.0.0.1:4222, not "nats"',
      'm.yaml:2:49: log.jetstream.stream: "a.b" is no name of a stream: up to 64 letters, digits, - and _',
      'm.yaml:2:64: log.jetstream.replicas: 9 is out of range: 1 to 5',
      'm.yaml:3:21: log.kafka.brokers: must have one address at least',
      'm.yaml:3:32: log.kafka.topic: "a b" is no name of a topic: up to 200 letters, digits, ., - and _',
      'm.yaml:3:52: log.kafka.tls.cert: /none cannot be read: ENOENT',
      'm.yaml:3:67: log.kafka.sasl.password: is missing',
      'm.yaml:4:20: log.dual.consume: must be one of jetstream, kafka, union, not the text "both"',
    ],
  ],
  [
    'numbers of processes that cannot be',
    { yaml: 'cluster: { listeners: 0, processors: 2 }\npool: { threads: many }\n' },
    [
      'm.yaml:1:23: cluster.listeners: 0 is out of range: 1 to 256',
      'm.yaml:1:38: cluster.processors: 2 processors have 1 partitions to share: set log.partitions to 2 or more',
      'm.yaml:2:18: pool.threads: must be auto or a whole number of threads, not the text "many"',
    ],
  ],
  [
    'measures that cannot be counted',
    {
      yaml: `measures:
  - { name: a, by: [subjekt, atributes.x, id], where: { typ: x, type: "a*b", source: 4 } }
  - { name: "a b", by: [], window: 0s }
  - { by: [type, type], value: non, quantiles: "yes" }
  - { name: b, by: [type], value: none, quantiles: true }
`,
    },
    [
      'm.yaml:2:21: measures[0].by[0]: there is no field subjekt; did you mean subject?',
      'm.yaml:2:30: measures[0].by[1]: there is no field atributes.x; did you mean attributes.x?',
      'm.yaml:2:43: measures[0].by[2]: there is no field id: one of subject, source, type, attributes.NAME',
      'm.yaml:2:57: measures[0].where.typ: there is no field typ; did you mean type?',
      'm.yaml:2:71: measures[0].where.type: "a*b" has * in the middle: it may stand at either end only',
      'm.yaml:2:86: measures[0].where.source: must be text: put 4 in quotes',
      'm.yaml:3:13: measures[1].name: "a b" cannot be a name: up to 64 letters, digits, dots, dashes and underscores, a letter or digit first',
      'm.yaml:3:24: measures[1].by: must name one field at least, such as [subject]',
      'm.yaml:3:36: measures[1].window: "0s" is too short: at least 1ms',
      'm.yaml:4:5: measures[2].name: is missing',
      'm.yaml:4:11: measures[2].by: names a field twice',
      'm.yaml:4:32: measures[2].value: must be one of value, none, not the text "non"; did you mean none?',
      'm.yaml:4:48: measures[2].quantiles: must be true or false, not the text "yes"',
      'm.yaml:5:52: measures[3].quantiles: needs numbers, and with value: none there are none',
    ],
  ],
  [
    'two measures of one name',
    { yaml: 'measures:\n  - { name: a, by: [type] }\n  - { name: a, by: [source] }\n' },
    ['m.yaml:3:13: measures[1].name: there is another measure a: names must differ'],
  ],
  [
    'listening to everyone without keys, on both ports',
    { yaml: 'http: { listen: 0.0.0.0:7070 }\nadmin: { listen: "[::]:7072" }\n' },
    [
      'm.yaml:1:17: http.listen: 0.0.0.0:7070 can be reached from other machines: configure auth.keys, or write auth: none',
      'm.yaml:2:18: admin.listen: [::]:7072 can be reached from other machines: configure auth.keys, or write auth: none',
    ],
  ],
  [
    'addresses that are none',
    { sets: ['http.listen=:70', 'admin.listen=1.2.3.400:70'] },
    [
      '--set http.listen=:70: http.listen: ":70" has no host: write 0.0.0.0 for all addresses',
      '--set admin.listen=1.2.3.400:70: admin.listen: "1.2.3.400:70": "1.2.3.400" is not a host name or an IP address',
    ],
  ],
  [
    'one port for gRPC and something else',
    { yaml: 'grpc: { listen: 127.0.0.1:7070 }', sets: ['admin.listen=127.0.0.1:7070'] },
    [
      'm.yaml:1:17: grpc.listen: is the same as http.listen: each needs a port of its own',
      '--set admin.listen=127.0.0.1:7070: admin.listen: is the same as http.listen: each needs a port of its own',
    ],
  ],
  [
    'gRPC that others reach without keys',
    { yaml: 'grpc: { listen: 0.0.0.0:7071 }' },
    [
      'm.yaml:1:17: grpc.listen: 0.0.0.0:7071 can be reached from other machines: configure auth.keys, or write auth: none',
    ],
  ],
  [
    'a word for gRPC that is not known',
    { yaml: 'grpc: off' },
    ['m.yaml:1:7: grpc: must be none, or a map, not the text "off"'],
  ],
  [
    'one port for two things',
    { yaml: 'admin: { listen: 127.0.0.1:7070 }' },
    ['m.yaml:1:18: admin.listen: is the same as http.listen: each needs a port of its own'],
  ],
  [
    'keys that nobody could use',
    {
      yaml: `auth:
  keys:
    - { name: a, sha256: secret, scopes: [] }
    - { name: a, sha256: ${'0f'.repeat(32)}, scopes: [publsh], eventsPerSecond: 0 }
`,
    },
    [
      "m.yaml:3:26: auth.keys[0].sha256: must be the key's SHA-256 as 64 hexadecimal digits: printf %s KEY | sha256sum",
      'm.yaml:3:42: auth.keys[0].scopes: must have one scope at least: publish, query, admin',
      'm.yaml:4:101: auth.keys[1].scopes[0]: must be one of publish, query, admin, not the text "publsh"; did you mean publish?',
      'm.yaml:4:127: auth.keys[1].eventsPerSecond: 0 is out of range: 1 to 9007199254740991',
    ],
  ],
  [
    'no keys',
    { yaml: 'auth: { keys: [] }' },
    ['m.yaml:1:15: auth.keys: must have one key at least, or write auth: none'],
  ],
  [
    'half of the files for TLS, and one that is not there',
    { yaml: 'http: { tls: { cert: /nowhere/cert.pem } }' },
    [
      'm.yaml:1:14: http.tls.key: is missing',
      'm.yaml:1:22: http.tls.cert: /nowhere/cert.pem cannot be read: ENOENT',
    ],
  ],
  [
    'a certificate that is none',
    { sets: [`http.tls={ cert: ${file}, key: ${file} }`] },
    [
      '--set http.tls={ cert: m.yaml, key: m.yaml }: http.tls: cert and key are not a PEM certificate and its key: error:04800064:PEM routines::bad base64 decode',
    ],
  ],
  [
    'variables and options that set nothing',
    { env: { MILLRACE_LOG__KND: 'x', MILLRACE_HTP: '1' }, sets: ['x', 'a..b=1', 'log.kind.x=1'] },
    [
      '--set x: write it as key=value, such as log.kind=memory',
      '--set a..b=1: write it as key=value, such as log.kind=memory',
      'MILLRACE_HTP: there is no such setting; did you mean MILLRACE_HTTP?',
      'MILLRACE_LOG__KND: there is no such setting; did you mean MILLRACE_LOG__KIND?',
      '--set log.kind.x=1: log.kind: must be one of embedded, memory, jetstream, kafka, dual, not a map',
    ],
  ],
]
for (const [claim, given, problems] of wrong) {
  test(`refused, all at once: ${claim}`, () => {
    const found = problemsOf(given)
    // The message of the TLS library differs between versions.
    const same = (problem: string) => problem.replace(/error:[0-9A-F]+:.*$/, 'error')
    assert.deepEqual(found.map(same).sort(), problems.map(same).sort())
  })
}

test('auth: none, written out, opens the ports to everyone', () => {
  const { http, auth } = load({ yaml: 'http: { listen: 0.0.0.0:0 }\nauth: none\n' })
  assert.deepEqual([http.listen, auth], [{ host: '0.0.0.0', port: 0 }, 'none'])
})

test('loopback has many names', () => {
  for (const host of ['127.0.0.1', '127.8.9.10', 'localhost', '[::1]', '[0:0:0:0:0:0:0:1]']) {
    assert.deepEqual(problemsOf({ sets: [`http.listen=${host}:1`] }), [], host)
  }
})

test('problems of a file are told in the order of its lines', () => {
  const found = problemsOf({ yaml: `${'#\n'.repeat(8)}dataDir: 1\npol: {}\nlog: { kind: rabbit }\n` })
  assert.deepEqual(
    found.map((problem) => problem.slice(0, 9)),
    ['m.yaml:9:', 'm.yaml:10', 'm.yaml:11'],
  )
})

test('a file that is named has to be there', () => {
  assert.throws(
    () => loadConfig({ file: join(folder, 'none.yaml'), env: {}, sets: [] }),
    (error: ConfigError) => error.problems[0] === `${join(folder, 'none.yaml')}: there is no such file`,
  )
})

test('an alias stands for what it names, and one that contains itself is refused', () => {
  const yaml = 'measures:\n  - { name: a, by: &k [type] }\n  - { name: b, by: *k }\n'
  assert.deepEqual(load({ yaml }).measures[1].by, ['type'])
  assert.match(problemsOf({ yaml: 'log: &l { kind: *l }' })[0], /nested too deeply/)
})

test('a slip of one letter in a key is refused with that key suggested', () => {
  const sections: Record<string, string[]> = {
    '': ['dataDir', 'http', 'admin', 'cluster', 'pool', 'ledger', 'logging', 'measures', 'handlers', 'auth'],
    http: ['listen', 'maxBody'],
    cluster: ['listeners', 'processors'],
    'log.retention': ['maxBytes', 'maxAge'],
    ledger: ['producerIdle'],
  }
  const keys = Object.entries(sections).flatMap(([section, names]) =>
    names.map((name) => ({ section, name })),
  )
  const slip = fc.record({
    key: fc.constantFrom(...keys),
    kind: fc.constantFrom('drop', 'double', 'replace', 'swap'),
    at: fc.nat(),
    letter: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz'),
  })
  fc.assert(
    fc.property(slip, ({ key: { section, name }, kind, at, letter }) => {
      const i = at % name.length
      const [before, here, rest] = [name.slice(0, i), name[i], name.slice(i + 1)]
      const slipped = {
        drop: before + rest,
        double: before + here + here + rest,
        replace: before + letter + rest,
        swap: before + rest.slice(0, 1) + here + rest.slice(1),
      }[kind]!
      fc.pre(slipped !== name)
      const path = section === '' ? slipped : `${section}.${slipped}`
      const message = `--set ${path}=1: ${path}: there is no such key; did you mean ${name}?`
      assert.deepEqual(problemsOf({ sets: [`${path}=1`] }), [message])
    }),
    { numRuns: 500 },
  )
})

test('the least size of the log is what the log itself works with', () => {
  for (const maxBody of [1024, 4 * 2 ** 20, 32 * 2 ** 20]) {
    for (const listeners of [1, 2, 64]) {
      assert.equal(
        leastRetentionBytes('embedded', maxBody, listeners),
        leastBytes(segmentBytesMax(maxBody), listeners),
      )
    }
  }
})
