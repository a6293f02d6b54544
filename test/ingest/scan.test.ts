import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import protobuf from 'protobufjs/minimal.js'
import { millrace } from '#proto'
import { Problem } from '../../src/errors.ts'
import { scan } from '../../src/ingest/scan.ts'
import {
  ATTRIBUTE_NAME_BYTES_MAX,
  ATTRIBUTES_PER_EVENT_MAX,
  EVENTS_PER_BODY_MAX,
  STRING_BYTES_MAX,
} from '../../src/limits.ts'
import {
  double,
  encode,
  eventBytes,
  events,
  frame,
  groups,
  mutation,
  noise,
  sized,
  string,
  tag,
  varint,
  wireFrame,
} from './frames.ts'

const { Frame } = millrace.v1
const { Reader } = protobuf

/** The number of events, or why it was refused. Anything thrown but a Problem fails the test. */
function scanned(bytes: Uint8Array): number | string {
  try {
    return scan(bytes, 0, bytes.length)
  } catch (error) {
    assert.ok(error instanceof Problem && error.code === 'malformed', String(error))
    assert.match(error.message, /^the body has no events$|^(?:event \d+|the frame): .+ \(byte \d+\)$/)
    return error.message
  }
}

/** What the reference and the rules say: the number of events, or undefined. */
function expected(bytes: Uint8Array): number | undefined {
  const reader = new Reader(bytes)
  // Not the reference's strictness about UTF-8; one character for each byte.
  reader.stringVerify = () => Buffer.from(reader.bytes()).toString('latin1')
  // Skipped varints: the exception listed in scan.ts.
  let longVarint = false
  reader.skip = (length?: number) => {
    const start = reader.pos
    Reader.prototype.skip.call(reader, length)
    if (length === undefined && reader.pos - start >= 10) {
      longVarint ||= reader.pos - start > 10 || bytes[start + 9] > 1
    }
    return reader
  }
  let decoded: millrace.v1.Frame
  try {
    decoded = Frame.decode(reader)
  } catch {
    return undefined
  }
  if (longVarint || decoded.events.length === 0 || decoded.events.length > EVENTS_PER_BODY_MAX)
    return undefined
  if (decoded.events.some(({ source, type }) => !source || !type)) return undefined
  return sizesAreAllowed(bytes) ? decoded.events.length : undefined
}

/** The fields of a message that has been decoded already: tag, and the bytes of those that have a length. */
function* fieldsOf(bytes: Uint8Array): Generator<{ tag: number; payload: Uint8Array }> {
  const reader = new Reader(bytes)
  while (reader.pos < reader.len) {
    const tag = reader.tag()
    const start = reader.pos
    if ((tag & 7) === 2) yield { tag, payload: reader.bytes() }
    else {
      reader.skipType(tag & 7, 0, tag >>> 3)
      yield { tag, payload: bytes.subarray(start, reader.pos) }
    }
  }
}

function sizesAreAllowed(bytes: Uint8Array): boolean {
  for (const { tag, payload: event } of fieldsOf(bytes)) {
    if (tag !== 10) continue
    let entries = 0
    for (const { tag, payload } of fieldsOf(event)) {
      if ([10, 18, 26, 34, 66].includes(tag) && payload.length > STRING_BYTES_MAX) return false
      if (tag === 49 && !Number.isFinite(Buffer.from(payload).readDoubleLE())) return false
      if (tag !== 74) continue
      if (++entries > ATTRIBUTES_PER_EVENT_MAX) return false
      for (const { tag, payload: part } of fieldsOf(payload)) {
        if (tag === 10 && part.length > ATTRIBUTE_NAME_BYTES_MAX) return false
        if (tag === 18 && part.length > STRING_BYTES_MAX) return false
      }
    }
  }
  return true
}

let accepted = 0
let refused = 0
function agrees(bytes: Uint8Array): void {
  const actual = scanned(bytes)
  const should = expected(bytes)
  if (should === undefined) refused++
  else accepted++
  assert.equal(
    typeof actual === 'number' ? actual : undefined,
    should,
    `scan: ${actual}; reference: ${should}`,
  )
}

