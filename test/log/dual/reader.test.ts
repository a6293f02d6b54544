import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { OVERDUE_MS, WALK_INTERVAL_MS_MAX } from '../../../src/limits.ts'
import { DualReader } from '../../../src/log/dual/reader.ts'
import { until } from '../../until.ts'
import { Reading } from '../segments.ts'
import { FakeBroker, identityOf, stamped } from './fake-broker.ts'

const SEGMENT_BYTES = 1000
const MAX_BYTES = 40 * SEGMENT_BYTES

function dual(consume: 'jetstream' | 'kafka' | 'union') {
  const jetstream = new FakeBroker('jetstream')
  const kafka = new FakeBroker('kafka')
  jetstream.maxBytes = MAX_BYTES
  kafka.maxBytes = MAX_BYTES
  const told: string[] = []
  const walked = new Map<string, number>()
  /** What the ledger has. */
  const ledger = new Set<string>()
  const open = (kind = consume) =>
    new DualReader({
      jetstream: jetstream.reader(),
      kafka: kafka.reader(),
      consume: kind,
      maxBytes: MAX_BYTES,
      counted: (writer, sequence) => ledger.has(`${Number.parseInt(writer, 16)}/${sequence}`),
      hooks: {
        onWalked: (lane, next) => walked.set(lane, next),
        onOverdue: (kind, writer, sequence) =>
          told.push(`${kind} ${Number.parseInt(writer, 16)}/${sequence}`),
        onError: (error) => told.push(error.message),
      },
    })
  const both = (sequence: number, receivedAt = 1) => {
    const segment = stamped(1, sequence, { text: `n${sequence}`, bytes: SEGMENT_BYTES, receivedAt })
    jetstream.store(0, segment)
    kafka.store(0, segment)
  }
  return { jetstream, kafka, told, walked, ledger, open, both }
}

const reading = (t: TestContext, reader: DualReader, from?: ReadonlyMap<string, number>) => {
  const begun = new Reading(reader, from)
  t.after(() => begun.stop())
  return begun
}

test('one log is consumed, the other one is not', async (t) => {
  const { open, jetstream, both } = dual('jetstream')
  for (let n = 0; n < 3; n++) both(n)
  jetstream.store(0, stamped(1, 3, { text: 'alone' }))
  const reader = open()
  const read = reading(t, reader)
  await read.count(4)
  assert.deepEqual(read.names, ['n0', 'n1', 'n2', 'alone'])
  assert.deepEqual(new Set(read.entries.map(({ lane }) => lane)), new Set(['jetstream:fake:0']))
  await read.stop()
})

test('a restart with the other log to consume goes on from where that lane stood, or from its beginning', async (t) => {
  const { open, both } = dual('jetstream')
  for (let n = 0; n < 4; n++) both(n)
  const first = reading(t, open())
  await first.count(4)
  await first.stop()
  const position = first.position()
  const other = reading(t, open('kafka'), position)
  await other.count(4)
  assert.deepEqual(other.names, first.names)
  await other.stop()
  both(4)
  const again = reading(t, open('jetstream'), new Map([...position, ...other.position()]))
  await again.count(1)
  assert.deepEqual(again.names, ['n4'])
  await again.stop()
})

test('a union reads both logs in turn, each in its order', async (t) => {
  const { open, both } = dual('union')
  for (let n = 0; n < 50; n++) both(n)
  const read = reading(t, open())
  await read.count(100)
  for (const lane of ['jetstream:fake:0', 'kafka:fake:0']) {
    const names = read.entries.filter((entry) => entry.lane === lane).map(({ name }) => name)
    assert.deepEqual(
      names,
      Array.from({ length: 50 }, (_, n) => `n${n}`),
    )
    const inFirstHalf = read.entries.slice(0, 50).filter((entry) => entry.lane === lane).length
    assert.ok(inFirstHalf > 20, `${lane}: ${inFirstHalf} of the first 50`)
  }
  await read.stop()
})

test('a union reads on while one log is away, and reads that one when it is back', async (t) => {
  const { open, both, kafka } = dual('union')
  kafka.away = 'gone'
  for (let n = 0; n < 20; n++) both(n)
  const read = reading(t, open())
  await read.count(20)
  assert.ok(read.entries.every(({ lane }) => lane === 'jetstream:fake:0'))
  kafka.away = undefined
  await read.count(40)
  kafka.away = 'gone again'
  await read.stop()
})

