import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeDaemon, problem, run } from './fake.ts'

test('wrong usage ends with 2, before anything is asked', async (t) => {
  const daemon = await FakeDaemon.start(t)
  for (const [words, said] of [
    [['--seconds', '0'], '--seconds 0: a whole number from 1 to 60'],
    [['--seconds', '61'], 'from 1 to 60'],
    [['--trace', 'x', '--seconds', '6'], 'from 1 to 5'],
    [['--heap', '--allocs'], 'one profile at a time'],
    [['--trace', 'x', '--svg', 'y'], '--trace has no --svg'],
    [['--admin', 'nowhere'], '--admin nowhere: an address'],
    [['--auth-key', ' '], '--auth-key'],
    [['file'], '"file" is more than it takes'],
    [['--sgv', 'x'], '--svg'],
  ] as const) {
    const { code, stderr } = await run(['profile', ...words], { env: { MILLRACE_ADMIN_URL: daemon.url } })
    assert.deepEqual([words, code], [words, 2])
    assert.ok(stderr.includes(said), stderr)
  }
  assert.equal(daemon.received.length, 0)
})

test('the key goes along, and what the daemon refuses is told', async (t) => {
  const daemon = await FakeDaemon.start(t, () =>
    problem(403, 'out-of-scope', 'the key viewer may not do this'),
  )
  const env = { MILLRACE_ADMIN_URL: daemon.url, MILLRACE_KEY: 'viewer' }
  const { code, stderr } = await run(['profile', '--seconds', '1', '--heap'], { env })
  assert.equal(code, 1)
  assert.match(stderr, /the key viewer may not do this/)
  assert.equal(daemon.received[0].url, '/debug/pprof/heap?seconds=1')
  assert.equal(daemon.received[0].headers.authorization, 'Bearer viewer')
})

test('a file that cannot be written is told before a profile is taken', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const { code, stderr } = await run(['profile', '--admin', daemon.url, '--svg', '/nowhere/at/all.svg'])
  assert.equal(code, 1)
  assert.match(stderr, /--svg \/nowhere\/at\/all\.svg: /)
  assert.equal(daemon.received.length, 0)
})
