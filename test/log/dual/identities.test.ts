import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Identities, State, WriterIdentities } from '../../../src/log/dual/identities.ts'
import { stamped } from './fake-broker.ts'

test('segments are found again, in whatever order they came, and the first of each is the one', () => {
  const sequences = fc.array(fc.nat(300), { maxLength: 200 })
  fc.assert(
    fc.property(sequences, (chosen) => {
      const identities = new WriterIdentities()
      for (const [i, sequence] of chosen.entries()) identities.add(sequence, i, 2 * i, i % 3 === 0)
      identities.sort()
      assert.equal(identities.length, chosen.length)
      for (let sequence = 0; sequence <= 300; sequence++) {
        const first = chosen.indexOf(sequence)
        const i = identities.find(sequence)
        if (first < 0) assert.equal(i, -1)
        else {
          assert.deepEqual([identities.checksum(i), identities.events(i)], [first, 2 * first])
          assert.equal(identities.state(i), State.held)
          assert.equal(identities.isRecent(i), first % 3 === 0)
          identities.setState(i, State.settled)
          assert.equal(identities.isRecent(i), first % 3 === 0)
          assert.equal(identities.state(i), State.settled)
        }
      }
      let duplicates = 0
      for (let i = 0; i < identities.length; i++) if (identities.state(i) === State.duplicate) duplicates++
      assert.equal(duplicates, chosen.length - new Set(chosen).size)
    }),
  )
})

test('a million segments of one writer take less than 50 bytes each, also while they are sorted', () => {
  const count = 1_000_000
  const before = process.memoryUsage().arrayBuffers
  const identities = new WriterIdentities()
  for (let n = 0; n < count; n++) identities.add((n * 7919) % count, n, 1, false)
  identities.sort()
  const bytes = process.memoryUsage().arrayBuffers - before
  assert.ok(bytes < 50 * count, `${bytes} bytes`)
  assert.equal(identities.checksum(identities.find(7919)), 1)
})

test('segments past the bound are refused', () => {
  const identities = new Identities(2)
  identities.add(stamped(1, 0), false)
  identities.add(stamped(2, 0), false)
  assert.throws(() => identities.add(stamped(3, 0), false), { name: 'TooManySegments' })
})