test('a union holds one entry of each log, and its bytes are whole until the next one is asked for', async () => {
  const { open, both, jetstream, kafka } = dual('union')
  for (let n = 0; n < 10; n++) both(n)
  const asked = new Map<string, number>()
  for (const broker of [jetstream, kafka]) {
    const makeReader = broker.reader.bind(broker)
    broker.reader = () => {
      const reader = makeReader()
      const read = reader.read.bind(reader)
      reader.read = async function* (from, signal) {
        for await (const entry of read(from, signal)) {
          asked.set(broker.kind, (asked.get(broker.kind) ?? 0) + 1)
          yield entry
        }
      }
      return reader
    }
  }
  const stop = new AbortController()
  const entries = open().read(new Map(), stop.signal)
  for (let n = 1; n <= 20; n++) {
    const { value } = await entries.next()
    const before = identityOf(value!.segment)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(identityOf(value!.segment), before)
    const ahead = [...asked.values()].reduce((sum, count) => sum + count) - n
    assert.ok(ahead <= 1, `${ahead} entries are held beside the one that was yielded`)
  }
  stop.abort()
  assert.equal((await entries.next()).done, true)
})

test('a union that is given up in the middle ends, also while one log is away', async () => {
  const { open, both, kafka } = dual('union')
  kafka.away = 'gone'
  both(0)
  for await (const { segment } of open().read(new Map(), new AbortController().signal)) {
    assert.equal(segment.sequence, 0)
    break
  }
})

test('one log that is given up in the middle ends, also while the other one is away', async () => {
  const { open, both, kafka } = dual('jetstream')
  kafka.away = 'gone'
  both(0)
  for await (const { segment } of open().read(new Map(), new AbortController().signal)) {
    assert.equal(segment.sequence, 0)
    break
  }
})

test('what breaks one log of a union ends the reading with its error', async () => {
  const { open, kafka, both } = dual('union')
  both(0)
  kafka.reader = () => {
    const reader = FakeBroker.prototype.reader.call(kafka)
    // biome-ignore lint/correctness/useYield: it fails before
    reader.read = async function* () {
      throw new Error('broken')
    }
    return reader
  }
  await assert.rejects(new Reading(open()).ended, /broken/)
})

test('a position reaches the log whose lane it names', () => {
  const { open, jetstream, kafka } = dual('union')
  const committed: string[] = []
  for (const broker of [jetstream, kafka]) {
    broker.onCommitted = (lane, next) => committed.push(`${broker.kind}: ${lane} ${next}`)
  }
  open().committed(
    new Map([
      ['jetstream:fake:0', 3],
      ['kafka:fake:0', 5],
    ]),
  )
  assert.deepEqual(committed, ['jetstream: jetstream:fake:0 3', 'kafka: kafka:fake:0 5'])
})

/** Reads and counts, as a processor does: both logs get one segment after the other. */
async function process(t: TestContext, parts: ReturnType<typeof dual>, from: number, to: number) {
  const reader = parts.open()
  const read = reading(t, reader)
  for (let n = from; n < to; n++) {
    parts.both(n, n * 1000)
    await read.until(() => read.entries.some(({ sequence }) => sequence === n))
    parts.ledger.add(`1/${n}`)
    reader.committed(new Map([...parts.walked, ...read.position()]))
  }
  return read
}

test('the log that is not consumed does not grow without bound', async (t) => {
  const parts = dual('jetstream')
  const { kafka, jetstream, walked, told } = parts
  const segments = 400
  const held: number[] = []
  kafka.onCommitted = () => held.push(kafka.segments(0).length)
  const read = await process(t, parts, 0, segments)
  await until(() => (walked.get('kafka:fake:0') ?? 0) > segments - 20)
  await read.stop()
  for (const broker of [kafka, jetstream]) {
    const kept = broker.segments(0).length
    assert.ok(kept < 40 && kept >= 15, `${broker.kind} keeps ${kept} segments`)
  }
  assert.ok(Math.max(...held) < 40, `${Math.max(...held)} segments were held at once`)
  assert.deepEqual(told, [])
})

test('nothing of it is trimmed that was not counted, and it goes on once that is', async (t) => {
  const parts = dual('kafka')
  const { jetstream, ledger, told, walked } = parts
  jetstream.store(0, stamped(7, 0, { text: 'alone', receivedAt: 1 }))
  const committed: number[] = []
  jetstream.onCommitted = (_, next) => committed.push(next)
  const read = await process(t, parts, 0, 100)
  await until(() => told.length > 0)
  assert.deepEqual(told, ['jetstream 7/0'], 'told once, although it was looked at often')
  assert.deepEqual(committed, [])
  assert.equal(jetstream.segments(0).length, 101)
  ledger.add('7/0')
  for (let n = 100; n < 120; n++) {
    parts.both(n)
    await read.until(() => read.entries.length > n)
    ledger.add(`1/${n}`)
  }
  await until(() => (walked.get('jetstream:fake:0') ?? 0) > 100)
  assert.deepEqual(committed, [], 'nor before that it was walked is on disk')
  await read.stop()
})

