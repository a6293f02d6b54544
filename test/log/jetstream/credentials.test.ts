import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { nkeys } from 'nats'
import type { NatsOptions } from '../../../scripts/brokers/nats.ts'
import type { JetStreamConfig } from '../../../src/config/config.ts'
import { JetStreamPublisher } from '../../../src/log/jetstream/publisher.ts'
import { LogMisconfigured, LogUnavailable } from '../../../src/log/log.ts'
import { temporaryFolder } from '../../e2e/daemon.ts'
import { until } from '../../until.ts'
import { configOf, ownServer, Told, Writer } from './server.ts'

const run = promisify(execFile)

type Credentials = Partial<JetStreamConfig>

/** Opens a publisher and sends one segment. */
async function send(t: TestContext, addresses: string[], credentials: Credentials): Promise<void> {
  const publisher = await JetStreamPublisher.open(configOf(t, addresses, credentials), new Told())
  await publisher.publish(0, new Writer().segment('one'))
  await publisher.close()
}

async function isRefused(
  t: TestContext,
  addresses: string[],
  credentials: Credentials,
  words: RegExp,
): Promise<void> {
  await assert.rejects(send(t, addresses, credentials), (error) => {
    assert.ok(error instanceof LogMisconfigured, `${error}`)
    assert.match(error.message, words)
    for (const secret of [credentials.password, credentials.token]) {
      assert.ok(secret === undefined || !error.message.includes(secret), error.message)
    }
    return true
  })
}

const CREDENTIALS =
  /127\.0\.0\.1:\d+ refuses the credentials: check user and password, token or nkey in log.jetstream/

test('user and password', async (t) => {
  const nats = await ownServer(t, { user: { name: 'mill', password: 'race "1"' } })
  await send(t, nats.servers, { user: 'mill', password: 'race "1"' })
  await isRefused(t, nats.servers, { user: 'mill', password: 'wrong-one' }, CREDENTIALS)
  await isRefused(t, nats.servers, {}, CREDENTIALS)
})

test('a token', async (t) => {
  const nats = await ownServer(t, { token: 'open-sesame' })
  await send(t, nats.servers, { token: 'open-sesame' })
  await isRefused(t, nats.servers, { token: 'open-barley' }, CREDENTIALS)
})

test('the seed of an nkey in a file', async (t) => {
  const folder = await temporaryFolder(t)
  const file = async (name: string, text: string | Uint8Array) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const [right, other] = [nkeys.createUser(), nkeys.createUser()]
  const seed = Buffer.from(right.getSeed()).toString('latin1')
  const nats = await ownServer(t, { nkey: right.getPublicKey() })
  await send(t, nats.servers, { nkey: await file('right', `# the key of millrace\n${seed}\n`) })
  await isRefused(t, nats.servers, { nkey: await file('other', other.getSeed()) }, CREDENTIALS)
  await isRefused(
    t,
    nats.servers,
    { nkey: await file('none', 'nothing') },
    /log\.jetstream\.nkey: .*none holds no seed/,
  )
  await isRefused(
    t,
    nats.servers,
    { nkey: join(folder, 'missing') },
    /log\.jetstream\.nkey: cannot read the seed/,
  )
})

/** An authority, and certificates of it for a server at 127.0.0.1 and for a client. */
async function authority(t: TestContext) {
  const folder = await temporaryFolder(t)
  const path = (name: string) => join(folder, name)
  const openssl = (...words: string[]) => run('openssl', words, { cwd: folder })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  for (const ca of ['ca', 'stranger']) {
    await openssl(
      'req',
      '-x509',
      ...key,
      '-days',
      '1',
      '-subj',
      `/CN=${ca}`,
      '-keyout',
      `${ca}.key`,
      '-out',
      `${ca}.pem`,
    )
  }
  for (const [name, names] of [
    ['server', 'IP:127.0.0.1'],
    ['elsewhere', 'DNS:localhost'],
    ['client', 'DNS:client'],
  ]) {
    await writeFile(path(`${name}.ext`), `subjectAltName=${names}`)
    await openssl('req', ...key, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`)
    const signed = [
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '1',
      '-extfile',
      `${name}.ext`,
    ]
    await openssl('x509', '-req', '-in', `${name}.csr`, ...signed, '-out', `${name}.pem`)
  }
  const serverTls = (name: string, verify = false): NatsOptions => ({
    tls: { ca: path('ca.pem'), cert: path(`${name}.pem`), key: path(`${name}.key`), verify },
  })
  return { path, serverTls }
}

test('TLS with an authority of our own', async (t) => {
  const { path, serverTls } = await authority(t)
  const nats = await ownServer(t, serverTls('server'))
  await send(t, nats.servers, { tls: { ca: path('ca.pem') } })
  await isRefused(
    t,
    nats.servers,
    { tls: { ca: path('stranger.pem') } },
    /TLS failed, check log\.jetstream\.tls/,
  )
  await isRefused(t, nats.servers, { tls: true }, /TLS failed, check log\.jetstream\.tls/)
  await isRefused(t, nats.servers, {}, /TLS failed, check log\.jetstream\.tls/)
})

test("a certificate for another name than the server's is refused", async (t) => {
  const { path, serverTls } = await authority(t)
  const nats = await ownServer(t, serverTls('elsewhere'))
  await isRefused(t, nats.servers, { tls: { ca: path('ca.pem') } }, /TLS failed.*127\.0\.0\.1/)
  const byName = nats.servers.map((server) => server.replace('127.0.0.1', 'localhost'))
  await send(t, byName, { tls: { ca: path('ca.pem') } })
})

test('a certificate of the client, where the server asks for one', async (t) => {
  const { path, serverTls } = await authority(t)
  const nats = await ownServer(t, serverTls('server', true))
  const ca = path('ca.pem')
  await send(t, nats.servers, { tls: { ca, cert: path('client.pem'), key: path('client.key') } })
  await isRefused(t, nats.servers, { tls: { ca } }, /TLS failed, check log\.jetstream\.tls/)
})

test('TLS is asked for and the server speaks none', async (t) => {
  const nats = await ownServer(t)
  await isRefused(t, nats.servers, { tls: true }, /does not speak TLS/)
})

test('a server that is not there yet is waited for, told once; any of several will do', async (t) => {
  const nats = await ownServer(t)
  await nats.kill()
  const told = new Told()
  const nobody = '127.0.0.1:1'
  const opened = JetStreamPublisher.open(configOf(t, [nobody, ...nats.servers]), told)
  await until(() => told.all.length > 0)
  assert.match(told.all[0], /^away: 127\.0\.0\.1:1 refuses the connection/)
  await nats.restart()
  const publisher = await opened
  await publisher.publish(0, new Writer().segment('one'))
  await publisher.close()
  assert.deepEqual(told.all.slice(1), ['back'])
})

test('waiting for a server ends with the signal', async (t) => {
  const stop = new AbortController()
  const told = new Told()
  const opened = JetStreamPublisher.open(configOf(t, ['127.0.0.1:1']), told, stop.signal)
  await until(() => told.all.length > 0)
  stop.abort()
  await assert.rejects(opened, LogUnavailable)
})
