import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Config } from '../../src/config/config.ts'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { differences, readAgain, roll } from '../../src/daemon/reload.ts'
import type { Replaced, Slot } from '../../src/daemon/supervisor.ts'

const load = (...sets: string[]) => loadConfig({ env: {}, sets }).config

test('differences are told by the path of their key', () => {
  const before = load('measures=[{name: a, by: [subject]}, {name: b, by: [source]}]')
  const after = load(
    'logging.level=debug',
    'log.retention.maxAge=1h',
    'log.jetstream.password=secret',
    'log.jetstream.user=u',
    'measures=[{name: a, by: [type]}, {name: c, by: [source]}]',
  )
  assert.deepEqual(differences(before, before), [])
  assert.deepEqual(differences(before, after).sort(), [
    'log.jetstream.password',
    'log.jetstream.user',
    'log.retention.maxAge',
    'logging.level',
    'measures[a]',
    'measures[b]',
    'measures[c]',
  ])
})

test('the order of measures alone is a difference', () => {
  const [a, b] = [{ name: 'a' }, { name: 'b' }]
  assert.deepEqual(differences({ measures: [a, b] }, { measures: [b, a] }), ['measures'])
})

test('what needs a restart stays as it runs, and what is left must be right together with it', async () => {
  const keys = `auth={keys: [{name: k, sha256: ${'a'.repeat(64)}, scopes: [query]}]}`
  const running = load('http.listen=0.0.0.0:7070', keys)
  const asked = ['http.listen=127.0.0.1:7070', 'logging.level=warn']
  const { config, changed, needsRestart } = await readAgain(
    async (more = []) => load(...asked, keys, ...more),
    running,
  )
  assert.deepEqual(config.http.listen, running.http.listen)
  assert.deepEqual(changed, ['logging.level'])
  assert.deepEqual(needsRestart, ['http.listen'])
  // The port that stays open to others would be without keys.
  await assert.rejects(
    readAgain(async (more = []) => load(...asked, ...more), running),
    (error: Error) => error instanceof ConfigError && /auth/.test(error.problems.join()),
  )
})

/** Slots that note what they are asked, and fail where the test says so. */
function world(roles: Slot['role'][], fails: (slot: number, to: string) => boolean = () => false) {
  const done: string[] = []
  const made = roles.map((role, n) => ({
    role,
    replace: async (to: Config): Promise<Replaced> => {
      done.push(`${role}${n} ${to}`)
      return fails(n, String(to)) ? { failed: 'broken' } : { pid: n }
    },
    untilReady: async () => {},
  }))
  const slots = made as unknown as Slot[]
  const run = (ending = () => false) =>
    roll(slots, 'old' as unknown as Config, 'new' as unknown as Config, () => {}, ending)
  return { done, run }
}

test('listeners are replaced before processors', async () => {
  const { done, run } = world(['processor', 'listener', 'listener'])
  assert.equal(await run(), undefined)
  assert.deepEqual(done, ['listener1 new', 'listener2 new', 'processor0 new'])
})

test('where one cannot run with it, those before it are put back', async () => {
  const { done, run } = world(['processor', 'listener', 'listener'], (n, to) => n === 0 && to === 'new')
  assert.deepEqual(await run(), { failed: 'the processor does not start with it: broken' })
  assert.deepEqual(done, [
    'listener1 new',
    'listener2 new',
    'processor0 new',
    'listener2 old',
    'listener1 old',
  ])
})

test('no worker is replaced any more when everything ends', async () => {
  const { done, run } = world(['listener', 'listener', 'processor'])
  assert.equal(await run(() => done.length === 1), 'interrupted')
  assert.deepEqual(done, ['listener0 new'])
})

test('one that does not go back to the former configuration is told of', async () => {
  const { run } = world(['listener', 'listener'], (slot, to) => slot === 1 || to === 'old')
  assert.deepEqual(await run(), {
    failed:
      'the listener does not start with it: broken; a listener runs with it and did not go back: broken',
  })
})
