// A real Kafka broker for tests, demos and benches: one KRaft node on loopback ports of its own, in a folder of its own.
//
// The broker is fetched once, by Maven and with its checksums, into .cache/kafka; it needs `mvn` and a Java 17 or later.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { reservePort } from '../ports.ts'
import { pause } from './pause.ts'

const run = promisify(execFile)

const root = resolve(import.meta.dirname, '../../..')
const home = join(root, '.cache', 'kafka')
/** Classes of the broker as the JVM has them in memory: a start takes half of the processor's time with it. */
const archive = join(home, 'classes.jsa')
const HOST = '127.0.0.1'

const READY_MS_MAX = 180_000
const QUIT_MS_MAX = 30_000
const TAIL_BYTES = 4096

/** An account of the SASL listener: it may come with PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. */
export interface Account {
  username: string
  password: string
}

export interface KafkaOptions {
  /** Where the store goes; what is there is used again. A fresh temporary folder, removed by `stop`, if not given. */
  folder?: string
  /** Laid over the settings of server.properties. */
  properties?: Record<string, string>
  /** Adds a listener that asks for a password. */
  sasl?: Account
  /** Adds a TLS listener with a certificate of a CA of its own; `client`: the broker asks for a certificate too. */
  tls?: { client: boolean }
  /** Compiled for speed, as one that runs for long; otherwise for a quick start. */
  fast?: boolean
}

/** Paths of PEM files. */
export interface Certificates {
  ca: string
  clientCert: string
  clientKey: string
}

export interface Kafka {
  /** `host:port` of the listener without TLS or password. */
  readonly brokers: string[]
  readonly saslBrokers: string[]
  readonly tlsBrokers: string[]
  readonly certificates: Certificates | undefined
  readonly pid: number
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  /** SIGSTOP and SIGCONT: the broker is there and does not answer. */
  pause(): void
  resume(): void
  /** Starts it again on the same store and ports. */
  restart(): Promise<void>
  /** Ends it, and removes its folder unless that was given. */
  stop(): Promise<void>
}

/** A broker for whoever needs just one: the one that MILLRACE_KAFKA (host:port) names, or a fresh one. */
export async function someKafka(): Promise<{ brokers: string[]; stop(): Promise<void> }> {
  const running = process.env.MILLRACE_KAFKA
  return running === undefined ? startKafka() : { brokers: [running], stop: async () => {} }
}

export async function startKafka(options: KafkaOptions = {}): Promise<Kafka> {
  const libraries = await fetchKafka()
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'millrace-kafka-')))
  const removes = options.folder === undefined
  const node = new Node(libraries, folder, removes, options)
  try {
    await node.prepare()
    await node.launch()
    return node
  } catch (error) {
    await node.stop()
    throw error
  }
}

class Node implements Kafka {
  readonly #libraries: string
  readonly #folder: string
  readonly #removes: boolean
  readonly #options: KafkaOptions
  #ports = { plain: 0, sasl: 0, tls: 0, controller: 0 }
  #child: ChildProcess | undefined
  #exited: Promise<void> = Promise.resolve()
  #said = ''
  certificates: Certificates | undefined

  constructor(libraries: string, folder: string, removes: boolean, options: KafkaOptions) {
    this.#libraries = libraries
    this.#folder = folder
    this.#removes = removes
    this.#options = options
  }

