// SIGHUP: the configuration read again, and every worker replaced without a client noticing.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { Pool } from 'undici'
import { stringify } from 'yaml'
import { Client } from './client.ts'
import {
  atEnd,
  childrenOf,
  Daemon,
  type DaemonOptions,
  frame,
  killQuietly,
  type Status,
  temporaryFolder,
} from './daemon.ts'
import { logOf, startBrokers } from './kinds.ts'
import { Load } from './load.ts'
import { StreamClient } from './stream-client.ts'

interface Receipt {
  at: string
  outcome: string
  changed: string[]
  needsRestart: string[]
  problems: string[]
  restarted: { role: string; pid: number }[]
}

/** A daemon whose configuration is in a file too. */
async function start(t: TestContext, file: Record<string, unknown>, config: DaemonOptions['config'] = {}) {
  const folder = await temporaryFolder(t)
  const write = (content: Record<string, unknown> | string) =>
    writeFile(join(folder, 'millrace.yaml'), typeof content === 'string' ? content : stringify(content))
  await write(file)
  const daemon = await Daemon.start(t, { dataDir: folder, config })
  const receipt = async () => ((await daemon.status()) as unknown as { reload?: Receipt }).reload
  const reload = async (): Promise<Receipt> => {
    await reloaded(daemon)
    return (await receipt())!
  }
  return { daemon, folder, write, reload, receipt }
}

/** Sends SIGHUP and waits for the line that says what came of it. */
async function reloaded(daemon: Daemon) {
  const before = daemon.lines.length
  daemon.signal('SIGHUP')
  return daemon.line(({ msg }) => /^(not )?reloaded/.test(String(msg)), before)
}

const pidsOf = async (daemon: Daemon) =>
  (await daemon.status()).roles.map(({ role, pid }) => `${role} ${pid}`)

test('a rolling restart under load: no request fails, every worker is another one, counts are exact', async (t) => {
  const { daemon, reload } = await start(t, {})
  const load = new Load(daemon.http)
  load.start(48, 16)
  await daemon.until(() => load.acked > 5_000)
  const before = await pidsOf(daemon)
  const readiness = watchReadiness(daemon)
  for (let n = 0; n < 2; n++) {
    const { outcome, restarted } = await reload()
    assert.equal(outcome, 'applied')
    assert.deepEqual(
      restarted.map(({ role }) => role),
      ['listener', 'listener', 'processor'],
    )
  }
  const after = await pidsOf(daemon)
  await load.stop()
  assert.deepEqual(await readiness.stop(), ['200'], 'ready all the time')
  assert.deepEqual(load.failures, [])
  assert.equal(after.length, before.length)
  assert.deepEqual(
    after.filter((one) => before.includes(one)),
    before.filter((one) => one.startsWith('primary')),
  )
  assert.equal((await childrenOf(daemon.pid)).length, 3, 'the former workers are gone')
  const status = await daemon.processed(load.acked)
  assert.equal(status.processed.events, load.acked)
  assert.equal(status.accepted.events, load.acked)
})

test('what replaced and killed listeners have written stays accepted, and waits, until it is processed', async (t) => {
  const { daemon, reload } = await start(t, {}, { grpc: {} })
  const { roles } = await daemon.status()
  const pidOf = (role: string) => roles.find((one) => one.role === role)!.pid
  process.kill(pidOf('processor'), 'SIGSTOP')
  atEnd(t, () => killQuietly(pidOf('processor')))
  const body = frame(...Array.from({ length: 100 }, () => ({ subject: 's', value: 1 })))
  const sent = 50
  for (let n = 0; n < sent; n++) assert.equal((await daemon.post(body)).status, 202)
  const standing = ({ accepted, lag }: Status) => {
    assert.deepEqual([accepted.events, accepted.frames, lag.events], [sent * 100, sent, sent * 100])
    return true
  }
  await daemon.until(({ accepted }) => accepted.events === sent * 100)
  const reloading = reload()
  const former = roles.filter(({ role }) => role === 'listener' || role === 'gateway').map(({ pid }) => pid)
  let live = former
  while (live.length > 0) {
    standing(await daemon.status())
    const children = await childrenOf(daemon.pid)
    live = former.filter((pid) => children.includes(pid))
  }
  const status = await daemon.status()
  standing(status)
  const now = status.roles.filter(({ role }) => role === 'listener')
  for (const { pid } of now) killQuietly(pid)
  await daemon.until((status) => now.every(({ pid }) => !status.roles.some((one) => one.pid === pid)))
  await daemon.until(standing)
  process.kill(pidOf('processor'), 'SIGCONT')
  await reloading
  const { accepted, lag, processed } = await daemon.processed(sent * 100)
  assert.deepEqual([accepted.events, lag.events, processed.events], [sent * 100, 0, sent * 100])
})

