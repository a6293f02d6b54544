import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LEDGER_INTERVALS_MAX, PRODUCER_INTERVALS_MAX } from '../../src/limits.ts'
import { Claims, Ledger, type LedgerBatch } from '../../src/processor/ledger.ts'

/** What a store keeps of a ledger. */
class Stored implements LedgerBatch {
  readonly entries = new Map<string, Buffer>()
  putLedger(key: string, value: Buffer): void {
    this.entries.set(key, value)
  }
  removeLedger(key: string): void {
    this.entries.delete(key)
  }
}

function claimAndCount(ledger: Ledger, stored: Stored, producer: string, sequence: number): boolean {
  const claims = new Claims()
  const fresh = ledger.claimBody(producer, sequence, 1, claims)
  ledger.count([claims], stored)
  return fresh
}

test('a second copy is not claimed, before the commit and after it', () => {
  const ledger = new Ledger()
  const claims = new Claims()
  assert.equal(ledger.claimSegment('a', 0, 1, claims), true)
  assert.equal(ledger.claimSegment('a', 0, 1, claims), false)
  assert.equal(ledger.claimBody('p', 7, 1, claims), true)
  assert.equal(ledger.claimBody('p', 7, 1, claims), false)
  ledger.count([claims], new Stored())
  assert.equal(ledger.claimSegment('a', 0, 1, new Claims()), false)
  assert.equal(ledger.claimBody('p', 7, 1, new Claims()), false)
})

test('what was claimed and never committed is new to the next process', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const committed = new Claims()
  ledger.claimBody('p', 1, 1, committed)
  ledger.claimBody('p', 2, 1, new Claims())
  ledger.count([committed], stored)
  const next = new Ledger(stored.entries)
  assert.equal(next.claimBody('p', 1, 1, new Claims()), false)
  assert.equal(next.claimBody('p', 2, 1, new Claims()), true)
})

test('copies in any order and through restarts count once', () => {
  const sends = fc.array(fc.tuple(fc.constantFrom('p', 'q'), fc.nat(30), fc.boolean()), { maxLength: 200 })
  fc.assert(
    fc.property(sends, (all) => {
      const stored = new Stored()
      let ledger = new Ledger()
      const seen = new Set<string>()
      for (const [producer, sequence, restart] of all) {
        if (restart) ledger = new Ledger(stored.entries)
        const identity = `${producer}:${sequence}`
        assert.equal(claimAndCount(ledger, stored, producer, sequence), !seen.has(identity))
        seen.add(identity)
      }
    }),
  )
})

test('a producer of random sequences takes bounded memory, and its newest bodies still count once', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const sent: number[] = []
  while (sent.length < 4 * PRODUCER_INTERVALS_MAX) {
    const claims = new Claims()
    for (let i = 0; i < 16; i++) {
      const sequence = (sent.length * 2_654_435_761) % 2 ** 50
      sent.push(sequence)
      assert.equal(ledger.claimBody('p', sequence, 1, claims), true, 'nothing new is taken for old')
    }
    ledger.count([claims], stored)
  }
  for (const sequence of sent.slice(-PRODUCER_INTERVALS_MAX)) {
    assert.equal(claimAndCount(ledger, stored, 'p', sequence), false)
  }
  const bytes = [...stored.entries.values()].reduce((sum, value) => sum + value.length, 0)
  assert.ok(bytes < 2 * PRODUCER_INTERVALS_MAX * 20, `${bytes} bytes are stored`)
  const restarted = new Ledger(stored.entries)
  assert.equal(claimAndCount(restarted, stored, 'p', sent.at(-1)!), false)
})

test('idle producers and finished writers leave the ledger and the store', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const claims = new Claims()
  ledger.claimSegment('w1', 0, 1, claims)
  ledger.claimBody('idle', 0, 1000, claims)
  ledger.claimBody('busy', 0, 2000, claims)
  ledger.count([claims], stored)
  ledger.forgetWriter('w1')
  assert.equal(ledger.forgetProducers(1500), 1)
  ledger.count([], stored)
  assert.deepEqual([...stored.entries.keys()], ['p:busy'])
})

