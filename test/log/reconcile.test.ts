import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RECONCILE_LISTED_MAX } from '../../src/limits.ts'
import {
  type Amount,
  type BrokerKind,
  type LogReport,
  lackedByOther,
  type ReconcileParts,
  type ReconcileReport,
  ReconcileStopped,
  reconcile,
} from '../../src/log/reconcile.ts'
import type { Segment } from '../../src/log/segment.ts'
import { FakeBroker, identityOf, stamped } from './dual/fake-broker.ts'

const kinds = ['jetstream', 'kafka'] as const

interface Logs {
  jetstream: FakeBroker
  kafka: FakeBroker
  counted: Set<string>
}

function logs(partitions = 1): Logs {
  return {
    jetstream: new FakeBroker('jetstream', partitions),
    kafka: new FakeBroker('kafka', partitions),
    counted: new Set(),
  }
}

function run(world: Logs, more: Partial<ReconcileParts> = {}): Promise<ReconcileReport> {
  return reconcile({
    partitions: world.kafka.lanes.length,
    openReader: async (kind, partition) => world[kind].reader(partition),
    openPublisher: async (kind) => world[kind].publisher(),
    openLedger: async () => (writer, sequence) =>
      world.counted.has(`${Number.parseInt(writer, 16)}/${sequence}`),
    apply: false,
    signal: new AbortController().signal,
    onTheWayMs: 0,
    ...more,
  })
}

const amount = (segments: number, events = segments): Amount => ({ segments, events })
const nothing = amount(0)
const report = (parts: Partial<LogReport>): LogReport => ({
  held: nothing,
  equal: nothing,
  different: nothing,
  duplicates: nothing,
  counted: nothing,
  forgotten: nothing,
  missing: nothing,
  trimmed: nothing,
  copied: nothing,
  ...parts,
})

const now = () => Date.now()

test('two logs with the same segments agree, in whatever order they have them', async () => {
  const world = logs()
  for (const n of [0, 1, 2, 3]) world.jetstream.store(0, stamped(1, n, { events: 10 }))
  for (const n of [2, 0, 3, 1]) world.kafka.store(0, stamped(1, n, { events: 10 }))
  const equal = report({ held: amount(4, 40), equal: amount(4, 40) })
  assert.deepEqual(await run(world), {
    partitions: [{ jetstream: equal, kafka: equal }],
    total: { jetstream: equal, kafka: equal },
    unread: [],
    differences: [],
  })
})

test('empty logs agree', async () => {
  const { total } = await run(logs(3))
  assert.deepEqual(total, { jetstream: report({}), kafka: report({}) })
})

test('what one log lacks is reported as counted, missing or trimmed there, and the rest is copied byte for byte', async () => {
  const world = logs()
  const { jetstream, kafka, counted } = world
  kafka.store(0, stamped(1, 0))
  kafka.trim(0, 1)
  const old = stamped(1, 0, { receivedAt: 100 })
  const lost = stamped(1, 1, { receivedAt: 100 })
  const common = stamped(1, 2, { receivedAt: 200 })
  const known = stamped(1, 3, { receivedAt: 300, events: 7 })
  const unknown = stamped(2, 0, { receivedAt: 300, events: 9 })
  for (const segment of [old, lost, common, known]) jetstream.store(0, segment)
  for (const segment of [common, unknown]) kafka.store(0, segment)
  for (const segment of [old, common, known]) counted.add(identityOf(segment))

  const expected = {
    jetstream: report({
      held: amount(4, 10),
      equal: amount(1),
      trimmed: amount(1),
      missing: amount(1),
      counted: amount(1, 7),
    }),
    kafka: report({ held: amount(2, 10), equal: amount(1), missing: amount(1, 9) }),
  }
  assert.deepEqual((await run(world)).total, expected)
  assert.equal(kafka.segments(0).length, 2, 'nothing is copied without being asked')

  const { total } = await run(world, { apply: true })
  expected.jetstream.copied = amount(2, 8)
  expected.kafka.copied = amount(1, 9)
  assert.deepEqual(total, expected)
  assert.deepEqual(kafka.segments(0).map(identityOf), ['1/2', '2/0', '1/1', '1/3'])
  assert.deepEqual(kafka.segments(0)[3].bytes, known.bytes)
  assert.deepEqual(jetstream.segments(0)[4].bytes, unknown.bytes)
})

