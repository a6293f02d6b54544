import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { run } from '../cli/fake.ts'
import { Daemon, temporaryFolder } from './daemon.ts'
import { seed } from './letters.ts'

const NOW = Date.UTC(2026, 0, 31, 12)

// biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
type Answer = { status: number; type: string | null; allow: string | null; body: any; text: string }

async function call(daemon: Daemon, method: string, path: string, key?: string): Promise<Answer> {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` }
  const response = await fetch(daemon.http + path, { method, headers })
  const text = await response.text()
  const type = response.headers.get('content-type')
  const body = type?.includes('json') ? JSON.parse(text) : undefined
  return { status: response.status, type, allow: response.headers.get('allow'), body, text }
}

test('dead letters are listed over all partitions, counted by reason, shown, and dropped for good', async (t) => {
  const dataDir = await temporaryFolder(t)
  const event = (subject: string) => ({ subject, id: `id-${subject}` })
  const first = await seed(
    dataDir,
    0,
    {
      letters: [
        { handler: 'parse', reason: 'no number: "x"', event: event('a') },
        { handler: 'parse', reason: 'no number: "y"', event: event('b') },
        { handler: 'other', reason: 'threw', event: event('c') },
      ],
    },
    NOW,
  )
  const data = Buffer.from('{"a": 1}')
  const [shown] = await seed(
    dataDir,
    1,
    {
      letters: [
        {
          handler: 'parse',
          reason: 'threw',
          correlationId: 'c-1',
          event: {
            ...event('d'),
            timeUnixNano: '1769860800123456789' as never,
            value: 1.5,
            data,
            datacontenttype: 'application/json',
            attributes: { k: 'v' },
          },
        },
      ],
    },
    NOW + 1, // between the others
  )
  const config = { log: { partitions: 2 } }
  const daemon = await Daemon.start(t, { dataDir, config })

  const all = await daemon.get('/v1/dead-letters')
  assert.deepEqual(
    all.letters.map(({ subject }: { subject: string }) => subject),
    ['a', 'b', 'd', 'c'],
  )
  assert.deepEqual(
    { kept: all.kept, total: all.total, left: all.left, otherKinds: all.otherKinds, cursor: all.cursor },
    { kept: 4, total: 4, left: 0, otherKinds: 0, cursor: undefined },
  )
  assert.deepEqual(
    new Set(all.kinds.map((kind: object) => JSON.stringify(kind))),
    new Set([
      '{"handler":"parse","reason":"no number: \\"x\\"","count":1}',
      '{"handler":"parse","reason":"no number: \\"y\\"","count":1}',
      '{"handler":"parse","reason":"threw","count":1}',
      '{"handler":"other","reason":"threw","count":1}',
    ]),
  )
  assert.deepEqual(all.letters[0], {
    id: first[0],
    handler: 'parse',
    reason: 'no number: "x"',
    attempts: 1,
    diedAt: new Date(NOW).toISOString(),
    receivedAt: new Date(NOW - 1000).toISOString(),
    type: 'test',
    source: 'test',
    subject: 'a',
    bytes: all.letters[0].bytes,
  })

  const filtered = await daemon.get('/v1/dead-letters?handler=parse&reason=no+number*&limit=1')
  assert.deepEqual([filtered.letters.length, filtered.kinds.length], [1, 2])
  const rest = await daemon.get(`/v1/dead-letters?handler=parse&reason=no+number*&cursor=${filtered.cursor}`)
  assert.deepEqual([rest.letters[0].subject, rest.letters.length, rest.cursor], ['b', 1, undefined])

  const letter = await daemon.get(`/v1/dead-letters/${shown}`)
  assert.equal(letter.correlationId, 'c-1')
  assert.deepEqual(letter.json, { a: 1 })
  assert.deepEqual(letter.event, {
    id: 'id-d',
    source: 'test',
    type: 'test',
    subject: 'd',
    timeUnixNano: '1769860800123456789',
    value: 1.5,
    data: data.toString('base64'),
    datacontenttype: 'application/json',
    attributes: { k: 'v' },
  })
  const posted = await daemon.post(JSON.stringify(letter.event), { 'content-type': 'application/json' })
  assert.equal(posted.status, 202) // what is shown can be sent again as it is

  const refused = await call(daemon, 'POST', `/v1/dead-letters/${shown}/replay`)
  assert.deepEqual([refused.status, refused.body.code], [409, 'no-handler'])
  assert.match(refused.body.detail, /handler parse is not configured/)
  const refusedAll = await call(daemon, 'POST', '/v1/dead-letters/replay?handler=other')
  assert.deepEqual([refusedAll.status, refusedAll.body.code], [409, 'no-handler'])

  assert.deepEqual((await call(daemon, 'DELETE', `/v1/dead-letters/${first[0]}`)).body, {
    id: first[0],
    outcome: 'dropped',
  })
  assert.equal((await call(daemon, 'DELETE', `/v1/dead-letters/${first[0]}`)).status, 404)
  assert.equal((await call(daemon, 'GET', `/v1/dead-letters/${first[0]}`)).status, 404)
  const dropped = await call(daemon, 'DELETE', '/v1/dead-letters?handler=parse')
  assert.equal(dropped.body.dropped, 2)
  await daemon.killAll()
  await daemon.launch()
  const after = await daemon.get('/v1/dead-letters')
  assert.deepEqual(
    after.letters.map(({ subject }: { subject: string }) => subject),
    ['c'],
  )
  const { deadLetters } = (await daemon.get('/v1/status')) as { deadLetters: object }
  assert.deepEqual(deadLetters, { kept: 1, total: 4, replayed: 0, dropped: 3, left: 0 })
})

test('a filter over more letters than a page drops them page by page, each once', async (t) => {
  const dataDir = await temporaryFolder(t)
  const letters = Array.from({ length: 2500 }, (_, i) => ({
    handler: i % 5 === 0 ? 'keep' : 'h',
    reason: `r${i % 1200}`,
    event: { id: String(i) },
  }))
  await seed(dataDir, 0, { letters }, NOW)
  const daemon = await Daemon.start(t, { dataDir })
  const page = await daemon.get('/v1/dead-letters?limit=10000')
  assert.deepEqual([page.letters.length, page.kinds.length], [2500, 1000])
  assert.equal(
    page.kinds.reduce((sum: number, { count }: { count: number }) => sum + count, page.otherKinds),
    2500,
  )
  const first = await call(daemon, 'DELETE', '/v1/dead-letters?handler=h')
  assert.deepEqual([first.body.dropped, typeof first.body.cursor], [1000, 'string'])
  const second = await call(daemon, 'DELETE', `/v1/dead-letters?handler=h&cursor=${first.body.cursor}`)
  assert.deepEqual([second.body.dropped, second.body.cursor], [1000, undefined])
  const { kept, total } = await daemon.get('/v1/dead-letters?limit=1')
  assert.deepEqual({ kept, total }, { kept: 500, total: 2500 })
})

test('what handlers stored is answered as bytes with a type, and listed in pages', async (t) => {
  const dataDir = await temporaryFolder(t)
  const json = '{"big": 12345678901234567890,  "spaced": true}'
  await seed(
    dataDir,
    0,
    {
      results: [
        { key: 'route/JFK LAX', bytes: json, at: NOW },
        { key: 'route/text', bytes: 'délai', at: NOW },
        { key: 'route/raw', bytes: Uint8Array.of(0xff, 0, 1), at: NOW },
        { key: 'shared', bytes: '"old"', at: NOW },
      ],
    },
    NOW,
  )
  await seed(dataDir, 1, { results: [{ key: 'shared', bytes: '"new"', at: NOW + 1 }] }, NOW)
  const daemon = await Daemon.start(t, { dataDir, config: { log: { partitions: 2 } } })
  const one = await call(daemon, 'GET', '/v1/results/route/JFK%20LAX')
  assert.deepEqual([one.status, one.type, one.text], [200, 'application/json', json])
  assert.equal((await call(daemon, 'GET', '/v1/results/route%2FJFK%20LAX')).text, json)
  const text = await call(daemon, 'GET', '/v1/results/route/text')
  assert.deepEqual([text.type, text.text], ['text/plain; charset=utf-8', 'délai'])
  const raw = await fetch(`${daemon.http}/v1/results/route/raw`)
  assert.equal(raw.headers.get('content-type'), 'application/octet-stream')
  assert.deepEqual(Buffer.from(await raw.arrayBuffer()), Buffer.of(0xff, 0, 1))
  assert.equal((await call(daemon, 'GET', '/v1/results/shared')).text, '"new"')

  const page = await call(daemon, 'GET', '/v1/results?prefix=route/&limit=2')
  assert.ok(page.text.includes(json)) // not a digit is lost
  assert.deepEqual(
    page.body.results.map(({ key, receivedAt }: Record<string, string>) => [key, receivedAt]),
    [
      ['route/JFK LAX', new Date(NOW).toISOString()],
      ['route/raw', new Date(NOW).toISOString()],
    ],
  )
  assert.equal(page.body.results[1].base64, '/wAB')
  const rest = await daemon.get(`/v1/results?prefix=route/&limit=2&cursor=${page.body.cursor}`)
  assert.deepEqual([rest.results.length, rest.results[0].text, rest.cursor], [1, 'délai', undefined])
  assert.equal((await daemon.get('/v1/results')).results.length, 4)

  for (const [path, status, code] of [
    ['/v1/results/none', 404, 'not-found'],
    ['/v1/results/', 404, 'not-found'],
    [`/v1/results/${'x'.repeat(3000)}`, 404, 'not-found'],
    ['/v1/results?limit=0', 400, 'malformed'],
    ['/v1/results?cursor=!', 400, 'malformed'],
    [`/v1/results?prefix=s&cursor=${page.body.cursor}`, 400, 'malformed'],
    ['/v1/results?perfix=a', 400, 'malformed'],
  ] as const) {
    const answer = await call(daemon, 'GET', path)
    assert.deepEqual([answer.status, answer.body.code], [status, code], path)
  }
  const wrong = await call(daemon, 'DELETE', '/v1/results/shared')
  assert.deepEqual([wrong.status, wrong.body.code, wrong.allow], [405, 'wrong-method', 'GET'])
})

test('wrong ids, methods, parameters and keys are refused, and change nothing', async (t) => {
  const dataDir = await temporaryFolder(t)
  const [id] = await seed(dataDir, 0, { letters: [{ handler: 'h', reason: 'r', event: {} }] }, NOW)
  const sha256 = (key: string) => createHash('sha256').update(key).digest('hex')
  const auth = {
    keys: [
      { name: 'reader', sha256: sha256('r'), scopes: ['query'] },
      { name: 'operator', sha256: sha256('o'), scopes: ['query', 'admin'] },
    ],
  }
  const daemon = await Daemon.start(t, { dataDir, config: { auth } })
  const other = id.replace(/.$/, (digit) => (digit === 'f' ? '0' : 'f'))
  const refusals: [method: string, path: string, key: string | undefined, status: number, code: string][] = [
    ['GET', '/v1/dead-letters', undefined, 401, 'unauthenticated'],
    ['GET', '/v1/results', undefined, 401, 'unauthenticated'],
    ['DELETE', `/v1/dead-letters/${id}`, undefined, 401, 'unauthenticated'],
    ['DELETE', `/v1/dead-letters/${id}`, 'r', 403, 'out-of-scope'],
    ['POST', `/v1/dead-letters/${id}/replay`, 'r', 403, 'out-of-scope'],
    ['POST', '/v1/dead-letters/replay?all=true', 'r', 403, 'out-of-scope'],
    ['DELETE', '/v1/dead-letters?all=true', 'r', 403, 'out-of-scope'],
    ['DELETE', '/v1/dead-letters', 'o', 400, 'malformed'],
    ['DELETE', '/v1/dead-letters?all=true&handler=h', 'o', 400, 'malformed'],
    ['DELETE', '/v1/dead-letters?handler=h&limit=1001', 'o', 400, 'malformed'],
    ['POST', '/v1/dead-letters/replay', 'o', 400, 'malformed'],
    ['GET', '/v1/dead-letters?cursor=abc', 'o', 400, 'malformed'],
    ['GET', '/v1/dead-letters?handeler=h', 'o', 400, 'malformed'],
    ['PUT', '/v1/dead-letters', 'o', 405, 'wrong-method'],
    ['POST', `/v1/dead-letters/${id}`, 'o', 405, 'wrong-method'],
    ['GET', `/v1/dead-letters/${id}/replay`, 'o', 405, 'wrong-method'],
    ['PUT', '/v1/dead-letters/replay', 'o', 405, 'wrong-method'],
    ['POST', `/v1/dead-letters/${id}/drop`, 'o', 404, 'unknown-route'],
    ['GET', `/v1/dead-letters/${other}`, 'o', 404, 'not-found'],
    ['DELETE', `/v1/dead-letters/${other}`, 'o', 404, 'not-found'],
    ['POST', `/v1/dead-letters/${other}/replay`, 'o', 404, 'not-found'],
    ['DELETE', '/v1/dead-letters/abc', 'o', 404, 'not-found'],
    ['DELETE', `/v1/dead-letters/${id.toUpperCase()}x`, 'o', 404, 'not-found'],
    ['GET', '/v1/dead-letters/%00%ff', 'o', 404, 'not-found'],
  ]
  for (const [method, path, key, status, code] of refusals) {
    const answer = await call(daemon, method, path, key)
    assert.deepEqual([answer.status, answer.body.code], [status, code], `${method} ${path}`)
  }
  const letters = await call(daemon, 'GET', '/v1/dead-letters', 'r')
  assert.deepEqual([letters.body.letters[0].id, letters.body.kept], [id, 1])
  assert.equal((await call(daemon, 'DELETE', '/v1/dead-letters?all=true', 'o')).body.dropped, 1)
})

test('a daemon without a processor shows dead letters and says that it cannot change them', async (t) => {
  const dataDir = await temporaryFolder(t)
  const [id] = await seed(dataDir, 0, { letters: [{ handler: 'h', reason: 'r', event: {} }] }, NOW)
  const daemon = await Daemon.start(t, { dataDir, roles: 'gateway' })
  assert.equal((await daemon.get(`/v1/dead-letters/${id}`)).reason, 'r')
  for (const [method, path] of [
    ['DELETE', `/v1/dead-letters/${id}`],
    ['POST', `/v1/dead-letters/${id}/replay`],
    ['DELETE', '/v1/dead-letters?all=true'],
  ]) {
    const answer = await call(daemon, method, path)
    assert.deepEqual([answer.status, answer.body.code], [503, 'no-processor'], `${method} ${path}`)
    assert.match(answer.body.detail, /this daemon has no processor/)
  }
})

test('millrace dlq lists, shows and drops', async (t) => {
  const dataDir = await temporaryFolder(t)
  const letters = [1, 2, 3].map((n) => ({
    handler: 'parse',
    reason: `bad\u001b[31m ${n}`,
    event: { subject: `s${n}`, data: Buffer.from('plain\u001b[2J') },
  }))
  const [id] = await seed(dataDir, 0, { letters }, NOW)
  const daemon = await Daemon.start(t, { dataDir })
  const dlq = (...words: string[]) => run(['dlq', ...words, '--url', daemon.http])

  const listed = await dlq('ls', '--limit', '2')
  assert.equal(listed.code, 0, listed.stderr)
  assert.match(listed.stdout, new RegExp(`^id .*\\n${id} .* parse .* s1 .* bad.u001b.31m 1\\n`))
  assert.match(listed.stdout, /\n3 dead letters kept of 3 that there were\n$/)
  assert.match(listed.stdout, /\ncount {2}handler {2}reason\n {4}1 {2}parse/)
  assert.match(listed.stderr, /--all/)
  assert.ok(!listed.stdout.includes('\u001b'))
  const all = JSON.parse((await dlq('ls', '--all', '--json')).stdout)
  assert.equal(all.letters.length, 3)
  const shown = await dlq('show', id)
  assert.equal(JSON.parse(shown.stdout).event.subject, 's1')
  assert.ok(!shown.stdout.includes('\u001b'))

  const refused = await dlq('replay', id)
  assert.deepEqual([refused.code, refused.stdout], [1, ''])
  assert.match(refused.stderr, /no-handler: handler parse is not configured/)
  assert.deepEqual(await dlq('drop', id), { code: 0, stdout: 'dropped 1\n', stderr: '' })
  const again = await dlq('drop', id)
  assert.deepEqual([again.code, again.stdout], [1, ''])
  assert.match(again.stderr, /not-found/)
  assert.match((await run(['status', '--url', daemon.http])).stdout, /\nletters {5}2 dead letters kept of 3/)
  const dropped = JSON.parse((await dlq('drop', '--reason', '*2', '--json')).stdout)
  assert.equal(dropped.dropped, 1)
  assert.equal((await dlq('drop', '--all')).stdout, 'dropped 1\n')
  assert.equal((await dlq('ls')).stdout, '0 dead letters kept of 3 that there were\n')
  for (const words of [
    [],
    ['list'],
    ['ls', id],
    ['ls', '--all', '--limit', '5'],
    ['show'],
    ['show', id, '--all'],
    ['drop'],
    ['drop', id, '--all'],
    ['replay', '--all', '--handler', 'parse'],
    ['replay', '--limit', '5', '--all'],
  ]) {
    assert.equal((await dlq(...words)).code, 2, words.join(' '))
  }
})
