import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Auth } from '../src/auth.ts'
import type { AuthKey } from '../src/config/config.ts'
import { Problem } from '../src/errors.ts'

const key = (over: Partial<AuthKey> = {}): AuthKey => ({
  name: 'app',
  sha256: createHash('sha256').update('secret').digest('hex'),
  scopes: ['publish'],
  ...over,
})
const code = (expected: string) => (error: unknown) => error instanceof Problem && error.code === expected

test('without keys everyone may do everything', () => {
  assert.equal(new Auth(undefined, 1).check('', 'publish'), undefined)
  assert.equal(new Auth('none', 1).check('', 'query'), undefined)
})

test('a key opens what its scopes say, and nothing else', () => {
  const auth = new Auth({ keys: [key()] }, 1)
  assert.equal(auth.check('Bearer secret', 'publish')?.key.name, 'app')
  assert.throws(() => auth.check('Bearer secret', 'query'), code('out-of-scope'))
  assert.throws(() => auth.check('', 'publish'), code('unauthenticated'))
  assert.throws(() => auth.check('Bearer wrong', 'publish'), code('unauthenticated'))
  assert.throws(() => auth.check('Basic secret', 'publish'), code('unauthenticated'))
})

test('a key sends so many events a second, shared by the listeners', () => {
  const caller = new Auth({ keys: [key({ eventsPerSecond: 100 })] }, 1 / 2).check('Bearer secret', 'publish')!
  caller.take(50, 1000)
  assert.throws(() => caller.take(1, 1000), code('rate-limited'))
  assert.throws(() => caller.take(30, 1500), code('rate-limited'))
  caller.take(25, 1500)
  caller.take(50, 10_000)
  assert.throws(() => caller.take(1, 10_000), code('rate-limited'), 'what was not used does not pile up')
  caller.take(5000, 20_000)
  assert.throws(() => caller.take(1, 21_000), code('rate-limited'), 'a larger body is paid for afterwards')
})
