import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CloudEvent, HTTP } from 'cloudevents'
import fc from 'fast-check'
import { millrace } from '#proto'
import { Problem } from '../../src/errors.ts'
import { binaryToFrame, cloudEventsToFrame } from '../../src/ingest/cloudevents.ts'
import { attributesOf } from '../../src/ingest/cloudevents-headers.ts'
import { formatTime, toCloudEvent } from '../../src/ingest/cloudevents-text.ts'
import { scan } from '../../src/ingest/scan.ts'
import { walk } from '../../src/ingest/tap-filter.ts'
import { ATTRIBUTES_PER_EVENT_MAX, EVENTS_PER_BODY_MAX, STRING_BYTES_MAX } from '../../src/limits.ts'
import { anyCharacter } from '../characters.ts'
import { encode, event as nativeEvent } from './frames.ts'

const receipt = { correlationId: 'c-1', receivedAt: 1_700_000_000_000, place: 'w-1-1' }
const own = { millracecorrelation: 'c-1', millracereceived: '2023-11-14T22:13:20.000Z' }

type Json = Record<string, unknown>
const least = { specversion: '1.0', id: '1', source: '/s', type: 't' }

/** The events of a frame as the tap shows them, without what it adds. The frame has to pass the scan. */
function shown(frame: Uint8Array): Json[] {
  const bytes = Buffer.from(frame)
  const events: Json[] = []
  const walked = walk(bytes, 0, bytes.length, (start, end) => {
    const text = toCloudEvent(bytes, start, end, receipt)
    assert.doesNotMatch(text, /[\r\n]/, 'it stands on one line')
    const { millracecorrelation, millracereceived, ...event } = JSON.parse(text) as Json
    assert.deepEqual({ millracecorrelation, millracereceived }, own)
    events.push(event)
  })
  if (bytes.length > 0) assert.equal(scan(bytes, 0, bytes.length), walked)
  return events
}

const structured = (event: unknown) => structuredText(JSON.stringify(event))
function structuredText(text: string): Json {
  const { frame, events } = cloudEventsToFrame(Buffer.from(text), false)
  assert.equal(events, 1)
  return shown(frame)[0]
}

function batched(events: unknown): Json[] {
  const converted = cloudEventsToFrame(Buffer.from(JSON.stringify(events)), true)
  const list = shown(converted.frame)
  assert.equal(converted.events, list.length)
  return list
}

type Headers = [name: string, value: string][]
const leastHeaders: Headers = Object.entries(least).map(([name, value]) => [`ce-${name}`, value])

function binary(headers: Headers, body: Uint8Array | string = ''): Json {
  // As the server gives them: names in lower case, in the order they came, also twice.
  const request = {
    forEach(each: (name: string, value: string) => void) {
      for (const [name, value] of headers) each(name.toLowerCase(), value)
    },
  }
  return shown(binaryToFrame(attributesOf(request as never), Buffer.from(body)))[0]
}
const withHeader = (name: string, value: string) => binary([...leastHeaders, [name, value]])

function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof Problem && error.code === 'malformed', String(error))
    assert.ok(error.message.length < 300, 'an answer is not as long as the body')
    return error.message
  }
  return assert.fail('it was accepted')
}

/** What protobuf readers, measures and handlers see of it. */
function decoded(event: Json) {
  const { frame } = cloudEventsToFrame(Buffer.from(JSON.stringify(event)), false)
  return millrace.v1.Frame.decode(frame.slice()).events![0]
}

// --- What the SDK emits -------------------------------------------------------------------------------

const allowed = (unit: 'grapheme' | 'grapheme-ascii', maxLength: number) =>
  fc
    .string({ unit, minLength: 1, maxLength })
    .filter((text) => !/[\p{Cc}\p{Noncharacter_Code_Point}\p{Surrogate}]/u.test(text))
const name = fc
  .stringMatching(/^[a-z][a-z0-9]{0,12}$/)
  .filter((one) => !(one in new CloudEvent(least)) && one !== 'value' && !one.startsWith('millrace'))