test('scan accepts what the reference decoder reads, sound or damaged, and counts the same events', () => {
  const original = fc.oneof(
    { weight: 3, arbitrary: wireFrame },
    { weight: 2, arbitrary: events.map(encode) },
    { weight: 1, arbitrary: noise },
  )
  const mutations = fc.array(mutation, { minLength: 4, maxLength: 8 })
  fc.assert(
    fc.property(original, mutations, (bytes, list) => {
      agrees(bytes)
      for (const one of list) agrees(one(bytes))
      agrees(list.slice(0, 3).reduce((damaged, one) => one(damaged), bytes))
    }),
    { numRuns: 4000 },
  )
  // Both sides must have been seen, or the above says nothing.
  assert.ok(accepted > 2500 && refused > 2500, `${accepted} accepted, ${refused} refused`)
})

test('scan accepts what an encoder writes', () => {
  fc.assert(fc.property(events, (list) => assert.equal(scanned(encode(list)), list.length)))
})

test('frames laid end to end are a frame with the events of both', () => {
  const any = fc.oneof(wireFrame, events.map(encode))
  fc.assert(
    fc.property(any, any, (a, b) => {
      const both = scanned(new Uint8Array([...a, ...b]))
      const [countA, countB] = [scanned(a), scanned(b)]
      if (typeof countA === 'number' && typeof countB === 'number') assert.equal(both, countA + countB)
    }),
    { numRuns: 2000 },
  )
})

test('only the bytes between start and end are looked at, and bytes are counted from start', () => {
  const body = encode([{ source: 's', type: 't' }])
  const inside = new Uint8Array([0xff, 0xff, 0xff, ...body, 0xff, 0xff])
  assert.equal(scan(inside, 3, 3 + body.length), 1)
  const bad = new Uint8Array([0xff, ...body, ...sized(1, string(2, 's')), 0xff])
  assert.throws(() => scan(bad, 1, bad.length - 1), {
    message: `event 2: type is missing (byte ${body.length})`,
  })
  assert.equal(scan(inside, 3, 3 + body.length), 1, 'a refusal leaves nothing behind')
})

test('groups nest as deep as the reference goes, in the frame, in events and in attributes', () => {
  const inner = [...tag(12, 0), 1]
  for (let depth = 96; depth <= 104; depth++) {
    for (const fill of [inner, []]) {
      const nested = groups(depth, fill)
      agrees(frame(eventBytes(), nested))
      agrees(frame(eventBytes(...nested)))
      agrees(frame(eventBytes(...sized(9, [...string(1, 'a'), ...nested]))))
    }
  }
  assert.equal(scanned(frame(eventBytes(), groups(100, inner))), 1)
  assert.match(
    String(scanned(frame(eventBytes(), groups(101, inner)))),
    /^the frame: .*nested more than 100 deep/,
  )
  assert.match(String(scanned(frame(sized(1, groups(100_000, []))))), /^event 1: .*nested more than 100 deep/)
})

const long = (bytes: number) => 'x'.repeat(bytes)
const attribute = (name: string, value: string) => sized(9, [...string(1, name), ...string(2, value)])