test('an empty log gets all, counted or not, and in the second of two runs what the first did not come to', async () => {
  const world = logs()
  for (let n = 0; n < 5; n++) {
    world.jetstream.store(0, stamped(1, n, { receivedAt: 10 - n }))
    world.counted.add(`1/${n}`)
  }
  world.kafka.answer = ({ sequence }) => (sequence === 2 ? 'full' : 'confirm')
  await assert.rejects(run(world, { apply: true }), ReconcileStopped)
  world.kafka.answer = () => 'confirm'
  const { total } = await run(world, { apply: true })
  assert.deepEqual(total.jetstream.trimmed, nothing)
  assert.deepEqual(identities(world, 'kafka', 0), identities(world, 'jetstream', 0))
})

test('the same identity with other bytes is listed and left alone', async () => {
  const world = logs(2)
  for (let n = 0; n < RECONCILE_LISTED_MAX + 5; n++) {
    world.jetstream.store(1, stamped(1, n, { text: 'one' }))
    world.kafka.store(1, stamped(1, n, { text: 'other', events: 2 }))
  }
  const { total, differences } = await run(world, { apply: true })
  assert.deepEqual(total.jetstream.different, amount(15))
  assert.deepEqual(total.kafka.different, amount(15, 30))
  assert.equal(differences.length, RECONCILE_LISTED_MAX)
  const [{ partition, writer, sequence, checksums }] = differences
  assert.deepEqual([partition, writer, sequence], [1, '0000000000000001', 0])
  assert.notEqual(checksums.jetstream, checksums.kafka)
  assert.equal(world.jetstream.segments(1).length, 15)
})

test('a segment that is twice in one log is counted as a duplicate', async () => {
  const world = logs()
  for (const n of [0, 1, 0, 2, 0]) world.jetstream.store(0, stamped(1, n))
  world.kafka.store(0, stamped(1, 0))
  const { total } = await run(world, { apply: true })
  assert.deepEqual(total.jetstream.duplicates, amount(2))
  assert.deepEqual(total.kafka.copied, nothing)
  assert.deepEqual(world.kafka.segments(0).map(identityOf), ['1/0', '1/1', '1/2'])
})

test('a segment that was on its way when the ends were noted is not missing', async () => {
  for (const [late, early] of [kinds, kinds.toReversed()]) {
    const world = logs()
    const [first, second] = [stamped(1, 0, { receivedAt: now() }), stamped(1, 1, { receivedAt: now() })]
    world[early].store(0, first)
    world[early].store(0, second)
    world[late].store(0, first)
    const openReader: ReconcileParts['openReader'] = async (kind) => {
      const reader = world[kind].reader()
      const bounds = reader.bounds.bind(reader)
      let asked = 0
      reader.bounds = async () => {
        const found = await bounds()
        // The other one has got it when it is looked at again, or a while later.
        if (kind === late && ++asked === 2) setTimeout(() => world[late].store(0, second), 500)
        return found
      }
      return reader
    }
    const { total } = await run(world, { openReader, onTheWayMs: 60_000, apply: true })
    const equal = report({ held: amount(2), equal: amount(2) })
    assert.deepEqual(total, { jetstream: equal, kafka: equal })
    assert.equal(world[late].segments(0).length, 2)
  }
})

test('a recent segment that does not come in time is missing', async () => {
  const world = logs()
  world.jetstream.store(0, stamped(1, 0, { receivedAt: now() }))
  const { total } = await run(world, { onTheWayMs: 300 })
  assert.deepEqual(total.jetstream.missing, amount(1))
})

test('a log that is waited for past its end is not silent: it owes nothing', async () => {
  const world = logs()
  for (const kind of kinds) world[kind].store(0, stamped(1, 0, { receivedAt: now() }))
  world.jetstream.store(0, stamped(1, 1, { receivedAt: now() }))
  const { total, unread } = await run(world, { onTheWayMs: 600, quietMsMax: 100 })
  assert.deepEqual(total.jetstream.missing, amount(1))
  assert.deepEqual(unread, [])
})