const extension = fc.oneof(
  fc.boolean(),
  fc.integer(),
  allowed('grapheme', 30),
  fc.constantFrom('', 'true', '5', '-0', '1e3', '21.5'),
)
const someData = fc.oneof(
  fc.record({
    datacontenttype: fc.constantFrom(undefined, 'application/json', 'application/vnd.x+json; v=1'),
    data: fc.jsonValue(),
  }),
  fc.record({
    datacontenttype: fc.constantFrom(
      'text/plain',
      'text/xml; charset=utf-8',
      'application/xml',
      'application/octet-stream',
      'x',
    ),
    data: fc.oneof(fc.string(), fc.string({ unit: anyCharacter }), fc.jsonValue()),
  }),
  fc.record({
    datacontenttype: fc.constantFrom(undefined, 'application/json', 'text/plain', 'application/octet-stream'),
    data: fc.oneof(
      fc.uint8Array({ minLength: 1 }),
      fc.json().map((text) => new Uint8Array(Buffer.from(text))),
    ),
  }),
  fc.constant({}),
)
// Not fc.webUrl, which takes a second to make a table of all characters.
const url = fc.stringMatching(
  /^https?:\/\/[a-z][a-z0-9-]{0,9}(\.[a-z]{2,4}){1,2}(:\d{2,4})?(\/([\w.~:@!$&'()*+,;=-]|%C3%A9){0,8}){0,3}(\?[\w=&]{0,9})?(#\w{0,5})?$/,
)
const attributes = (unit: 'grapheme' | 'grapheme-ascii') =>
  fc.record(
    {
      id: allowed(unit, 20),
      source: fc.oneof(url, fc.stringMatching(/^\/[a-z0-9/]{0,20}$/)), // the SDK looks at it
      type: allowed(unit, 20),
      subject: allowed(unit, 20),
      dataschema: url,
      time: fc
        .date({ min: new Date(1), max: new Date('2554-07-21T23:34:33Z'), noInvalidDate: true })
        .map((date) => date.toISOString()),
      value: fc.oneof(
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
        extension,
      ),
    },
    { requiredKeys: ['id', 'source', 'type'] },
  )
const sdkEvent = (unit: 'grapheme' | 'grapheme-ascii') =>
  fc
    .tuple(attributes(unit), fc.dictionary(name, extension, { maxKeys: 4, noNullPrototype: true }), someData)
    .map(([core, extensions, data]) => new CloudEvent({ ...extensions, ...core, ...data } as never, false))

test('what the SDK emits in structured mode comes back equal', () => {
  fc.assert(
    fc.property(sdkEvent('grapheme'), (event) => {
      const { headers, body } = HTTP.structured(event)
      assert.equal(headers['content-type'], 'application/cloudevents+json; charset=utf-8')
      const back = structuredText(body as string)
      assert.deepEqual(back, JSON.parse(body as string))
      assert.deepEqual(HTTP.toEvent({ headers, body: JSON.stringify(back) }), HTTP.toEvent({ headers, body }))
    }),
    { numRuns: 500 },
  )
})

test('a batch of what the SDK emits comes back equal, in its order', () => {
  fc.assert(
    fc.property(fc.array(sdkEvent('grapheme'), { maxLength: 5 }), (events) => {
      assert.deepEqual(batched(events), JSON.parse(JSON.stringify(events)))
    }),
  )
})

test('what the SDK emits in binary mode comes back as the SDK itself reads it', () => {
  const headerSafe = sdkEvent('grapheme-ascii').filter((event) => {
    // The SDK does not encode what it puts in a header.
    return Object.entries(event).every(
      ([key, value]) => key === 'data' || typeof value !== 'string' || /^[!#-$&-~]*$/.test(value),
    )
  })
  fc.assert(
    fc.property(headerSafe, (event) => {
      const { headers, body } = HTTP.binary(event)
      const bytes = Buffer.from(
        ArrayBuffer.isView(body) ? (body as Uint8Array) : body === undefined ? '' : String(body),
      )
      const sent = Object.entries(headers).map(([header, value]): [string, string] => [header, String(value)])
      const { data: _, data_base64: __, ...back } = binary(sent, bytes)
      const attributes = sent.map(([header, value]) => [
        header.replace(/^ce-/, '').replace('content-type', 'datacontenttype'),
        value,
      ])
      assert.deepEqual(back, Object.fromEntries(attributes), 'types are lost in headers: all are strings')
      const data = dataOf(binary(sent, bytes))
      if (Buffer.isBuffer(data)) assert.deepEqual(data, bytes)
      else if (bytes.length === 0) assert.equal(data, undefined)
      else if (String(headers['content-type']).includes('json'))
        assert.deepEqual(data, JSON.parse(bytes.toString()))
      else assert.equal(data, bytes.toString())
      // The SDK reads JSON other than objects and arrays as strings of their text.
      if (!Buffer.isBuffer(data) && typeof data === 'object' && data !== null && !ArrayBuffer.isView(body)) {
        assert.deepEqual(data, (HTTP.toEvent({ headers, body: bytes.toString() }) as CloudEvent).data)
      }
    }),
    { numRuns: 300 },
  )
})

function dataOf(event: Json): unknown {
  return typeof event.data_base64 === 'string' ? Buffer.from(event.data_base64, 'base64') : event.data
}

test('an event that came as protobuf can be told as a CloudEvent, and nothing of it is lost', () => {
  fc.assert(
    fc.property(nativeEvent, (sent) => {
      const [event] = shown(encode([sent]))
      assert.equal(event.id, sent.id || receipt.place)
      assert.equal(event.source, sent.source)
      assert.equal(event.type, sent.type)
      assert.equal(event.subject, sent.subject || undefined)
      assert.equal(event.time, sent.timeUnixNano ? formatTime(sent.timeUnixNano) : undefined)
      if (sent.value !== undefined) assert.equal(Number(event.value), sent.value === 0 ? 0 : sent.value)
      const others = JSON.parse((event.millraceattributes as string | undefined) ?? '{}')
      for (const [key, value] of Object.entries(sent.attributes ?? {})) {
        assert.equal(Object.hasOwn(others, key) ? others[key] : event[key], value, key)
      }
      const validName = /^[a-z0-9]+$/
      for (const key of Object.keys(event)) assert.ok(validName.test(key) || key === 'data_base64', key)
      if (sent.data && sent.data.length > 0 && event.data_base64 !== undefined) {
        assert.deepEqual(Buffer.from(event.data_base64 as string, 'base64'), Buffer.from(sent.data))
      }
    }),
  )
})

test('bodies that are broken anywhere are refused, and what is not refused is right', () => {
  const body = fc.tuple(
    sdkEvent('grapheme'),
    fc.nat(),
    fc.oneof(fc.constant(''), fc.string({ unit: anyCharacter, maxLength: 3 })),
  )
  fc.assert(
    fc.property(body, fc.boolean(), ([event, at, piece], asBatch) => {
      const text = asBatch ? JSON.stringify([event, event]) : event.toString()
      const place = at % (text.length + 1)
      const broken = text.slice(0, place) + piece + text.slice(place + 1)
      try {
        const { frame, events } = cloudEventsToFrame(Buffer.from(broken), asBatch)
        assert.equal(shown(frame).length, events)
      } catch (error) {
        assert.ok(error instanceof Problem && error.code === 'malformed', String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

// --- Where the fields go ------------------------------------------------------------------------------

test('attributes have their fields, others are in attributes, in canonical form', () => {
  const event = decoded({
    ...least,
    subject: 'x',
    time: '2026-05-01T12:30:00.25Z',
    datacontenttype: 'text/plain',
    dataschema: 'https://example.com/schema',
    data: 'hello',
    flag: true,
    count: -5,
    word: 'w',
    gone: null,
    value: 21,
  })
  assert.equal(event.id, '1')
  assert.equal(event.source, '/s')
  assert.equal(event.type, 't')
  assert.equal(event.subject, 'x')
  assert.equal(String(event.timeUnixNano), '1777638600250000000')
  assert.equal(event.datacontenttype, 'text/plain')
  assert.equal(Buffer.from(event.data!).toString(), 'hello')
  assert.equal(event.value, 21)
  assert.deepEqual(
    { ...event.attributes },
    { dataschema: 'https://example.com/schema', flag: 'true', count: '-5', word: 'w' },
  )
})

test('value is the number that measures aggregate, whichever way it is said, and comes back as it was', () => {
  for (const [value, number] of [
    [5, 5],
    ['5', 5],
    ['21.5', 21.5],
    ['5.0', 5],
    ['1e3', 1000],
    [-3, -3],
    ['-0', -0],
    [9007199254740991, 9007199254740991],
  ] as const) {
    assert.equal(decoded({ ...least, value }).value, number, String(value))
    assert.strictEqual(structured({ ...least, value }).value, value)
  }
  assert.equal(decoded({ ...least, value: 21.5 }).value, 21.5, 'CloudEvents have no such number, people do')
  assert.equal(structured({ ...least, value: 21.5 }).value, '21.5', 'and this is what they have')
  for (const value of ['high', '', 'NaN', true]) {
    assert.ok(!Object.hasOwn(decoded({ ...least, value }), 'value'), `${value} is no number`)
    assert.strictEqual(structured({ ...least, value }).value, value)
  }
  assert.match(
    refusal(() => structured({ ...least, value: '1e999' })),
    /value is not a finite number/,
  )
})

test('numbers in data keep all their digits', () => {
  const data = '{ "a": 12345678901234567890.123456789012345678, "b": [1e400, -1E-400], "c": "é\\ud800" }'
  const { frame } = cloudEventsToFrame(
    Buffer.from(`[{"data": 1,"specversion":"1.0","id":"1","source":"s","type":"t"},
      {"specversion":"1.0","id":"1","x":"data","source":"s","type":"t", "d\\u0061ta" : ${data}}]`),
    true,
  )
  const events = millrace.v1.Frame.decode(frame.slice()).events!
  assert.equal(Buffer.from(events[0].data!).toString(), '1')
  assert.equal(Buffer.from(events[1].data!).toString(), data)
})

// --- The must-clauses of the HTTP protocol binding, v1.0.2 ------------------------------------------------

test('binding 1.4: structured mode understands the JSON event format', () => {
  assert.deepEqual(structured(least), least)
})

test('binding 3.1.1: content-type becomes datacontenttype, and a ce-datacontenttype beside it is refused', () => {
  assert.equal(
    withHeader('Content-Type', 'application/vnd.x; a="b c"').datacontenttype,
    'application/vnd.x; a="b c"',
  )
  assert.equal(binary(leastHeaders).datacontenttype, undefined)
  assert.match(
    refusal(() => withHeader('ce-datacontenttype', 'text/plain')),
    /ce-datacontenttype.*content-type/,
  )
})

test('binding 3.1.2: the body is the data, byte for byte', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  const event = binary([...leastHeaders, ['content-type', 'application/octet-stream']], bytes)
  assert.deepEqual(dataOf(event), Buffer.from(bytes))
  const spaced = binary(
    [...leastHeaders, ['content-type', 'application/json']],
    '{ "a" : 1,\n\r\n "b": "\\n" }',
  )
  assert.deepEqual(spaced.data, { a: 1, b: '\n' })
  const broken = binary([...leastHeaders, ['content-type', 'application/json']], 'no JSON')
  assert.deepEqual(dataOf(broken), Buffer.from('no JSON'), 'what is not what it says is still carried')
})

test('binding 3.1.3: every attribute has a header of its own, extensions too', () => {
  const event = binary([
    ...leastHeaders,
    ['ce-subject', 'x'],
    ['ce-time', '2026-05-01T12:30:00Z'],
    ['ce-comexample', '5'],
    ['ce-dataschema', 'urn:x'],
  ])
  assert.deepEqual(event, {
    ...least,
    subject: 'x',
    time: '2026-05-01T12:30:00.000Z',
    comexample: '5',
    dataschema: 'urn:x',
  })
  assert.match(
    refusal(() => withHeader('ce-id', '2')),
    /ce-id comes more than once/,
  )
  assert.match(
    refusal(() => withHeader('ce-type', 't')),
    /ce-type comes more than once/,
    'not even when they agree',
  )
})

test('binding 3.1.3.1: the prefix is ce-, in any case, and only that makes an attribute', () => {
  assert.equal(withHeader('CE-Subject', 'x').subject, 'x')
  assert.deepEqual(withHeader('x-subject', 'x'), least)
  assert.match(
    refusal(() => withHeader('ce-my-name', 'x')),
    /"ce-my-name" is no attribute/,
  )
})

test('binding 3.1.3.2: header values are unquoted, and percent-decoded once', () => {
  for (const [value, meant] of [
    ['Euro%20%E2%82%AC%20%F0%9F%98%80', 'Euro € 😀'],
    ['%e2%82%ac', '€'],
    ['%61%2D', 'a-'],
    ['%2541', '%41'],
    ['"in quotes"', 'in quotes'],
    ['"a \\"b\\" \\\\ c"', 'a "b" \\ c'],
    ['"%41"', 'A'],
    ['a "b" c', 'a "b" c'],
    ['with space', 'with space'],
    ['%22', '"'],
  ]) {
    assert.equal(withHeader('ce-subject', value).subject, meant)
  }
})

test('binding 3.1.3.2: bytes that are not UTF-8, and broken encodings, are refused', () => {
  for (const value of ['%C0%A0', '%ED%A0%80', '%F5%80%80%80', '%80', '%', '%4', '%zz', '100%']) {
    assert.match(
      refusal(() => withHeader('ce-subject', value)),
      /ce-subject: the percent-encoding is broken/,
      value,
    )
  }
  assert.match(
    refusal(() => withHeader('ce-subject', 'Grüße')),
    /ce-subject: .*percent-encoded/,
  )
  assert.match(
    refusal(() => withHeader('ce-subject', '"open')),
    /ce-subject: the double quotes/,
  )
  assert.match(
    refusal(() => withHeader('ce-subject', 'a%0Ab')),
    /ce-subject has the character U\+000A/,
  )
})

test('binding 3.2.3: what counts is in the payload', () => {
  assert.match(
    refusal(() => structured({ specversion: '1.0', id: '1', source: '/s' })),
    /event 1: type is missing/,
  )
})

test('binding 3.3.2: a batch may be empty, and its events differ in all but the version', () => {
  assert.deepEqual(batched([]), [])
  const others = [least, { ...least, type: 'u', datacontenttype: 'text/plain', data: 'x' }]
  assert.deepEqual(batched(others), others)
  assert.match(
    refusal(() => batched([least, { ...least, specversion: '0.3' }])),
    /event 2: specversion is "0.3": "1.0"/,
  )
})

// --- The must-clauses of the JSON event format, v1.0.2 ----------------------------------------------------

test('format 2.2: types of the type system are types of JSON; others are refused', () => {
  const typed = {
    ...least,
    flag: false,
    count: -2147483648,
    text: 'true',
    binary: 'AAEC',
    uri: 'https://x',
    at: '2026-05-01T12:30:00Z',
  }
  assert.deepEqual(structured(typed), typed)
  for (const wrong of [1.5, 1e300, {}, [], [1]]) {
    assert.match(
      refusal(() => structured({ ...least, ext: wrong })),
      /event 1: ext must be a string, a boolean or a whole number, not/,
    )
  }
  for (const core of ['id', 'source', 'type', 'subject', 'datacontenttype', 'dataschema', 'time']) {
    assert.match(
      refusal(() => structured({ ...least, [core]: 5 })),
      new RegExp(`event 1: ${core} must be a string`),
    )
  }
})

test('format 2.2: null is the same as unset', () => {
  assert.deepEqual(structured({ ...least, subject: null, time: null, ext: null, data_base64: null }), least)
  for (const core of ['specversion', 'id', 'source', 'type']) {
    assert.match(
      refusal(() => structured({ ...least, [core]: null })),
      new RegExp(`event 1: ${core} is missing`),
    )
  }
})

test('format 3.1: data and data_base64 exclude each other', () => {
  assert.match(
    refusal(() => structured({ ...least, data: 1, data_base64: 'AA==' })),
    /event 1: data and data_base64 are both there/,
  )
})

test('format 3.1.2: data_base64 is binary, whatever the type says', () => {
  for (const datacontenttype of [undefined, 'application/json', 'text/plain', 'image/png']) {
    for (const bytes of ['{"a":1}', 'text', '\xff\x00', '']) {
      const event = {
        ...least,
        datacontenttype,
        data_base64: Buffer.from(bytes, 'latin1').toString('base64'),
      }
      assert.deepEqual(structured(event), JSON.parse(JSON.stringify(event)))
    }
  }
  assert.match(
    refusal(() => structured({ ...least, data_base64: '?' })),
    /event 1: data_base64 is not base64/,
  )
  assert.match(
    refusal(() => structured({ ...least, data_base64: 5 })),
    /event 1: data_base64 must be a string of base64/,
  )
})

test('format 3.1.2: data is a JSON value where the type says JSON, or says nothing; a string in it stays one', () => {
  for (const datacontenttype of [
    undefined,
    'application/json',
    'text/json',
    'application/geo+json;x=y',
    'APPLICATION/JSON',
  ]) {
    for (const data of [{ a: [1, null] }, [], 'text', '{"a":1}', '5', 5, true, null, '']) {
      const event = { ...least, datacontenttype, data }
      assert.deepEqual(structured(event), JSON.parse(JSON.stringify(event)))
      const { frame } = cloudEventsToFrame(Buffer.from(JSON.stringify(event)), false)
      const { data: bytes } = millrace.v1.Frame.decode(frame.slice()).events![0]
      assert.equal(
        Buffer.from(bytes!).toString(),
        JSON.stringify(data),
        'as JSON text, a string in its quotes',
      )
    }
  }
})

test('format 3.1.2: data of another type is a string, and kept as that', () => {
  const event = { ...least, datacontenttype: 'application/xml', data: '<much wow="xml"/>' }
  assert.deepEqual(structured(event), event)
  assert.equal(Buffer.from(decoded(event).data!).toString(), event.data)
})

test('format 4: a batch is an array, an event is an object, and neither is taken for the other', () => {
  assert.match(
    refusal(() => structured([least])),
    /the body is an array.*one event.*cloudevents-batch\+json/,
  )
  assert.match(
    refusal(() => batched(least)),
    /the body is an object.*an array of events.*cloudevents\+json/,
  )
  assert.match(
    refusal(() => structured('text')),
    /event 1: an event must be an object, not a string/,
  )
  assert.match(
    refusal(() => batched([least, 5])),
    /event 2: an event must be an object, not a number/,
  )
})

// --- The must-clauses of the core, v1.0.2 ---------------------------------------------------------------

test('core: id, source, type and specversion are there and not empty; optional ones are not empty either', () => {
  for (const core of Object.keys(least)) {
    const { [core as 'id']: _, ...without } = least
    assert.match(
      refusal(() => structured(without)),
      new RegExp(`event 1: ${core} is missing`),
    )
    const headers = leastHeaders.filter(([header]) => header !== `ce-${core}`)
    assert.match(
      refusal(() => binary(headers)),
      new RegExp(`^ce-${core} is missing`),
    )
  }
  for (const core of ['id', 'source', 'type', 'subject', 'datacontenttype', 'dataschema']) {
    assert.match(
      refusal(() => structured({ ...least, [core]: '' })),
      new RegExp(`event 1: ${core} must not be empty`),
    )
  }
  assert.match(
    refusal(() => binary([...leastHeaders, ['ce-subject', '']])),
    /ce-subject must not be empty/,
  )
})

test('core: names have lower-case letters and digits only, and none is data', () => {
  for (const wrong of ['Name', 'my_name', 'my-name', 'ä', '', '__proto__', 'a b']) {
    assert.match(
      refusal(() => structuredText(`${JSON.stringify(least).slice(0, -1)},${JSON.stringify(wrong)}:"x"}`)),
      /is no attribute/,
    )
  }
  assert.match(
    refusal(() => withHeader('ce-data', 'x')),
    /ce-data is no attribute/,
  )
  assert.equal(structured({ ...least, a1b2: 'x' }).a1b2, 'x')
})

test('core: control characters, noncharacters and halves of surrogate pairs are no part of a string', () => {
  for (const [text, code] of [
    ['a\u0000', '0000'],
    ['\u007f', '007F'],
    ['\u0085', '0085'],
    ['\uffff', 'FFFF'],
    ['\u{1fffe}', '1FFFE'],
    ['\ud800', 'D800'],
  ]) {
    for (const where of ['subject', 'ext', 'id']) {
      assert.match(
        refusal(() => structured({ ...least, [where]: text })),
        new RegExp(`event 1: ${where} has the character U\\+${code}`),
      )
    }
  }
})

test('core: time is RFC 3339, and comes back as the same instant', () => {
  for (const [time, same] of [
    ['2018-04-05T17:31:00Z', '2018-04-05T17:31:00.000Z'],
    ['2018-04-05T19:31:00.25+02:00', '2018-04-05T17:31:00.250Z'],
    ['2018-04-05T17:31:00.123456Z', '2018-04-05T17:31:00.123456Z'],
    ['2018-04-05T17:31:00.123456789Z', '2018-04-05T17:31:00.123456789Z'],
  ]) {
    assert.equal(structured({ ...least, time }).time, same)
    assert.equal(withHeader('ce-time', time).time, same)
  }
  for (const time of [
    'yesterday',
    '2018-04-05',
    '2018-13-05T17:31:00Z',
    '1969-12-31T23:59:59Z',
    '9999-01-01T00:00:00Z',
    '',
  ]) {
    assert.match(
      refusal(() => structured({ ...least, time })),
      /event 1: time/,
      time,
    )
    assert.match(
      refusal(() => withHeader('ce-time', time)),
      /time/,
      time,
    )
  }
})

// --- Limits ---------------------------------------------------------------------------------------------

test('what is too long or too much is refused with what is allowed', () => {
  const long = 'x'.repeat(STRING_BYTES_MAX + 1)
  assert.equal(structured({ ...least, subject: long.slice(1) }).subject, long.slice(1))
  assert.match(
    refusal(() => structured({ ...least, subject: long })),
    /event 1: subject is 1025 bytes, 1024 at most/,
  )
  assert.match(
    refusal(() => structured({ ...least, ext: 'é'.repeat(600) })),
    /event 1: ext is 1200 bytes/,
  )
  assert.match(
    refusal(() => structured({ ...least, ['n'.repeat(65)]: 'x' })),
    /the attribute name .* is 65 bytes, 64 at most/,
  )
  const many = Object.fromEntries(
    Array.from({ length: ATTRIBUTES_PER_EVENT_MAX + 1 }, (_, i) => [`a${i}`, 'x']),
  )
  assert.match(
    refusal(() => structured({ ...least, ...many })),
    /event 1: the event has more than 64 extension attributes/,
  )
  const batch = `[${Array(EVENTS_PER_BODY_MAX + 1)
    .fill('0')
    .join(',')}]`
  assert.match(
    refusal(() => cloudEventsToFrame(Buffer.from(batch), true)),
    /the batch has 100001 events, 100000 at most/,
  )
  const deep = `${JSON.stringify(least).slice(0, -1)},"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  assert.match(
    refusal(() => structuredText(deep)),
    /event 1: data is nested too deep/,
  )
})

test('a body that is not JSON, or not UTF-8, is refused with the place', () => {
  assert.match(
    refusal(() => structuredText('{"specversion":\n"1.0",}')),
    /line 2, column 7: not JSON/,
  )
  assert.match(
    refusal(() => cloudEventsToFrame(Uint8Array.of(0x7b, 0xff), false)),
    /line 1: this is not UTF-8/,
  )
  assert.match(
    refusal(() => structuredText('')),
    /not JSON/,
  )
})