const oddButFine: [string, Uint8Array, number][] = [
  [
    'fields repeated, the last one counting',
    frame(sized(1, [...string(2, ''), ...string(3, 'a'), ...string(3, 't'), ...string(2, 's')])),
    1,
  ],
  ['a known field of another wire type', frame(eventBytes(...tag(3, 0), 5, ...tag(6, 5), 1, 2, 3, 4)), 1],
  [
    'unknown fields everywhere',
    frame([...tag(5, 0), 1], eventBytes(...string(99, 'x'), ...sized(9, string(7, 'y')))),
    1,
  ],
  [
    'a tag and a length of five bytes',
    frame([...tag(1, 2, 4), ...varint(6, 4), ...string(2, 's'), ...string(3, 't')]),
    1,
  ],
  [
    'attributes empty, without name, without value, name last',
    frame(
      eventBytes(
        ...sized(9, []),
        ...sized(9, string(2, 'v')),
        ...sized(9, string(1, 'n')),
        ...sized(9, [...string(2, 'v'), ...string(1, 'n')]),
      ),
    ),
    1,
  ],
  ['a name that comes twice', frame(eventBytes(...attribute('a', '1'), ...attribute('a', '2'))), 1],
  ['a varint of ten bytes and 64 bits', frame(eventBytes(...tag(11, 0), ...Array(9).fill(0xff), 0x01)), 1],
  [
    'the largest and smallest value',
    frame(eventBytes(...double(6, Number.MAX_VALUE), ...double(6, -Number.MAX_VALUE), ...double(6, 5e-324))),
    1,
  ],
  [
    'strings at their limit',
    frame(
      sized(
        1,
        [1, 2, 3, 4, 8].flatMap((field) => string(field, long(STRING_BYTES_MAX))),
      ),
    ),
    1,
  ],
  [
    'an attribute at its limits',
    frame(eventBytes(...attribute(long(ATTRIBUTE_NAME_BYTES_MAX), long(STRING_BYTES_MAX)))),
    1,
  ],
  [
    'the most attributes',
    frame(eventBytes(...Array(ATTRIBUTES_PER_EVENT_MAX).fill(attribute('a', 'b')).flat())),
    1,
  ],
  ['data of any size', frame(eventBytes(...sized(7, Array(100_000).fill(0)))), 1],
  ['an unknown field of any size', frame(string(99, long(5000)), eventBytes(...string(99, long(5000)))), 1],
]
for (const [name, body, count] of oddButFine) {
  test(`accepted: ${name}`, () => {
    assert.equal(scanned(body), count)
    assert.equal(expected(body), count)
  })
}