test('a listener that leaves gets no new connections: they are led to its successor', async (t) => {
  const { daemon, reload } = await start(t, {}, { cluster: { listeners: 1 } })
  const atOnce = 4
  let reloading = true
  /** Of new connections, each for one request: those that a leaving listener has answered, and the others. */
  const answers = { leaving: 0, staying: 0 }
  const ask = async () => {
    while (reloading) {
      const head = await answerOnNewConnection(daemon.http)
      answers[/^connection: close/im.test(head) ? 'leaving' : 'staying']++
    }
  }
  const asking = Array.from({ length: atOnce }, ask)
  const { outcome } = await reload()
  reloading = false
  await Promise.all(asking)
  assert.equal(outcome, 'applied')
  assert.ok(answers.staying > 100, `${answers.staying} answers`)
  assert.ok(
    answers.leaving <= atOnce,
    `${answers.leaving}: more than were on their way when it began to leave`,
  )
})

/** The head of the answer to a request on a connection of its own. Rejects when that is reset. */
function answerOnNewConnection(http: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(http).port), '127.0.0.1')
    socket.write('GET /v1/measures HTTP/1.1\r\nhost: millrace\r\n\r\n')
    socket.on('error', reject).once('data', (data) => {
      resolve(data.toString())
      socket.destroy()
    })
    socket.on('close', () => reject(new Error('closed without an answer')))
  })
}

/** The answers of /readyz that come until it is stopped, each once. */
function watchReadiness(daemon: Daemon) {
  const seen = new Set<string>()
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      const answer = await fetch(`${daemon.admin}/readyz`)
      seen.add(answer.status === 200 ? '200' : `${answer.status} ${(await answer.text()).trim()}`)
    }
  })()
  return {
    async stop() {
      stopped = true
      await watching
      return [...seen]
    },
  }
}

test('what is changed in the file is applied, and told by key, never by value', async (t) => {
  const measures = [{ name: 'by-subject', by: ['subject'], window: 'all' }]
  const { daemon, write } = await start(t, { measures })
  await daemon.post(frame({ subject: 'a', value: 1 }))
  await daemon.processed(1)
  const sha256 = createHash('sha256').update('open-sesame').digest('hex')
  await write({
    logging: { level: 'debug' },
    measures: [...measures, { name: 'by-source', by: ['source'], window: 'all' }],
    auth: {
      keys: [
        { name: 'sensors', sha256, scopes: ['publish'] },
        { name: 'reader', sha256: sha256.replace(/^./, (c) => (c === '0' ? '1' : '0')), scopes: ['query'] },
      ],
    },
  })
  const line = await reloaded(daemon)
  assert.deepEqual(line.changed, ['logging.level', 'measures[by-source]', 'auth'])
  assert.deepEqual(line.needsRestart, [])
  assert.doesNotMatch(daemon.tail(), new RegExp(sha256))
  assert.ok(
    daemon.lines.some(({ level }) => level === 20),
    'lines of the new level',
  )
  const body = frame({ subject: 'a', value: 2 })
  assert.equal((await daemon.post(body)).status, 401)
  assert.equal((await daemon.post(body, { authorization: 'Bearer open-sesame' })).status, 202)
  await write({ measures })
  await reloaded(daemon)
  const { rows } = await daemon.get('/v1/measures/by-subject?key=a')
  assert.equal(rows[0].count, 2, 'a measure that was not changed keeps its rows')
})

test('a broken file: the running configuration is kept, and the errors are told with file and line', async (t) => {
  const { daemon, write, reload } = await start(t, {})
  const before = await pidsOf(daemon)
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  await write('logging:\n  level: loud\nmesures: []\n')
  const broken = await reload()
  assert.equal(broken.outcome, 'invalid')
  assert.match(
    broken.problems.join('\n'),
    /^millrace\.yaml:2:10: logging\.level: .*\nmillrace\.yaml:3:1: mesures: .*measures/,
  )
  await write('measures: [\n')
  assert.match((await reload()).problems.join('\n'), /millrace\.yaml:\d+:\d+: /)
  assert.deepEqual(await pidsOf(daemon), before, 'nobody was touched')
  client.stop()
  await sending
  assert.equal(client.retries, 0)
  await write({})
  assert.equal((await reload()).outcome, 'applied')
})

