import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Partitioners } from 'kafkajs'
import protobuf from 'protobufjs/minimal.js'
import { millrace } from '#proto'
import { Problem } from '../../src/errors.ts'
import { Placer } from '../../src/ingest/placement.ts'
import { scan } from '../../src/ingest/scan.ts'
import { PLACED_BYTES_KEPT_MAX } from '../../src/limits.ts'
import { anyCharacter } from '../characters.ts'
import { encode, event, eventBytes, frame, groups, sized, string, tag, varint, wireFrame } from './frames.ts'

const { Frame } = millrace.v1
const { Reader } = protobuf
const kafkaPartitioner = Partitioners.DefaultPartitioner()

/** The partition that Kafka's JavaScript client chooses for a record with this key. */
function kafkaPartition(key: string | Buffer, partitions: number): number {
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
    partitionErrorCode: 0,
    partitionId,
    leader: 0,
    replicas: [0],
    isr: [0],
  }))
  return kafkaPartitioner({ topic: 'events', partitionMetadata, message: { key, value: null } })
}

/** The partition of a single event, which has to be what place() returns too. */
function partitionOf(bytes: Uint8Array, partitions: number): number {
  const placer = new Placer(partitions)
  const only = placer.place(bytes, 0, bytes.length)
  assert.equal(placer.frameOf(only), bytes)
  return only
}

const bySubject = (subject: string) => frame(eventBytes(...string(4, subject)))

/** The events as the reference decodes them, each byte of a string as one character: they need not be UTF-8. */
function decoded(bytes: Uint8Array): millrace.v1.Event[] {
  const reader = new Reader(Uint8Array.from(bytes)) // a Buffer would make Buffers of the data
  reader.stringVerify = () => Buffer.from(reader.bytes()).toString('latin1')
  return Frame.decode(reader).events as millrace.v1.Event[]
}

function passes(bytes: Uint8Array): boolean {
  try {
    return scan(bytes, 0, bytes.length) > 0
  } catch (error) {
    if (error instanceof Problem) return false
    throw error
  }
}

test('an event goes where Kafka puts a record with its subject as the key', () => {
  const subjects = fc.oneof(
    fc.constantFrom('', 'a', '\0', 'é', '漢字', '😀😀', 'x'.repeat(1024)),
    fc.string({ unit: anyCharacter, maxLength: 300 }),
    fc.string({ unit: 'grapheme', maxLength: 40 }),
  )
  fc.assert(
    fc.property(subjects, fc.integer({ min: 1, max: 256 }), (subject, partitions) => {
      fc.pre(Buffer.byteLength(subject) <= 1024)
      assert.equal(partitionOf(bySubject(subject), partitions), kafkaPartition(subject, partitions))
    }),
    { numRuns: 2000 },
  )
})

test('the hashes are those of the Java client', () => {
  // Of its UtilsTest.testMurmur2; seen modulo 256 and 251 they are told apart from any slip.
  const known: [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ]
  for (const [subject, hash] of known) {
    for (const partitions of [256, 251]) {
      assert.equal(partitionOf(bySubject(subject), partitions), (hash & 0x7fffffff) % partitions, subject)
    }
  }
})

test('an event without a subject goes where the empty subject goes', () => {
  const without = frame(eventBytes())
  for (const partitions of [1, 2, 3, 4, 16, 256]) {
    assert.equal(partitionOf(without, partitions), kafkaPartition('', partitions))
    assert.equal(partitionOf(without, partitions), partitionOf(bySubject(''), partitions))
  }
})

test('of several subjects the last counts; what only looks like one does not', () => {
  const [here, there] = ['here', 'there']
  assert.notEqual(kafkaPartition(here, 256), kafkaPartition(there, 256))
  const expected = kafkaPartition(there, 256)
  const last = string(4, there)
  const events: number[][] = [
    [...string(4, here), ...last],
    [...last, ...tag(4, 0), ...varint(300)],
    [...last, ...tag(4, 1), ...Buffer.from('\x22\x04here\0\0')],
    [...last, ...tag(4, 5), ...Buffer.from('\x22\x02he')],
    [...last, ...groups(3, string(4, here))],
    [...last, ...groups(2, [...groups(2, string(4, here), 12), ...tag(7, 0), 1], 4)],
    [...last, ...sized(9, [...string(1, 'k'), ...string(2, 'v'), ...string(4, here)])],
    [...last, ...sized(7, string(4, here))],
    [...last, ...sized(2047, string(4, here))],
    [...string(4, here), ...sized(4, [...Buffer.from(there)], 3)],
    [...string(4, here), ...tag(4, 2, 4), ...varint(there.length, 4), ...Buffer.from(there)],
  ]
  for (const fields of events) {
    const bytes = frame(eventBytes(...fields))
    assert.equal(scan(bytes, 0, bytes.length), 1)
    assert.equal(partitionOf(bytes, 256), expected, Buffer.from(bytes).toString('hex'))
  }
  // Not UTF-8: the bytes count as they came.
  const raw = [0xff, 0x00, 0xc3, 0x28, 0x80]
  assert.equal(partitionOf(frame(eventBytes(...sized(4, raw))), 251), kafkaPartition(Buffer.from(raw), 251))
})

