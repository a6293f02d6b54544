import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { type Level, logLevelRoute } from '../../src/api/log-level.ts'
import type { Role } from '../../src/telemetry/catalogue.ts'
import { openRoutes } from './admin-port.ts'

const set = new Map<Role, Level>()
const of = (role: Role) => set.get(role) ?? 'info'
let admin: Awaited<ReturnType<typeof openRoutes>>

before(async () => {
  const route = logLevelRoute({
    configured: 'info',
    of,
    set: (role, level) => void (level === undefined ? set.delete(role) : set.set(role, level)),
  })
  admin = await openRoutes({ '/log-level': route })
})
beforeEach(() => set.clear())
after(() => {
  admin.server.close()
  admin.server.closeAllConnections()
})

async function ask(method: string, query = '', body?: string) {
  const response = await fetch(`http://127.0.0.1:${admin.address.port}/log-level${query}`, {
    method,
    body: body ?? null,
  })
  // biome-ignore lint/suspicious/noExplicitAny: an answer, or a problem
  return { status: response.status, answer: (await response.json()) as any }
}
const all = { primary: 'info', listener: 'info', processor: 'info', gateway: 'info' }

test('the level is told, changed by query or by body, for one role or all, and undone', async () => {
  const expected = (levels: Record<string, string>) => ({
    status: 200,
    answer: { configured: 'info', levels: { ...all, ...levels } },
  })
  assert.deepEqual(await ask('GET'), expected({}))
  assert.deepEqual(await ask('PUT', '?level=debug&role=listener'), expected({ listener: 'debug' }))
  const body = '{"level":"warn","role":"processor"}'
  assert.deepEqual(await ask('PUT', '', body), expected({ listener: 'debug', processor: 'warn' }))
  assert.deepEqual(await ask('DELETE', '?role=listener'), expected({ processor: 'warn' }))
  const trace = { primary: 'trace', listener: 'trace', processor: 'trace', gateway: 'trace' }
  assert.deepEqual(await ask('PUT', '?level=trace'), expected(trace))
  assert.deepEqual(await ask('GET'), expected(trace))
  assert.deepEqual(await ask('DELETE'), expected({}))
})

test('what is not understood changes nothing and says what is', async () => {
  const cases: [method: string, query: string, body: string | undefined, detail: RegExp][] = [
    ['PUT', '', undefined, /level is missing: one of fatal,/],
    ['PUT', '?level=debugg', undefined, /not "debugg"; did you mean debug\?/],
    ['PUT', '?level=debug&role=listner', undefined, /did you mean listener\?/],
    ['PUT', '?level=debug&rolle=listener', undefined, /there is no rolle here; did you mean role\?/],
    ['PUT', '', '["debug"]', /no JSON object/],
    ['PUT', '', 'debug', /no JSON object/],
    ['PUT', '', 'null', /no JSON object/],
    ['PUT', '', '{"level":{"a":1}}', /not {"a":1}/],
    ['DELETE', '?level=debug', undefined, /there is no level here/],
  ]
  for (const [method, query, body, detail] of cases) {
    const { status, answer } = await ask(method, query, body)
    assert.deepEqual([status, answer.code], [400, 'malformed'], `${query} ${body}`)
    assert.match(answer.detail, detail)
  }
  assert.equal((await ask('PUT', '', `{"level":"debug"${' '.repeat(2000)}}`)).status, 413)
  assert.equal((await ask('POST', '?level=debug')).status, 405)
  assert.equal(set.size, 0)
})