test('a key that needs a restart is named and not applied, the others are', async (t) => {
  const { daemon, write, reload } = await start(t, {})
  await write({ ledger: { producerIdle: '1h' }, log: { kind: 'memory', partitions: 2 } })
  const { outcome, changed, needsRestart } = await reload()
  assert.equal(outcome, 'applied')
  assert.deepEqual(changed, ['ledger.producerIdle'])
  assert.deepEqual(needsRestart, ['log.kind', 'log.partitions'])
  assert.equal((await daemon.status()).log.kind, 'embedded')
  await daemon.post(frame({}))
  assert.equal((await daemon.processed(1)).processed.events, 1)
  await daemon.stop()
  await daemon.launch()
  assert.equal((await daemon.status()).log.kind, 'memory')
})

test('a configuration that no worker can run with is rolled back', async (t) => {
  const { daemon, folder, write, reload } = await start(t, {})
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  // Node takes Ed448, the server's own library does not: so it passes all checks but the last.
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed448', '-out', key], { stdio: 'ignore' })
  execFileSync('openssl', ['req', '-new', '-x509', '-key', key, '-out', cert, '-subj', '/CN=localhost'], {
    stdio: 'ignore',
  })
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  const before = await pidsOf(daemon)
  await write({ http: { tls: { key, cert } } })
  const receipt = await reload()
  assert.equal(receipt.outcome, 'rolled-back', JSON.stringify(receipt))
  assert.match(receipt.problems[0], /the listener does not start with it: http\.tls/)
  assert.deepEqual(await pidsOf(daemon), before)
  client.stop()
  await sending
  assert.equal(client.retries, 0)
  await rm(key)
  assert.equal((await reload()).outcome, 'invalid')
  assert.equal((await daemon.post(frame({}))).status, 202)
})

test('a storm of SIGHUP is one reload and one more', async (t) => {
  const { daemon } = await start(t, {})
  daemon.signal('SIGHUP')
  await daemon.line(({ msg }) => /^SIGHUP/.test(String(msg))) // those that come before it begins may be one signal
  for (let n = 0; n < 50; n++) daemon.signal('SIGHUP')
  const reloads = () => daemon.lines.filter(({ msg }) => msg === 'reloaded').length
  await daemon.line(() => reloads() === 2)
  assert.equal((await daemon.post(frame({}))).status, 202)
})

test('SIGTERM in the middle of a reload drains and ends with 0', async (t) => {
  const { daemon } = await start(t, {})
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  const begun = (from: number) => daemon.line(({ msg }) => /^SIGHUP/.test(String(msg)), from)
  /** The first listener has its successor, and is leaving. */
  const leaving = (_: number, old: string[]) =>
    daemon.until(({ roles }) =>
      roles.some(({ role, pid, ready }) => role === 'listener' && ready && !old.includes(`${role} ${pid}`)),
    )
  for (const moment of [begun, leaving]) {
    await daemon.until(({ roles }) => roles.every(({ ready }) => ready))
    const from = daemon.lines.length
    const old = await pidsOf(daemon)
    daemon.signal('SIGHUP')
    await moment(from, old)
    const workers = await childrenOf(daemon.pid)
    assert.deepEqual(await daemon.stop(), { code: 0, signal: null })
    for (const pid of workers) assert.throws(() => process.kill(pid, 0), 'no worker outlives the primary')
    await daemon.launch()
  }
  client.stop()
  await sending
  assert.equal((await daemon.processed(client.ackedEvents)).processed.events, client.ackedEvents)
})

test('workers killed in the middle of a reload: it goes on, and counts are exact', async (t) => {
  const { daemon, receipt } = await start(t, {})
  const clients = [1, 2].map((n) => new Client(daemon, `client-${n}`, n))
  const sending = clients.map((client) => client.run())
  const from = daemon.lines.length
  const old = await childrenOf(daemon.pid)
  daemon.signal('SIGHUP')
  await daemon.line(({ msg }) => /^SIGHUP/.test(String(msg)), from)
  const isNew = async () => (await childrenOf(daemon.pid)).find((pid) => !old.includes(pid))
  let next = await isNew()
  while (next === undefined) next = await isNew()
  killQuietly(next) // a successor that has hardly begun
  killQuietly(old[0]) // and one that was to be replaced
  await daemon.line(({ msg }) => /^(not )?reloaded/.test(String(msg)), from)
  assert.equal((await receipt())!.outcome, 'applied')
  for (const client of clients) client.stop()
  await Promise.all(sending)
  const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
  const status = await daemon.processed(acked)
  assert.equal(status.processed.events, acked)
  assert.ok(status.roles.every(({ pid }) => !old.includes(pid)))
})