test('segments past the noted ends are not looked at', async () => {
  const world = logs()
  world.jetstream.store(0, stamped(1, 0))
  world.kafka.store(0, stamped(1, 0))
  const openReader: ReconcileParts['openReader'] = async (kind) => {
    const reader = world[kind].reader()
    const read = reader.read.bind(reader)
    let sequence = 0
    reader.read = async function* (from, signal) {
      for await (const entry of read(from, signal)) {
        world[kind].store(0, stamped(kind === 'kafka' ? 8 : 9, sequence++, { receivedAt: now() }))
        yield entry
      }
    }
    return reader
  }
  const { total } = await run(world, { openReader })
  const equal = report({ held: amount(1), equal: amount(1) })
  assert.deepEqual(total, { jetstream: equal, kafka: equal })
})

test('what the daemon trims meanwhile is no loss and keeps nothing waiting', async () => {
  const world = logs()
  for (let n = 0; n < 10; n++) {
    const segment = stamped(1, n, { receivedAt: n + 1 })
    world.jetstream.store(0, segment)
    if (n < 5) world.kafka.store(0, segment)
    world.counted.add(identityOf(segment))
  }
  let read = 0
  const openReader: ReconcileParts['openReader'] = async (kind) => {
    const reader = world[kind].reader()
    const inner = reader.read.bind(reader)
    reader.read = (from, signal) => {
      // All that is left when a log is read for the second time is the segment after those that are looked at.
      if (kind === 'jetstream' && ++read === 2) world.jetstream.trim(0, 11)
      return inner(from, signal)
    }
    return reader
  }
  const { total } = await run(world, { openReader, apply: true })
  assert.equal(read, 2)
  assert.deepEqual(total.jetstream.trimmed, amount(5))
  assert.equal(world.kafka.segments(0).length, 5)
})

test('what comes after all was trimmed is past the noted end', async () => {
  const world = logs()
  world.jetstream.store(0, stamped(1, 0))
  world.counted.add('1/0')
  const openReader: ReconcileParts['openReader'] = async (kind) => {
    const reader = world[kind].reader()
    const read = reader.read.bind(reader)
    reader.read = (from, signal) => {
      world.jetstream.trim(0, 2)
      world.jetstream.store(0, stamped(1, 1))
      return read(from, signal)
    }
    return reader
  }
  const { total } = await run(world, { openReader })
  assert.deepEqual(total, { jetstream: report({}), kafka: report({}) })
})

test('a copy that fails waits for those on their way, and counts them', async () => {
  const world = logs()
  for (let n = 0; n < 5; n++) world.jetstream.store(0, stamped(1, n))
  world.kafka.answer = ({ sequence }) => (sequence < 3 ? 'hold' : 'away')
  const running = run(world, { apply: true })
  setTimeout(() => {
    for (const release of world.kafka.held) release()
  }, 50)
  await assert.rejects(running, /copying into kafka stopped after 3 segments: refused/)
})

test('a log that is away at the start is an error, and one that goes away is waited for', async () => {
  const world = logs()
  for (let n = 0; n < 10; n++) for (const kind of kinds) world[kind].store(0, stamped(1, n))
  world.kafka.away = 'gone'
  await assert.rejects(run(world), /gone/)
  world.kafka.away = undefined
  const openReader: ReconcileParts['openReader'] = async (kind) => {
    const reader = world[kind].reader()
    const read = reader.read.bind(reader)
    reader.read = async function* (from, signal) {
      for await (const entry of read(from, signal)) {
        yield entry
        if (entry.next !== 5) continue
        world[kind].away = 'gone'
        setTimeout(() => {
          world[kind].away = undefined
        }, 5)
      }
    }
    return reader
  }
  assert.deepEqual((await run(world, { openReader })).total.kafka.equal, amount(10))
})

test('a log that cannot say at once what it holds is asked again', async () => {
  const world = logs()
  for (const kind of kinds) world[kind].store(0, stamped(1, 0))
  world.kafka.away = 'no leader yet'
  setTimeout(() => {
    world.kafka.away = undefined
  }, 300)
  assert.deepEqual((await run(world)).total.kafka.equal, amount(1))
})

test('numbers at the end of a log that are no segments keep nothing waiting for ever, and are reported', async () => {
  const world = logs()
  for (const kind of kinds) world[kind].store(0, stamped(1, 0))
  world.kafka.lanes[0].next += 5
  const { total, unread } = await run(world, { quietMsMax: 300 })
  assert.deepEqual(total.kafka.equal, amount(1))
  assert.deepEqual(unread, [{ partition: 0, log: 'kafka', from: 1, to: 5 }])
})