  get brokers(): string[] {
    return [`${HOST}:${this.#ports.plain}`]
  }
  get saslBrokers(): string[] {
    return [`${HOST}:${this.#ports.sasl}`]
  }
  get tlsBrokers(): string[] {
    return [`${HOST}:${this.#ports.tls}`]
  }
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the broker does not run')
    return this.#child.pid
  }

  /** Settings, certificates and a formatted store; a store that is there stays as it is. */
  async prepare(): Promise<void> {
    this.#ports = {
      plain: await reservePort(),
      sasl: await reservePort(),
      tls: await reservePort(),
      controller: await reservePort(),
    }
    await mkdir(this.#folder, { recursive: true })
    if (this.#options.tls !== undefined) this.certificates = await certify(join(this.#folder, 'tls'))
    const lines = Object.entries(this.#properties()).map(([key, value]) => `${key}=${value}\n`)
    await writeFile(this.#settingsFile, lines.join(''))
    await writeFile(join(this.#folder, 'log4j2.yaml'), LOGGING)
    await this.#format()
  }

  get #settingsFile(): string {
    return join(this.#folder, 'server.properties')
  }

  #properties(): Record<string, string> {
    const { plain, sasl, tls, controller } = this.#ports
    const listeners = [`PLAINTEXT://${HOST}:${plain}`]
    if (this.#options.sasl !== undefined) listeners.push(`SASL_PLAINTEXT://${HOST}:${sasl}`)
    if (this.#options.tls !== undefined) listeners.push(`SSL://${HOST}:${tls}`)
    return {
      'process.roles': 'broker,controller',
      'node.id': '1',
      'controller.quorum.voters': `1@${HOST}:${controller}`,
      'controller.listener.names': 'CONTROLLER',
      listeners: [...listeners, `CONTROLLER://${HOST}:${controller}`].join(','),
      'advertised.listeners': listeners.join(','),
      'listener.security.protocol.map':
        'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL',
      'inter.broker.listener.name': 'PLAINTEXT',
      'log.dirs': join(this.#folder, 'store'),
      'auto.create.topics.enable': 'false',
      'group.initial.rebalance.delay.ms': '0',
      // A broker that was killed may come back only when its earlier self counts as gone.
      'broker.session.timeout.ms': '2000',
      'broker.heartbeat.interval.ms': '500',
      'offsets.topic.num.partitions': '1',
      'offsets.topic.replication.factor': '1',
      'transaction.state.log.num.partitions': '1',
      'transaction.state.log.replication.factor': '1',
      'transaction.state.log.min.isr': '1',
      'share.coordinator.state.topic.num.partitions': '1',
      'share.coordinator.state.topic.replication.factor': '1',
      'share.coordinator.state.topic.min.isr': '1',
      'message.max.bytes': '33554432',
      'replica.fetch.max.bytes': '33554432',
      'socket.request.max.bytes': '104857600',
      ...saslProperties(this.#options.sasl),
      ...this.#tlsProperties(),
      ...this.#options.properties,
    }
  }

  #tlsProperties(): Record<string, string> {
    if (this.#options.tls === undefined) return {}
    const folder = join(this.#folder, 'tls')
    return {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': join(folder, 'broker.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': join(folder, 'ca.crt'),
      'ssl.client.auth': this.#options.tls.client ? 'required' : 'none',
    }
  }

  async #format(): Promise<void> {
    if (existsSync(join(this.#folder, 'store', 'meta.properties'))) return
    const { sasl } = this.#options
    const accounts =
      sasl === undefined
        ? []
        : ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
            '--add-scram',
            `${mechanism}=[name=${sasl.username},password=${sasl.password}]`,
          ])
    await run('java', [
      ...['-Xmx256m', ...jvm(), '-cp', this.#libraries],
      // An id may begin with a dash, which the tool would take for an option.
      ...['kafka.tools.StorageTool', 'format', '-t', `A${randomBytes(16).toString('base64url').slice(1)}`],
      ...['-c', this.#settingsFile, ...accounts],
    ])
  }

  /** Starts the process and waits until it answers. Throws with the end of its log when it ends before. */
  async launch(more: string[] = []): Promise<void> {
    const java = [
      ...['-Xmx512m', '-Xms512m', ...jvm(this.#options.fast), ...more],
      `-Dlog4j2.configurationFile=${join(this.#folder, 'log4j2.yaml')}`,
      ...['-cp', this.#libraries, 'kafka.Kafka', this.#settingsFile],
    ]
    // The kernel ends the broker with us, however we end.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'java', ...java], {
      cwd: this.#folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    this.#said = ''
    const hear = (text: string) => {
      this.#said = (this.#said + text).slice(-TAIL_BYTES)
    }
    child.stdout.setEncoding('utf8').on('data', hear)
    child.stderr.setEncoding('utf8').on('data', hear)
    this.#exited = new Promise((resolve) => {
      child.on('error', (error) => {
        hear(`${error.message}\n`)
        this.#child = undefined
        resolve()
      })
      child.on('close', () => {
        this.#child = undefined
        resolve()
      })
    })
    const deadline = performance.now() + READY_MS_MAX
    while (!(await answers(this.#ports.plain))) {
      if (this.#child === undefined)
        throw new Error(`the Kafka broker ended while it started:\n${this.#said}`)
      if (performance.now() > deadline) {
        throw new Error(`the Kafka broker was not ready after ${READY_MS_MAX} ms:\n${this.#said}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** Ends it as an operator would. */
  async quit(): Promise<void> {
    this.#child?.kill('SIGTERM')
    const overdue = setTimeout(() => this.#child?.kill('SIGKILL'), QUIT_MS_MAX)
    await this.#exited
    clearTimeout(overdue)
  }

  pause(): void {
    pause(this.pid)
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.launch()
  }

  async stop(): Promise<void> {
    await this.kill()
    if (this.#removes)
      await rm(this.#folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
}

function jvm(fast = false): string[] {
  return [
    '-XX:+UseSerialGC',
    ...(fast ? [] : ['-XX:TieredStopAtLevel=1']),
    ...(existsSync(archive) ? [`-XX:SharedArchiveFile=${archive}`] : []),
  ]
}

/** Runs a broker once, which leaves the archive of its classes. */
async function makeArchive(libraries: string): Promise<void> {
  const made = join(home, `classes-${randomUUID()}.jsa`)
  const folder = await mkdtemp(join(tmpdir(), 'millrace-kafka-'))
  const node = new Node(libraries, folder, true, {})
  try {
    await rm(archive, { force: true }) // of other libraries
    await node.prepare()
    await node.launch([`-XX:ArchiveClassesAtExit=${made}`])
    await node.quit()
    await rename(made, archive)
  } finally {
    await node.stop()
    await rm(made, { force: true })
  }
}

const LOGGING = `Configuration:
  Appenders:
    Console: { name: out, target: SYSTEM_OUT, PatternLayout: { pattern: "%d %p %m (%c{1})%n%throwable" } }
  Loggers:
    Root: { level: WARN, AppenderRef: { ref: out } }
`

function saslProperties(sasl: Account | undefined): Record<string, string> {
  if (sasl === undefined) return {}
  const security = 'org.apache.kafka.common.security'
  const listener = 'listener.name.sasl_plaintext'
  const plain = `${security}.plain.PlainLoginModule required user_${sasl.username}="${sasl.password}";`
  const scram = `${security}.scram.ScramLoginModule required;`
  return {
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    [`${listener}.plain.sasl.jaas.config`]: plain,
    [`${listener}.scram-sha-256.sasl.jaas.config`]: scram,
    [`${listener}.scram-sha-512.sasl.jaas.config`]: scram,
  }
}

/** A CA, and by it a certificate for the broker and one for a client. */
async function certify(folder: string): Promise<Certificates> {
  const path = (name: string) => join(folder, name)
  const certificates = { ca: path('ca.crt'), clientCert: path('client.crt'), clientKey: path('client.key') }
  if (existsSync(path('broker.pem'))) return certificates
  await mkdir(folder, { recursive: true })
  const openssl = (...words: string[]) => run('openssl', words, { cwd: folder })
  const request = ['req', '-newkey', 'rsa:2048', '-nodes']
  await openssl(
    ...[...request, '-x509', '-days', '2', '-subj', '/CN=millrace-test-ca'],
    ...['-keyout', 'ca.key', '-out', 'ca.crt'],
  )
  for (const name of ['broker', 'client']) {
    await openssl(...request, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    await writeFile(path(`${name}.ext`), `subjectAltName=DNS:localhost,IP:${HOST}\n`)
    await openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'],
      ...['-days', '2', '-extfile', `${name}.ext`, '-out', `${name}.crt`],
    )
  }
  await run('sh', ['-c', 'cat broker.key broker.crt > broker.pem'], { cwd: folder })
  return certificates
}

/** Asks for ApiVersions v0, which a broker answers as soon as it serves clients. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST)
    const done = (good: boolean) => {
      socket.destroy()
      resolve(good)
    }
    let heard = Buffer.alloc(0)
    socket.setTimeout(1000, () => done(false))
    socket.on('error', () => done(false))
    socket.on('close', () => done(false))
    socket.on('connect', () => socket.write(Buffer.from('0000000a0012000000000007ffff', 'hex')))
    socket.on('data', (data) => {
      heard = Buffer.concat([heard, data])
      if (heard.length >= 10) done(heard.readInt32BE(4) === 7 && heard.readInt16BE(8) === 0)
    })
  })
}

/** The class path of the broker. Whoever comes first fetches; several at once do no harm: the first one stays. */
async function fetchKafka(): Promise<string> {
  const libraries = join(home, 'libs')
  if (existsSync(libraries)) return join(libraries, '*')
  const place = join(home, `fetch-${randomUUID()}`)
  await mkdir(place, { recursive: true })
  try {
    const pom = join(place, 'pom.xml')
    await writeFile(pom, POM)
    const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
    await run('mvn', [
      ...['-q', '-B', '-C', `-Dmaven.repo.local=${join(place, 'm2')}`, '-f', pom, goal],
      ...['-DincludeScope=runtime', `-DoutputDirectory=${join(place, 'libs')}`],
    ]).catch((error: Error) => {
      throw new Error(`Kafka could not be fetched with mvn: ${error.message}`, { cause: error })
    })
    const isFirst = await rename(join(place, 'libs'), libraries).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
        return false
      },
    )
    if (isFirst) {
      await makeArchive(join(libraries, '*')).catch((error: Error) => {
        console.error(`Kafka starts slowly here, without an archive of its classes: ${error.message}`)
      })
    }
  } finally {
    await rm(place, { recursive: true, force: true })
  }
  return join(libraries, '*')
}

// Without a logger's implementation the broker says nothing when it fails.
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.4.0</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
`