test('each partition has its events, all of them, in the order of the body', () => {
  const subject = fc.option(
    fc.integer({ min: 0, max: 20 }).map((n) => `subject-${n}`),
    { nil: undefined },
  )
  const bodies = fc.array(
    fc.tuple(event, subject).map(([one, subject]) => (subject === undefined ? one : { ...one, subject })),
    { minLength: 1, maxLength: 30 },
  )
  fc.assert(
    fc.property(bodies, fc.integer({ min: 1, max: 8 }), fc.nat(9), (body, partitions, before) => {
      const placer = new Placer(partitions)
      // Whatever was placed before has no part in it.
      const other = encode([{ source: 's', type: 't' }, ...body, ...body])
      placer.place(other, 0, other.length)
      const encoded = encode(body)
      const around = new Uint8Array(before + encoded.length + 5).fill(0x0a)
      around.set(encoded, before)
      const only = placer.place(around, before, before + encoded.length)
      checkPlaced(placer, partitions, encoded, only)
    }),
    { numRuns: 500 },
  )
})

test('frames as no encoder writes them are put apart alike', () => {
  const placer = new Placer(5)
  let placed = 0
  fc.assert(
    fc.property(fc.array(wireFrame, { minLength: 1, maxLength: 4 }), (frames) => {
      const passed = frames.filter((one) => passes(one))
      fc.pre(passed.length > 0)
      const body = new Uint8Array(Buffer.concat(passed))
      const only = placer.place(body, 0, body.length)
      checkPlaced(placer, 5, body, only)
      placed++
    }),
    { numRuns: 1500 },
  )
  assert.ok(placed > 500)
})

test('large bodies between small ones are placed as well', () => {
  const placer = new Placer(3)
  const large = Array.from({ length: 30_000 }, (_, i) => ({
    source: 'source',
    type: 'type',
    subject: `${i}`,
  }))
  const bodies = [large.slice(0, 2), large, large.slice(0, 600), large.slice(7, 8)]
  assert.ok(encode(large).length < PLACED_BYTES_KEPT_MAX)
  bodies.push(
    large.map((one) => ({ ...one, id: 'x'.repeat(40) })),
    large.slice(0, 5),
  )
  assert.ok(encode(bodies[4]).length > PLACED_BYTES_KEPT_MAX)
  for (const body of bodies) {
    const bytes = encode(body)
    checkPlaced(placer, 3, bytes, placer.place(bytes, 0, bytes.length))
  }
})

test('fields of the frame that are no events go along with their neighbours', () => {
  const [first, second] = ['a', 'c'].map((subject) => eventBytes(...string(4, subject)))
  const partitions = ['a', 'c'].map((subject) => kafkaPartition(subject, 4))
  assert.notEqual(partitions[0], partitions[1])
  const front = sized(5, [1])
  const after = groups(2, string(1, 'x'))
  const body = frame(front, first, after, second, [...tag(6, 0), 1])
  const placer = new Placer(4)
  assert.equal(placer.place(body, 0, body.length), -1)
  assert.deepEqual(Uint8Array.from(placer.frameOf(partitions[0])!), frame(front, first, after))
  assert.deepEqual(Uint8Array.from(placer.frameOf(partitions[1])!), frame(second, [...tag(6, 0), 1]))
})

/** Holds what was placed against what the reference decoder and Kafka's partitioner say. */
function checkPlaced(placer: Placer, partitions: number, body: Uint8Array, only: number): void {
  const expected: millrace.v1.Event[][] = Array.from({ length: partitions }, () => [])
  for (const one of decoded(body))
    expected[kafkaPartition(Buffer.from(one.subject ?? '', 'latin1'), partitions)].push(one)
  const used = expected.filter((events) => events.length > 0)
  assert.equal(only, used.length === 1 ? expected.indexOf(used[0]) : -1)
  let bytes = 0
  for (let partition = 0; partition < partitions; partition++) {
    const frame = placer.frameOf(partition)
    assert.equal(placer.eventsOf(partition), expected[partition].length)
    assert.equal(frame === undefined, expected[partition].length === 0)
    if (frame === undefined) continue
    bytes += frame.length
    assert.equal(scan(frame, 0, frame.length), expected[partition].length)
    assert.deepEqual(decoded(frame), expected[partition])
  }
  assert.equal(bytes, body.length)
}