test('it can be interrupted while it waits', async () => {
  const world = logs()
  world.jetstream.store(0, stamped(1, 0, { receivedAt: now() }))
  const stop = new AbortController()
  const running = run(world, { onTheWayMs: 60_000, signal: stop.signal })
  setTimeout(() => stop.abort(), 20)
  await assert.rejects(running, ReconcileStopped)
})

test('more segments than can be compared are refused', async () => {
  const world = logs()
  for (let n = 0; n < 4; n++) world.kafka.store(0, stamped(1, n))
  await run(world, { segmentsMax: 4 })
  await assert.rejects(run(world, { segmentsMax: 3 }), {
    name: 'ReconcileStopped',
    message: 'partition 0: kafka: it holds more than 3 segments, which is more than can be compared',
  })
})

// --- Properties -----------------------------------------------------------------------------------------

interface Generated {
  partition: number
  writer: number
  sequence: number
  /** How often it is in each log. */
  jetstream: number
  kafka: number
  /** The bytes in Kafka are others. */
  differs: boolean
  counted: boolean
  receivedAt: number
  events: number
}

const PARTITIONS = 2

const generated = fc.record<Generated>({
  partition: fc.nat(PARTITIONS - 1),
  writer: fc.integer({ min: 1, max: 3 }),
  sequence: fc.nat(40),
  jetstream: fc.constantFrom(0, 1, 1, 1, 2),
  kafka: fc.constantFrom(0, 1, 1, 1, 2),
  differs: fc.constantFrom(false, false, false, true),
  counted: fc.boolean(),
  receivedAt: fc.integer({ min: 1, max: 50 }),
  events: fc.integer({ min: 1, max: 100 }),
})

const contents = fc.record({
  segments: fc.uniqueArray(generated, {
    maxLength: 40,
    selector: ({ partition, writer, sequence }) => `${partition} ${writer} ${sequence}`,
  }),
  /** Each log has them in an order of its own. */
  seeds: fc.tuple(fc.nat(), fc.nat()),
  /** Whether something was trimmed from them, where something is left. */
  trimmed: fc.tuple(fc.boolean(), fc.boolean()),
})

type Contents = typeof contents extends fc.Arbitrary<infer T> ? T : never

function worldOf({ segments, seeds, trimmed }: Contents): Logs {
  const world = logs(PARTITIONS)
  for (const [k, kind] of kinds.entries()) {
    const all = segments.flatMap((one) => Array.from({ length: one[kind] }, () => one))
    for (let partition = 0; trimmed[k] && partition < PARTITIONS; partition++) {
      if (!all.some((one) => one.partition === partition)) continue
      world[kind].store(partition, stamped(9, 0))
      world[kind].trim(partition, world[kind].lanes[partition].next)
    }
    for (const { partition, writer, sequence, ...rest } of shuffled(all, seeds[k])) {
      const text = rest.differs && kind === 'kafka' ? 'other' : 'same'
      world[kind].store(partition, stamped(writer, sequence, { ...rest, text }))
    }
  }
  for (const { counted, writer, sequence, partition } of segments) {
    if (counted) world.counted.add(`${partition} ${writer}/${sequence}`)
  }
  return world
}

function shuffled<T>(items: T[], seed: number): T[] {
  let state = seed | 1
  const keyed = items.map((item) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return { item, key: state }
  })
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item)
}

const ledgerOf =
  (world: Logs): ReconcileParts['openLedger'] =>
  async (partition) =>
  (writer, sequence) =>
    world.counted.has(`${partition} ${Number.parseInt(writer, 16)}/${sequence}`)

const identities = (world: Logs, kind: BrokerKind, partition: number) =>
  new Set(world[kind].segments(partition).map(identityOf))