const past = STRING_BYTES_MAX + 1
const refusals: [string, Uint8Array, string][] = [
  ['an empty body', frame(), 'the body has no events'],
  ['a frame without events', frame([...tag(5, 0), 1]), 'the body has no events'],
  [
    'an event cut off',
    frame(eventBytes(), [0x0a, 9, 1]),
    'event 2: the event is 9 bytes, of which 1 are there (byte 8)',
  ],
  ['an empty event', frame(eventBytes(), [0x0a, 0]), 'event 2: source is missing (byte 8)'],
  ['no type', frame(sized(1, string(2, 's'))), 'event 1: type is missing (byte 0)'],
  [
    'a source that is empty in the end',
    frame(eventBytes(...string(2, ''))),
    'event 1: source is missing (byte 0)',
  ],
  [
    'a type of another wire type only',
    frame(sized(1, [...string(2, 's'), 0x18, 1])),
    'event 1: type is missing (byte 0)',
  ],
  [
    'a subject past the event',
    frame(eventBytes(0x22, 5, 65)),
    'event 1: subject is 5 bytes, of which 1 are there (byte 8)',
  ],
  [
    'a value cut off',
    frame(eventBytes(0x31, 1, 2, 3)),
    'event 1: value is 8 bytes, of which 3 are there (byte 8)',
  ],
  ['NaN', frame(eventBytes(...double(6, Number.NaN))), 'event 1: value is not a finite number (byte 8)'],
  [
    'infinity before a value',
    frame(eventBytes(...double(6, -Infinity), ...double(6, 1))),
    'event 1: value is not a finite number (byte 8)',
  ],
  ['the number 0', frame(eventBytes(0x02, 0)), 'event 1: a field has the number 0 (byte 8)'],
  [
    'the number 0 in the frame',
    frame(eventBytes(), [0x00, 0]),
    'the frame: a field has the number 0 (byte 8)',
  ],
  [
    'wire type 6',
    frame(eventBytes(0x5e)),
    'event 1: field 11 has wire type 6, which does not exist (byte 8)',
  ],
  ['an end of no group', frame(eventBytes(0x5c)), 'event 1: group 11 ends here but is not open (byte 8)'],
  [
    'the wrong end of a group',
    frame(eventBytes(0x5b, 0x64)),
    'event 1: group 12 ends here but group 11 is open (byte 9)',
  ],
  ['a group without an end', frame(eventBytes(0x5b), [0x5c]), 'event 1: group 11 does not end (byte 8)'],
  [
    'a varint of 11 bytes',
    frame(eventBytes(0x58, ...Array(10).fill(0x80), 0)),
    'event 1: field 11 is a varint of more than 64 bits (byte 8)',
  ],
  [
    'a varint of 65 bits',
    frame(eventBytes(0x58, ...Array(9).fill(0x80), 2)),
    'event 1: field 11 is a varint of more than 64 bits (byte 8)',
  ],
  ['a varint cut off', frame(eventBytes(0x58, 0x80)), 'event 1: field 11 is cut off (byte 8)'],
  [
    'a length of 2^31',
    frame(eventBytes(), [0x0a, 0x80, 0x80, 0x80, 0x80, 0x08]),
    'event 2: the event has a length past 2^31 (byte 8)',
  ],
  [
    'a length of 2^31 - 1',
    frame(eventBytes(), [0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
    'event 2: the event is 2147483647 bytes, of which 0 are there (byte 8)',
  ],
  [
    'a tag of 33 bits',
    frame(eventBytes(0x8a, 0x80, 0x80, 0x80, 0x10, 0)),
    'event 1: a tag is past 2^32 (byte 8)',
  ],
  [
    'a tag of six bytes',
    frame(eventBytes(0x8a, 0x80, 0x80, 0x80, 0x80, 0, 0)),
    'event 1: a tag is past 2^32 (byte 8)',
  ],
  ...['id', 'source', 'type', 'subject', '', '', '', 'datacontenttype'].flatMap(
    (name, i): [string, Uint8Array, string][] =>
      name === ''
        ? []
        : [
            [
              `${name} past its limit`,
              frame(eventBytes(...string(i + 1, long(past)))),
              `event 1: ${name} is ${past} bytes, ${STRING_BYTES_MAX} at most (byte 9)`,
            ],
          ],
  ),
  [
    'a string past its limit that another follows',
    frame(eventBytes(...string(4, long(past)), ...string(4, ''))),
    `event 1: subject is ${past} bytes, ${STRING_BYTES_MAX} at most (byte 9)`,
  ],
  [
    'a name past its limit',
    frame(eventBytes(...attribute(long(ATTRIBUTE_NAME_BYTES_MAX + 1), ''))),
    `event 1: an attribute name is ${ATTRIBUTE_NAME_BYTES_MAX + 1} bytes, ${ATTRIBUTE_NAME_BYTES_MAX} at most (byte 10)`,
  ],
  [
    'an attribute past its limit',
    frame(eventBytes(...attribute('', long(past)))),
    `event 1: an attribute value is ${past} bytes, ${STRING_BYTES_MAX} at most (byte 14)`,
  ],
  [
    'too many attributes',
    frame(
      eventBytes(
        ...Array(ATTRIBUTES_PER_EVENT_MAX + 1)
          .fill([0x4a, 0])
          .flat(),
      ),
    ),
    `event 1: attributes has more than ${ATTRIBUTES_PER_EVENT_MAX} entries (byte ${9 + 2 * ATTRIBUTES_PER_EVENT_MAX})`,
  ],
  [
    'the end of a group past the end of its event',
    frame(eventBytes(0x5b, 0xdc), [0x00]),
    'event 1: a tag is cut off (byte 9)',
  ],
  [
    'a length past the end of its event',
    frame(eventBytes(0x3a, 0x80), [0x00]),
    'event 1: data is cut off (byte 8)',
  ],
]
for (const [name, body, message] of refusals) {
  test(`refused: ${name}`, () => {
    assert.equal(scanned(body), message)
    assert.equal(expected(body), undefined)
  })
}

test('a body has at most so many events', () => {
  const one = eventBytes()
  const body = Buffer.alloc((EVENTS_PER_BODY_MAX + 1) * one.length, Uint8Array.from(one))
  assert.equal(scan(body, 0, body.length - one.length), EVENTS_PER_BODY_MAX)
  assert.throws(() => scan(body, 0, body.length), {
    message: `event ${EVENTS_PER_BODY_MAX + 1}: a body has ${EVENTS_PER_BODY_MAX} events at most (byte ${EVENTS_PER_BODY_MAX * one.length})`,
  })
})