test('one listener and the memory log: bodies and streams go on through a reload, and nothing is lost', async (t) => {
  const { daemon, reload } = await start(t, {}, { cluster: { listeners: 1 }, log: { kind: 'memory' } })
  const streams = [1, 2].map((n) => new StreamClient(daemon, `stream-${n}`, n))
  const sending = streams.map((stream) => stream.run())
  const load = new Load(daemon.http)
  load.start(4, 4)
  await daemon.until(() => streams.every(({ acked }) => acked > 100) && load.acked > 100)
  assert.equal((await reload()).outcome, 'applied')
  const acked = streams.map((stream) => stream.acked)
  await daemon.until(() => streams.every((stream, n) => stream.acked > acked[n] + 100))
  await load.stop()
  for (const stream of streams) stream.stop()
  await Promise.all(sending)
  assert.deepEqual(load.failures, [])
  for (const { errors } of streams) assert.deepEqual([...errors], ['draining'])
  const events = streams.reduce((sum, stream) => sum + stream.ackedEvents, load.acked)
  assert.equal((await daemon.processed(events)).processed.events, events)
})

/** Bodies one after another on several connections, through a reload: none fails, and all are counted. */
async function throughReload(daemon: Daemon, connect: { rejectUnauthorized?: boolean } = {}): Promise<void> {
  const pool = new Pool(daemon.http, { connections: 16, connect })
  const failures: string[] = []
  let acked = 0
  let stopped = false
  const body = frame({ subject: 'load', value: 1 })
  const headers = { 'content-type': 'application/x-protobuf' }
  const post = async () => {
    while (!stopped && failures.length < 10) {
      try {
        const answer = await pool.request({ path: '/v1/events', method: 'POST', headers, body })
        if (answer.statusCode === 202) acked++
        else failures.push(String(answer.statusCode))
        await answer.body.dump()
      } catch (error) {
        failures.push((error as Error).message)
      }
    }
  }
  const posting = Array.from({ length: 16 }, post)
  try {
    await daemon.until(() => acked > 200)
    const before = await pidsOf(daemon)
    assert.equal((await reloaded(daemon)).msg, 'reloaded')
    const now = acked
    await daemon.until(() => acked > now + 200)
    const kept = (await pidsOf(daemon)).filter((one) => before.includes(one))
    assert.deepEqual(
      kept.map((one) => one.split(' ')[0]),
      ['primary'],
    )
  } finally {
    stopped = true
    await Promise.all(posting)
    await pool.close()
  }
  assert.deepEqual(failures, [])
  assert.equal((await daemon.processed(acked)).processed.events, acked)
}

test('over TLS no request fails in a reload, and the certificate is read anew', async (t) => {
  const folder = await temporaryFolder(t)
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const certify = () => {
    const words = [
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-keyout',
      key,
      '-out',
      cert,
      '-subj',
      '/CN=localhost',
    ]
    execFileSync('openssl', words, { stdio: 'ignore' })
  }
  certify()
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0' // of this test's own questions
  atEnd(t, () => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED)
  const { daemon } = await start(t, {}, { http: { tls: { key, cert } } })
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const { hostname: host, port } = new URL(daemon.http)
      const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().fingerprint256)
        socket.destroy()
      }).on('error', reject)
    })
  const before = await shown()
  certify()
  await throughReload(daemon, { rejectUnauthorized: false })
  assert.notEqual(await shown(), before)
})

test('on IPv6 alone no request fails in a reload', async (t) => {
  const { daemon } = await start(t, {}, { http: { listen: '[::1]:0' } })
  assert.match(daemon.http, /^http:\/\/\[::1\]:/)
  await throughReload(daemon)
  assert.ok(
    !daemon.lines.some(({ msg }) => /may be reset/.test(String(msg))),
    'connections are led there too',
  )
})

test('with a broker no request fails in a reload', async (t) => {
  const brokers = await startBrokers(t, 'jetstream')
  const { daemon } = await start(t, {}, { log: logOf('jetstream', brokers) })
  await throughReload(daemon)
})