test('it says up to when both logs were read', async (t) => {
  const parts = dual('jetstream')
  const { jetstream, kafka, ledger, open, walked } = parts
  const reader = open()
  const read = reading(t, reader)
  kafka.away = 'gone'
  for (let n = 0; n < 20; n++) {
    parts.both(n, (n + 1) * OVERDUE_MS)
    ledger.add(`1/${n}`)
  }
  await read.count(20)
  assert.ok(reader.readUpTo() <= 0)
  kafka.away = undefined
  kafka.store(0, stamped(7, 0, { text: 'alone', receivedAt: 21 * OVERDUE_MS }))
  const more = async (n: number) => {
    const segment = stamped(1, n, { text: `n${n}`, bytes: MAX_BYTES, receivedAt: (n + 1) * OVERDUE_MS })
    jetstream.store(0, segment)
    kafka.store(0, segment)
    ledger.add(`1/${n}`)
    await read.until(() => read.entries.some(({ sequence }) => sequence === n))
  }
  for (let n = 20; walked.get('kafka:fake:0') !== 20; n++) await more(n)
  assert.equal(reader.readUpTo(), 19 * OVERDUE_MS, 'it stands before the one that was not counted')
  await read.stop()
})

test('a union says up to when both logs were read', async (t) => {
  const { open, both, jetstream } = dual('union')
  const reader = open()
  const read = reading(t, reader)
  for (let n = 0; n < 5; n++) both(n, (n + 1) * OVERDUE_MS)
  jetstream.store(0, stamped(1, 5, { receivedAt: 9 * OVERDUE_MS }))
  await read.count(11)
  assert.equal(reader.readUpTo(), 4 * OVERDUE_MS)
  await read.stop()
})

test('a segment that is only late is not told as overdue', async (t) => {
  const parts = dual('jetstream')
  const { kafka, told, ledger } = parts
  const reader = parts.open()
  const read = reading(t, reader)
  kafka.store(0, stamped(7, 0, { receivedAt: 1 }))
  for (let n = 0; n < 40; n++) parts.both(n, OVERDUE_MS)
  await read.count(40)
  assert.deepEqual(told, [])
  for (let n = 0; n < 40; n++) ledger.add(`1/${n}`)
  parts.both(40, OVERDUE_MS + 2)
  for (let n = 41; n < 60; n++) parts.both(n, OVERDUE_MS + 2)
  await until(() => told.length > 0)
  assert.deepEqual(told, ['kafka 7/0'])
  await read.stop()
})

test('little traffic does not keep the other log from being walked', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { open, both, ledger, walked } = dual('jetstream')
  both(0)
  ledger.add('1/0')
  const read = reading(t, open())
  await read.count(1)
  assert.equal(walked.size, 0)
  t.mock.timers.tick(WALK_INTERVAL_MS_MAX)
  await until(() => walked.get('kafka:fake:0') === 1)
  await read.stop()
})

test('a walk that waits for a log that is away keeps nothing waiting, and ends with the reading', async (t) => {
  const parts = dual('jetstream')
  parts.kafka.away = 'gone'
  const read = await process(t, parts, 0, 50)
  await read.stop()
  assert.equal(parts.walked.size, 0)
})

test('a walk that breaks is told, and goes on where it was with the next one', async (t) => {
  const parts = dual('jetstream')
  const { kafka, told, walked } = parts
  const makeReader = kafka.reader.bind(kafka)
  const begun: number[] = []
  kafka.reader = () => {
    const reader = makeReader()
    const read = reader.read.bind(reader)
    reader.read = async function* (from, signal) {
      begun.push(from.get('kafka:fake:0') ?? 0)
      for await (const entry of read(from, signal)) {
        yield entry
        if (begun.length === 1 && entry.next === 5) throw new Error('broken')
      }
    }
    return reader
  }
  const read = await process(t, parts, 0, 60)
  await until(() => (walked.get('kafka:fake:0') ?? 0) > 40)
  assert.deepEqual(told, ['broken'])
  assert.deepEqual(begun, [0, 5])
  await read.stop()
})