/** The report's numbers, from looking at everything at once. */
function expectedOf(world: Logs, kind: BrokerKind, partition: number): LogReport {
  const other = world[kind === 'kafka' ? 'jetstream' : 'kafka']
  const theirs = new Map<string, Segment>()
  for (const segment of other.segments(partition).toReversed()) theirs.set(identityOf(segment), segment)
  const wasTrimmed = other.lanes[partition].first > (other.kind === 'kafka' ? 0 : 1)
  const oldest = wasTrimmed ? other.segments(partition)[0].receivedAt : 0
  const expected: LogReport = JSON.parse(JSON.stringify(report({}))) // no part shared with another
  const count = (what: keyof LogReport, { events }: Segment) => {
    expected[what].segments++
    expected[what].events += events
  }
  const seen = new Set<string>()
  for (const segment of world[kind].segments(partition)) {
    count('held', segment)
    const identity = identityOf(segment)
    const their = theirs.get(identity)
    const counted = world.counted.has(`${partition} ${identity}`)
    if (seen.has(identity)) count('duplicates', segment)
    else if (their !== undefined) count(their.bytes.equals(segment.bytes) ? 'equal' : 'different', segment)
    else if (!counted) count('missing', segment)
    else count(segment.receivedAt < oldest ? 'trimmed' : 'counted', segment)
    seen.add(identity)
  }
  return expected
}

test('the numbers are those of looking at all at once, and add up', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(contents, async (chosen) => {
      const world = worldOf(chosen)
      const { partitions, total } = await run(world, { openLedger: ledgerOf(world) })
      for (const kind of kinds) {
        for (const [partition, compared] of partitions.entries()) {
          assert.deepEqual(compared[kind], expectedOf(world, kind, partition))
        }
        for (const what of ['segments', 'events'] as const) {
          const { held, equal, different, duplicates, counted, missing, trimmed } = total[kind]
          const parts = [equal, different, duplicates, counted, missing, trimmed]
          assert.equal(
            parts.reduce((sum, part) => sum + part[what], 0),
            held[what],
          )
        }
      }
    }),
    { numRuns: 200 },
  )
})

test('after --apply both logs have the same, and another run copies nothing', {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(contents, async (chosen) => {
      const world = worldOf(chosen)
      const openLedger = ledgerOf(world)
      const before = (await run(world, { openLedger })).total
      const { total } = await run(world, { openLedger, apply: true })
      for (const kind of kinds) {
        assert.deepEqual(lackedByOther(total[kind]), nothing)
        const { counted: known, missing } = before[kind]
        assert.deepEqual(
          total[kind].copied,
          amount(known.segments + missing.segments, known.events + missing.events),
        )
      }
      const again = (await run(world, { openLedger, apply: true })).total
      for (const kind of kinds) {
        assert.deepEqual(again[kind].copied, nothing)
        assert.deepEqual(again[kind].missing, nothing)
        assert.deepEqual(again[kind].counted, nothing)
        assert.deepEqual(again[kind].trimmed, before[kind].trimmed)
        assert.deepEqual(again[kind].duplicates, before[kind].duplicates)
        assert.deepEqual(again[kind].different, before[kind].different)
      }
    }),
    { numRuns: 150 },
  )
})

test('an interruption at any copy leaves what another run finishes', { timeout: 120_000 }, async () => {
  const fates = fc.constantFrom('full' as const, 'away' as const, 'stored' as const, 'lost' as const)
  await fc.assert(
    fc.asyncProperty(contents, fc.nat(20), fates, async (chosen, copies, fate) => {
      const world = worldOf(chosen)
      const openLedger = ledgerOf(world)
      const wanted = worldOf(chosen)
      await run(wanted, { openLedger, apply: true })
      let left = copies
      for (const kind of kinds) world[kind].answer = () => (left-- > 0 ? 'confirm' : fate)
      const stopped = await run(world, { openLedger, apply: true }).then(
        () => undefined,
        (error: unknown) => error,
      )
      if (stopped !== undefined) {
        assert.ok(stopped instanceof ReconcileStopped, `${stopped}`)
        assert.match(stopped.message, /stopped after [0-9]+ segments: .*run it again to go on$/)
      }
      for (const kind of kinds) world[kind].answer = () => 'confirm'
      const { total } = await run(world, { openLedger, apply: true })
      const copiedTwice = (kind: BrokerKind, partition: number) =>
        world[kind].segments(partition).length - wanted[kind].segments(partition).length
      for (const kind of kinds) {
        assert.deepEqual(lackedByOther(total[kind]), nothing)
        for (let partition = 0; partition < PARTITIONS; partition++) {
          assert.deepEqual(identities(world, kind, partition), identities(wanted, kind, partition))
          assert.equal(copiedTwice(kind, partition), 0)
        }
      }
    }),
    { numRuns: 150 },
  )
})