test('many producers of random sequences take bounded memory together: the idlest are forgotten', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const producers = Math.ceil(LEDGER_INTERVALS_MAX / 4096) + 2
  for (let p = 0; p < producers; p++) {
    const claims = new Claims()
    for (let n = 0; n < 4096; n++) ledger.claimBody(`p${p}`, n * 2, p + 1, claims)
    ledger.count([claims], stored)
  }
  assert.equal(ledger.overfull, true)
  const forgotten = ledger.forgetProducers(0)
  assert.ok(forgotten >= producers / 10 && forgotten < producers / 5, `${forgotten} of ${producers}`)
  assert.equal(ledger.overfull, false)
  assert.equal(claimAndCount(ledger, stored, `p${producers - 1}`, 0), false, 'the newest are remembered')
  assert.equal(stored.entries.has('p:p0'), false)
})

test('a writer that was forgotten behind the horizon is not counted again, and new ones are', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const claims = new Claims()
  assert.equal(ledger.claimSegment('old', 0, 1000, claims), true)
  assert.equal(ledger.claimSegment('busy', 0, 1000, claims), true)
  ledger.count([claims], stored)
  ledger.forgetWriter('old')
  ledger.raiseHorizon(5000)
  ledger.count([new Claims()], stored)
  for (const later of [ledger, new Ledger(stored.entries)]) {
    assert.equal(later.claimSegment('old', 0, 1000, new Claims()), false, 'an old copy')
    assert.equal(later.behindHorizon, 1)
    assert.equal(later.hasCounted('old', 0, 1000), true)
    assert.equal(later.claimSegment('busy', 1, 1000, new Claims()), true, 'a writer that is known')
    assert.equal(later.claimSegment('new', 0, 5000, new Claims()), true, 'received since')
  }
})

test('what is counted is told, what is only claimed is not', () => {
  const ledger = new Ledger()
  const claims = new Claims()
  ledger.claimSegment('w', 3, 1, claims)
  assert.equal(ledger.hasCounted('w', 3, 1), false)
  ledger.count([claims], new Stored())
  assert.equal(ledger.hasCounted('w', 3, 1), true)
  assert.equal(ledger.hasCounted('w', 4, 1), false)
  assert.equal(ledger.hasCounted('other', 3, 1), false)
})

test('a writer that comes back after it was forgotten is counted on, and no copy from before is', () => {
  const stored = new Stored()
  const progress = new Map([['idle', 2]])
  const ledger = new Ledger([], (writer) => progress.get(writer) ?? 0)
  const before = new Claims()
  for (const sequence of [0, 1]) ledger.claimSegment('idle', sequence, 1000, before)
  ledger.count([before], stored)
  ledger.forgetWriter('idle')
  ledger.raiseHorizon(5000)
  ledger.count([], stored)
  const after = new Claims()
  assert.equal(ledger.claimSegment('idle', 2, 6000, after), true)
  for (const sequence of [0, 1, 2]) {
    assert.equal(ledger.claimSegment('idle', sequence, 1000, new Claims()), false, `${sequence} again`)
  }
  ledger.count([after], stored)
  const restarted = new Ledger(stored.entries)
  for (const sequence of [0, 1, 2]) {
    assert.equal(restarted.claimSegment('idle', sequence, 1000, new Claims()), false, `${sequence} again`)
    assert.equal(restarted.hasCounted('idle', sequence, 1000), true)
  }
  assert.equal(restarted.claimSegment('idle', 3, 6000, new Claims()), true)
})

test('a writer with segments on their way is not forgotten', () => {
  const stored = new Stored()
  const ledger = new Ledger()
  const first = new Claims()
  ledger.claimSegment('w', 0, 1000, first)
  ledger.count([first], stored)
  const second = new Claims()
  ledger.claimSegment('w', 1, 6000, second)
  ledger.forgetWriter('w')
  ledger.count([second], stored)
  assert.equal(ledger.claimSegment('w', 0, 1000, new Claims()), false)
  assert.equal(new Ledger(stored.entries).hasCounted('w', 0, 1000), true)
})
