import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { forwardRoute } from '../../src/api/forward.ts'
import type { Config } from '../../src/config/config.ts'
import { FORWARDS_MAX } from '../../src/limits.ts'
import { openRoutes } from './admin-port.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => void

/** A data port that answers as `handler` does, and an admin port before it. */
async function ports(t: TestContext, handler: Handler, tls?: { cert: string; key: string }) {
  const files = tls && { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }
  const data = files === undefined ? createServer(handler) : createTlsServer(files, handler)
  await once(data.listen(0, '127.0.0.1'), 'listening')
  const { port } = data.address() as AddressInfo
  const http = { listen: { host: '127.0.0.1', port }, ...(tls === undefined ? {} : { tls }) }
  const admin = await adminOf(t, http as Config['http'])
  t.after(() => {
    data.close()
    data.closeAllConnections()
  })
  return { data, admin }
}

async function adminOf(t: TestContext, http: Config['http'] | undefined) {
  const { server, address } = await openRoutes({ '/v1/': forwardRoute(() => http) })
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return address
}

type Address = { host: string; port: number }

function open(address: Address, path: string, method = 'GET', headers: Record<string, string> = {}) {
  const asked = request({ ...address, path, method, headers, agent: false })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    asked.on('response', resolve).on('error', reject).end()
  })
  return { asked, answered }
}

async function ask(
  address: Address,
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  const response = await open(address, path, method, headers).answered
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode!, headers: response.headers, text }
}

test('what the console asks is passed on with its key and correlation id, and answered as it was', async (t) => {
  const { admin } = await ports(t, ({ method, url, headers }, response) => {
    const { authorization, cookie, 'x-correlation-id': id } = headers
    response.writeHead(409, {
      'content-type': 'application/problem+json',
      'x-correlation-id': 'c-2',
      'x-y': 'z',
    })
    response.end(JSON.stringify({ method, url, authorization, cookie, id }))
  })
  const headers = { authorization: 'Bearer k', 'x-correlation-id': 'c-1', cookie: 'a=b' }
  const answer = await ask(admin, '/v1/dead-letters/0-7/replay?a=%2F', 'POST', headers)
  assert.deepEqual(JSON.parse(answer.text), {
    method: 'POST',
    url: '/v1/dead-letters/0-7/replay?a=%2F',
    authorization: 'Bearer k',
    id: 'c-1',
  })
  assert.equal(answer.status, 409)
  assert.equal(answer.headers['content-type'], 'application/problem+json')
  assert.equal(answer.headers['x-correlation-id'], 'c-2')
  assert.equal(answer.headers['x-y'], undefined)
})

test('reading is passed on, and what is done to dead letters; nothing else is, events least of all', async (t) => {
  const { admin } = await ports(t, (_, response) => void response.end('here'))
  for (const [method, path] of [
    ...['status', 'measures', 'measures/a%2Fb', 'measures/m/top?by=sum', 'results', 'results/a/b'].map(
      (path) => ['GET', path],
    ),
    ...['dead-letters', 'dead-letters/0-1', 'events/tail?rate=1'].map((path) => ['GET', path]),
    ['POST', 'dead-letters/replay?all=true'],
    ['POST', 'dead-letters/0-1/replay'],
    ['DELETE', 'dead-letters?all=true'],
    ['DELETE', 'dead-letters/0-1'],
  ]) {
    assert.deepEqual([path, (await ask(admin, `/v1/${path}`, method)).text], [path, 'here'])
  }
  for (const [method, path, status] of [
    ['POST', 'events', 404],
    ['GET', 'stream', 404],
    ['GET', 'unheard-of', 404],
    ['GET', 'measures/m/../../events', 404],
    ['POST', 'dead-letters/a/b/replay', 404],
    ['DELETE', 'measures/m', 405],
    ['POST', 'dead-letters/0-1', 405],
    ['PUT', 'status', 405],
  ] as const) {
    assert.deepEqual([path, (await ask(admin, `/v1/${path}`, method)).status], [path, status])
  }
})

test('an answer streams through as it comes, and ends at the data port when whoever asked is gone', async (t) => {
  let begin!: (response: ServerResponse) => void
  const begun = new Promise<ServerResponse>((resolve) => {
    begin = resolve
  })
  const { admin } = await ports(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    begin(response)
  })
  const { asked, answered } = open(admin, '/v1/events/tail')
  const [from, to] = await Promise.all([begun, answered]) // the head comes before anything is told
  from.write('data: 1\n\n')
  const [chunk] = await once(to, 'data')
  assert.equal(String(chunk), 'data: 1\n\n')
  const ended = once(from, 'close')
  asked.destroy()
  await ended
})

test('a data port that ends in the middle of an answer does not look as if the answer were whole', async (t) => {
  const { admin } = await ports(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{"rows":[', () => response.destroy())
  })
  await assert.rejects(ask(admin, '/v1/measures/m'), /aborted|hang up/)
})

test('so many are open at once and no more', async (t) => {
  const { admin } = await ports(t, (_, response) => void response.flushHeaders())
  const tails = Array.from({ length: FORWARDS_MAX }, () => open(admin, '/v1/events/tail'))
  await Promise.all(tails.map(({ answered }) => answered))
  const { status, text } = await ask(admin, '/v1/status')
  assert.deepEqual([status, JSON.parse(text).code], [429, 'overloaded'])
  for (const { asked } of tails) asked.destroy()
})

test('without a data port, or with one that is away, it is said which', async (t) => {
  const without = await ask(await adminOf(t, undefined), '/v1/status')
  assert.deepEqual([without.status, JSON.parse(without.text).code], [503, 'no-data-port'])
  assert.match(JSON.parse(without.text).detail, /--roles/)

  const { admin, data } = await ports(t, (_, response) => void response.end())
  await new Promise((resolve) => data.close(resolve))
  const away = await ask(admin, '/v1/status')
  assert.deepEqual([away.status, away.headers['retry-after']], [503, '1'])
  assert.match(JSON.parse(away.text).detail, /^the data port 127\.0\.0\.1:\d+: .*ECONNREFUSED/)
})

test('a data port that speaks TLS is asked over TLS, whatever name its certificate is for', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-forward-'))
  t.after(() => rm(folder, { recursive: true }))
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const made = [...request, '-subj', '/CN=events.example', '-days', '1', '-keyout', key, '-out', cert]
  execFileSync('openssl', made, { stdio: 'ignore' })
  const { admin } = await ports(t, (_, response) => void response.end('over TLS'), { cert, key })
  assert.equal((await ask(admin, '/v1/status')).text, 'over TLS')
})
