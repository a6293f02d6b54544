import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { Auth } from '../../src/auth.ts'
import { Problem } from '../../src/errors.ts'
import { openRoutes } from './admin-port.ts'

const sha256 = (key: string) => createHash('sha256').update(key).digest('hex')
let auth = new Auth('none', 1)
let admin: Awaited<ReturnType<typeof openRoutes>>
const failures: [code: string, cause: unknown, correlationId: string][] = []
const broken = new Error('a bug')
const reading = new EventEmitter()

before(async () => {
  admin = await openRoutes(
    {
      '/open': { open: true, answer: (_, response) => void response.end('open') },
      '/figures': { answer: (_, response) => void response.end('figures') },
      '/below/': { methods: ['GET', 'POST'], answer: (_, response, url) => void response.end(url.pathname) },
      '/busy': {
        answer: () => {
          throw new Problem('overloaded', 'another one runs')
        },
      },
      '/away': {
        answer: () => {
          throw new Problem('no-data-port', 'it is away')
        },
      },
      '/broken': {
        answer: () => {
          throw broken
        },
      },
      '/reading': {
        methods: ['PUT'],
        async answer(request) {
          reading.emit('begun')
          try {
            for await (const _ of request);
          } finally {
            setImmediate(() => reading.emit('over')) // the admin port has heard of it then
          }
        },
      },
      '/cut': {
        answer(_, response) {
          response.writeHead(200).flushHeaders()
          throw broken
        },
      },
    },
    {
      auth: () => auth,
      correlationId: ({ headers }) => String(headers['x-correlation-id'] ?? 'made'),
      failed: ({ code, cause }, correlationId) => void failures.push([code, cause, correlationId]),
    },
  )
})
after(() => {
  admin.server.close()
  admin.server.closeAllConnections()
})

function ask(path: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; body: string; headers: IncomingHttpHeaders }>((resolve, reject) => {
    const asked = request({ ...admin.address, path, headers, method }, (response) => {
      const { statusCode = 0, headers } = response
      text(response).then((body) => resolve({ status: statusCode, body, headers }), reject)
    })
    asked.on('error', reject).end()
  })
}

test('a path finds its route, one below a folder that folder, and nothing else is there', async () => {
  assert.deepEqual((await ask('/figures?a=b')).body, 'figures')
  assert.equal((await ask('/below/a/b')).body, '/below/a/b')
  assert.equal((await ask('/\\[')).status, 404)
  assert.equal((await ask('http://[')).status, 400)
  for (const path of ['/', '/figures/', '/below', '/constructor', '//x', '/%', '/toString/']) {
    const { status, body } = await ask(path)
    assert.deepEqual([path, status, JSON.parse(body).code], [path, 404, 'unknown-route'])
  }
})

test('another method is told which ones are meant', async () => {
  const { status, headers } = await ask('/figures', {}, 'POST')
  assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'])
  assert.equal((await ask('/below/a', {}, 'POST')).status, 200)
})

test('a problem of a route is answered as one', async () => {
  const { status, headers, body } = await ask('/busy')
  assert.deepEqual([status, headers['retry-after'], JSON.parse(body).code], [429, '1', 'overloaded'])
})

test('what the daemon could not do is told to the log, also where the answer had begun; refusals are not', async () => {
  failures.length = 0
  assert.equal((await ask('/busy')).status, 429)
  assert.equal((await ask('/nothing')).status, 404)
  assert.equal((await ask('/away', { 'x-correlation-id': 'of-away' })).status, 503)
  const { status, headers, body } = await ask('/broken', { 'x-correlation-id': 'of-broken' })
  assert.deepEqual([status, headers['x-correlation-id']], [500, 'of-broken'])
  assert.equal(JSON.parse(body).correlationId, 'of-broken')
  await assert.rejects(ask('/cut'))
  assert.deepEqual(failures, [
    ['no-data-port', undefined, 'of-away'],
    ['internal', broken, 'of-broken'],
    ['internal', broken, 'made'],
  ])
})

test('whoever leaves in the middle is no failure of the daemon', async () => {
  failures.length = 0
  const socket = connect(admin.address.port, '127.0.0.1')
  const begun = once(reading, 'begun')
  socket.write('PUT /reading HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf')
  await begun
  const over = once(reading, 'over')
  socket.destroy()
  await over
  assert.deepEqual(failures, [])
})

test('where there are keys, the scope admin is asked for, but not for what is open', async () => {
  const key = (name: string, scope: 'query' | 'admin') => ({ name, sha256: sha256(name), scopes: [scope] })
  auth = new Auth({ keys: [key('viewer', 'query'), key('operator', 'admin')] }, 1)
  try {
    const status = async (path: string, name?: string) =>
      (await ask(path, name === undefined ? {} : { authorization: `Bearer ${name}` })).status
    assert.equal(await status('/open'), 200)
    assert.equal(await status('/figures'), 401)
    assert.equal(await status('/figures', 'nobody'), 401)
    assert.equal(await status('/figures', 'viewer'), 403)
    assert.equal(await status('/figures', 'operator'), 200)
  } finally {
    auth = new Auth('none', 1)
  }
})

test('pages of other sites get nothing, also under a name that they point to this machine', async () => {
  const { port } = admin.address
  const own = { host: `localhost:${port}`, origin: `http://localhost:${port}` }
  assert.equal((await ask('/figures', own)).status, 200)
  assert.equal((await ask('/figures', { origin: 'http://evil.example' })).status, 403)
  assert.equal((await ask('/figures', { origin: 'null' })).status, 403)
  assert.equal((await ask('/figures', { host: `evil.example:${port}` })).status, 403)
  for (const [site, status] of [
    ['cross-site', 403],
    ['same-site', 403],
    ['same-origin', 200],
    ['none', 200],
  ] as const) {
    assert.deepEqual([site, (await ask('/figures', { 'sec-fetch-site': site })).status], [site, status])
  }
  assert.equal((await ask('/figures', { host: `gateway:${port}` })).status, 200)
  assert.equal((await ask('/open', { host: `evil.example:${port}` })).status, 200)
})
