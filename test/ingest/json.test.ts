import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { millrace } from '#proto'
import { Problem } from '../../src/errors.ts'
import { jsonToFrame } from '../../src/ingest/json.ts'
import { faultOf } from '../../src/ingest/json-text.ts'
import { ndjsonToFrame } from '../../src/ingest/ndjson.ts'
import { scan } from '../../src/ingest/scan.ts'
import {
  ATTRIBUTE_NAME_BYTES_MAX,
  ATTRIBUTES_PER_EVENT_MAX,
  EVENTS_PER_BODY_MAX,
  STRING_BYTES_MAX,
} from '../../src/limits.ts'
import { event as anyEvent, events as anyEvents, type TestEvent } from './frames.ts'

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text))

/** The events of a frame as a test thinks of them; the frame has to pass the scan. */
function decode({ frame, events }: { frame: Uint8Array; events: number }): TestEvent[] {
  assert.equal(scan(frame, 0, frame.length), events)
  return millrace.v1.Frame.decode(frame.slice()).events!.map((one) => {
    const { timeUnixNano, value, data, attributes, ...strings } = one as millrace.v1.Event
    return normal({
      ...strings,
      timeUnixNano: BigInt(timeUnixNano?.toString() ?? 0),
      ...(Object.hasOwn(one, 'value') ? { value: value! } : {}),
      ...(data === undefined ? {} : { data }),
      ...(attributes === undefined ? {} : { attributes }),
    })
  })
}

/** Without what is the same as absent. */
function normal(one: TestEvent): TestEvent {
  const { id, source, type, subject, timeUnixNano, value, data, datacontenttype, attributes } = one
  return {
    source,
    type,
    ...(id ? { id } : {}),
    ...(subject ? { subject } : {}),
    ...(timeUnixNano ? { timeUnixNano } : {}),
    ...(value === undefined ? {} : { value }),
    ...(data && data.length > 0 ? { data: new Uint8Array(data) } : {}),
    ...(datacontenttype ? { datacontenttype } : {}),
    ...(attributes && Object.keys(attributes).length > 0
      ? { attributes: Object.fromEntries(Object.entries(attributes)) }
      : {}),
  }
}

const json = (text: string) => decode(jsonToFrame(bytesOf(text)))
const ndjson = (text: string) => decode(ndjsonToFrame(bytesOf(text)))

function refusal(convert: (body: Uint8Array) => unknown, body: string | Uint8Array): string {
  try {
    convert(typeof body === 'string' ? bytesOf(body) : body)
  } catch (error) {
    assert.ok(error instanceof Problem && error.code === 'malformed', String(error))
    assert.ok(error.message.length < 300, 'an answer is not as long as the body')
    return error.message
  }
  return assert.fail('it was accepted')
}

/** How a client may write one event, where there is a choice. */
interface Spelling {
  nanoseconds: 'string' | 'number' | 'proto name' | 'time' | 'time with offset'
  base64: 'standard' | 'standard, bare' | 'url' | 'url, padded'
  valueAsString: boolean
  nulls: boolean
  reversed: boolean
}
const spelling: fc.Arbitrary<Spelling> = fc.record({
  nanoseconds: fc.constantFrom('string', 'number', 'proto name', 'time', 'time with offset'),
  base64: fc.constantFrom('standard', 'standard, bare', 'url', 'url, padded'),
  valueAsString: fc.boolean(),
  nulls: fc.boolean(),
  reversed: fc.boolean(),
})

function rfc3339(nanoseconds: bigint, offsetMinutes: number): string {
  const seconds = Number(nanoseconds / 1_000_000_000n) + offsetMinutes * 60
  const fraction = (nanoseconds % 1_000_000_000n).toString().padStart(9, '0')
  const clock = new Date(seconds * 1000).toISOString().slice(0, 19)
  if (offsetMinutes === 0) return `${clock}.${fraction}Z`
  const far = Math.abs(offsetMinutes)
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0')
  return `${clock}.${fraction}${offsetMinutes < 0 ? '-' : '+'}${two(far / 60)}:${two(far % 60)}`
}

/** JSON text written by hand, since JSON.stringify knows no numbers past 2^53. */
function write(one: TestEvent, how: Spelling): string {
  const members: [string, string][] = []
  const add = (name: string, value: unknown) => members.push([name, JSON.stringify(value)])
  const { timeUnixNano, value, data, ...rest } = one
  for (const [name, field] of Object.entries(rest)) add(name, field)
  if (timeUnixNano !== undefined) {
    const asTime = how.nanoseconds.startsWith('time') && timeUnixNano > 0n
    if (asTime)
      add('time', rfc3339(timeUnixNano, how.nanoseconds === 'time' ? 0 : Number(timeUnixNano % 1439n) - 719))
    else if (how.nanoseconds === 'number') members.push(['timeUnixNano', timeUnixNano.toString()])
    else add(how.nanoseconds === 'proto name' ? 'time_unix_nano' : 'timeUnixNano', timeUnixNano.toString())
  }
  if (value !== undefined) {
    const number = Object.is(value, -0) ? '-0' : JSON.stringify(value)
    members.push(['value', how.valueAsString ? `"${number}"` : number])
  }
  if (data !== undefined) {
    const standard = Buffer.from(data).toString('base64')
    const text = how.base64.startsWith('url') ? standard.replaceAll('+', '-').replaceAll('/', '_') : standard
    add('data', how.base64.endsWith('bare') || how.base64 === 'url' ? text.replaceAll('=', '') : text)
  }
  if (how.nulls) {
    for (const name of [
      'id',
      'subject',
      'time',
      'timeUnixNano',
      'value',
      'data',
      'datacontenttype',
      'attributes',
    ]) {
      if (!members.some(([present]) => present === name)) members.push([name, 'null'])
    }
  }
  if (how.reversed) members.reverse()
  return `{${members.map(([name, text]) => `"${name}":${text}`).join(', ')}}`
}

test('an event is the same after JSON and frame, however it is written', () => {
  fc.assert(
    fc.property(anyEvents, spelling, (list, how) => {
      const wanted = list.map(normal)
      const texts = list.map((one) => write(one, how))
      assert.deepEqual(json(`[${texts.join(',\n')}]`), wanted)
      assert.deepEqual(json(texts[0]), wanted.slice(0, 1))
      assert.deepEqual(ndjson(texts.join('\n')), wanted)
      assert.deepEqual(ndjson(`\n${texts.join(' \r\n\r\n \t')}\r\n`), wanted)
    }),
    { numRuns: 1000 },
  )
})

test('events longer and shorter than the one before are written whole', () => {
  const data = (size: number) => Buffer.alloc(size, 7).toString('base64')
  for (const sizes of [
    [0, 200, 0],
    [20_000, 0, 300],
    [0, 3_000_000, 100, 0],
  ]) {
    const list = sizes.map((size) => ({
      source: 's',
      type: 't',
      data: data(size),
      attributes: { a: 'x'.repeat(size % 200) },
    }))
    const decoded = json(JSON.stringify(list))
    assert.deepEqual(
      decoded.map((one) => one.data?.length ?? 0),
      sizes,
    )
  }
})

const least = '"source":"s","type":"t"'
const only = (member: string) => json(`{${least},${member}}`)[0]
const why = (member: string) => refusal(jsonToFrame, `{${least},${member}}`)

test('time keeps nanoseconds, offsets and letters of either case', () => {
  const nanoseconds = (text: string) => only(`"time":"${text}"`).timeUnixNano
  const second = 1_000_000_000n
  assert.equal(nanoseconds('1970-01-01T00:00:00.000000001Z'), 1n)
  assert.equal(nanoseconds('2024-02-29T12:00:00Z'), 1709208000n * second)
  assert.equal(nanoseconds('2024-02-29t12:00:00.5z'), 1709208000n * second + second / 2n)
  assert.equal(nanoseconds('2024-02-29T12:00:00.123456789Z'), 1709208000n * second + 123456789n)
  assert.equal(nanoseconds('2024-02-29T12:00:00.1234567899999Z'), 1709208000n * second + 123456789n)
  assert.equal(nanoseconds('2024-02-29T12:00:00+01:30'), 1709202600n * second)
  assert.equal(nanoseconds('2024-02-29T12:00:00-00:00'), 1709208000n * second)
  assert.equal(nanoseconds('1969-12-31T23:30:00-01:00'), 1800n * second)
  assert.equal(nanoseconds('2554-07-21T23:34:33.709551615Z'), 2n ** 64n - 1n)
})

test('a leap second is the first second of the next day', () => {
  const nanoseconds = (text: string) => only(`"time":"${text}"`).timeUnixNano
  assert.equal(nanoseconds('2016-12-31T23:59:60.25Z'), 1483228800_250000000n)
  assert.equal(nanoseconds('2017-01-01T00:59:60+01:00'), 1483228800_000000000n)
  assert.match(why('"time":"2016-12-31T12:00:60Z"'), /leap second/)
})

test('a time that is none, or does not fit, is refused and says why', () => {
  for (const text of [
    '',
    'now',
    '1709208000',
    '2024-02-29',
    '2024-02-29T12:00:00',
    '2024-02-29 12:00:00Z',
    '2024-2-29T12:00:00Z',
    '2024-02-29T12:00Z',
    '2024-02-29T12:00:00.Z',
    '2024-02-29T12:00:00,5Z',
    '2024-02-29T12:00:00+0100',
    ' 2024-02-29T12:00:00Z',
    '+12024-02-29T12:00:00Z',
    'x'.repeat(100_000),
  ]) {
    assert.match(why(`"time":"${text}"`), /^event 1: time .* is not RFC 3339/)
  }
  for (const day of [
    '2023-02-29',
    '2100-02-29',
    '2024-04-31',
    '2024-00-10',
    '2024-13-10',
    '2024-01-00',
    '2024-01-32',
  ]) {
    assert.match(why(`"time":"${day}T00:00:00Z"`), /is no date of the calendar/)
  }
  for (const clock of ['24:00:00Z', '23:60:00Z', '23:59:61Z', '12:00:00+24:00', '12:00:00+00:60']) {
    assert.match(why(`"time":"2024-01-01T${clock}"`), /is no time of day/)
  }
  assert.match(why('"time":"1970-01-01T00:00:00Z"'), /is not after 1970/)
  assert.match(why('"time":"1970-01-01T00:59:59+01:00"'), /is not after 1970/)
  assert.match(why('"time":"0001-01-01T00:00:00Z"'), /is not after 1970/)
  assert.match(why('"time":"2554-07-21T23:34:33.709551616Z"'), /is after 2554-07-21/)
  assert.match(why('"time":"9999-12-31T23:59:59Z"'), /is after 2554-07-21/)
  assert.match(why('"time":1709208000'), /time must be a string.*not a number/)
})

test('time and timeUnixNano together are refused, unless one is null', () => {
  assert.match(
    why('"time":"2024-01-01T00:00:00Z","timeUnixNano":"1"'),
    /time and timeUnixNano are the same field/,
  )
  assert.match(why('"timeUnixNano":"1","time_unix_nano":"1"'), /timeUnixNano and time_unix_nano are the same/)
  assert.equal(only('"time":null,"timeUnixNano":"1"').timeUnixNano, 1n)
})

test('timeUnixNano takes every digit of a number, past where JSON.parse rounds', () => {
  const of = (text: string) => only(`"timeUnixNano":${text}`).timeUnixNano
  assert.equal(of('1700000000123456789'), 1700000000123456789n)
  assert.equal(of('18446744073709551615'), 2n ** 64n - 1n)
  assert.equal(of('"18446744073709551615"'), 2n ** 64n - 1n)
  assert.equal(of('9007199254740993'), 9007199254740993n)
  assert.equal(of('1.7e18'), 1700000000000000000n)
  assert.equal(of('1e3'), 1000n)
  assert.equal(of('0'), undefined)
  for (const bad of [
    '-1',
    '1.5',
    '18446744073709551616',
    '"18446744073709551616"',
    '1e20',
    '1e300',
    '"-1"',
    '""',
    '"1e3"',
    '"0x10"',
    '"1 "',
    'true',
    '[]',
  ]) {
    assert.match(
      why(`"timeUnixNano":${bad}`),
      /^event 1: timeUnixNano (?:must be a whole number|is past 2\^64 - 1)/,
    )
  }
})

test('the digits of a number come from its own event and name', () => {
  const a = '1700000000123456781'
  const b = '1700000000123456782'
  const list =
    json(`[ {${least},"timeUnixNano":${a}}, {"attributes":{"timeUnixNano":"x"},"data":"QUJD",${least}},
    {"timeUnixNano":1,"time\\u0055nixNano":${b},${least}}, {"id":"},{\\"timeUnixNano\\":5","time_unix_nano":${a},${least}} ]`)
  assert.deepEqual(
    list.map((one) => one.timeUnixNano),
    [BigInt(a), undefined, BigInt(b), BigInt(a)],
  )
  assert.match(
    refusal(jsonToFrame, `{${least},"timeUnixNano":${a},"attributes":{"timeUnixNano":${a}}}`),
    /attributes\.timeUnixNano must be a string, not a number/,
  )
  assert.deepEqual(
    ndjson(`{${least},"timeUnixNano":${a}}\n{${least},"timeUnixNano":${b}}`).map((one) => one.timeUnixNano),
    [BigInt(a), BigInt(b)],
  )
})

test('a value is a finite number, or a string that is one', () => {
  assert.equal(only('"value":"-1.5e3"').value, -1500)
  assert.ok(Object.is(only('"value":-0').value, -0))
  assert.equal(only('"value":0').value, 0)
  assert.ok(!('value' in only('"value":null')))
  for (const bad of ['"NaN"', '"Infinity"', '"-Infinity"', '1e999', '"1e999"', '-1e999']) {
    assert.match(why(`"value":${bad}`), /^event 1: value is not a finite number/)
  }
  for (const bad of ['""', '" 1"', '"0x10"', '"1,5"', '"abc"', 'true', '{}', '[1]']) {
    assert.match(why(`"value":${bad}`), /^event 1: value must be a number, not/)
  }
})

test('data is base64 of either alphabet, padded or not, and nothing else', () => {
  for (const text of ['+/+/', '-_-_', 'AA==', 'AA', 'AAA=', 'AAA', '']) {
    assert.deepEqual(
      only(`"data":"${text}"`).data ?? new Uint8Array(),
      new Uint8Array(Buffer.from(text, 'base64')),
    )
  }
  for (const bad of [
    'A',
    'AAAAA',
    'A===',
    'AA=',
    'AAAA=',
    'AA==AA==',
    'AA=A',
    'A AA',
    'AA\\n',
    'AAA!',
    'ŁŁŁŁ',
    '====',
  ]) {
    assert.match(why(`"data":"${bad}"`), /^event 1: data is not base64/)
  }
  assert.match(why('"data":{"a":1}'), /data must be a string of base64, not an object/)
})

test('each field has to be of its kind', () => {
  for (const name of ['id', 'subject', 'datacontenttype', 'source', 'type']) {
    for (const [bad, kind] of [
      ['1', 'a number'],
      ['true', 'a boolean'],
      ['[]', 'an array'],
      ['{}', 'an object'],
    ]) {
      assert.equal(why(`"${name}":${bad}`), `event 1: ${name} must be a string, not ${kind}`)
    }
  }
  assert.equal(why('"attributes":["a"]'), 'event 1: attributes must be an object of strings, not an array')
  assert.equal(why('"attributes":"a"'), 'event 1: attributes must be an object of strings, not a string')
  assert.equal(why('"attributes":{"a":1}'), 'event 1: attributes.a must be a string, not a number')
  assert.equal(why('"attributes":{"a":null}'), 'event 1: attributes.a must be a string, not null')
})

test('source and type are needed', () => {
  for (const name of ['source', 'type']) {
    for (const without of [{}, { [name]: '' }, { [name]: null }]) {
      const body = [
        { source: 's', type: 't' },
        { ...(name === 'type' ? { source: 's' } : { type: 't' }), ...without },
      ]
      assert.equal(refusal(jsonToFrame, JSON.stringify(body)), `event 2: ${name} is missing`)
    }
  }
})

test('an unknown name is refused, with the nearest known one', () => {
  assert.equal(why('"sbuject":"a"'), 'event 1: unknown name "sbuject", did you mean subject?')
  assert.equal(why('"Value":1'), 'event 1: unknown name "Value", did you mean value?')
  assert.equal(
    why('"time_unix_nanos":1'),
    'event 1: unknown name "time_unix_nanos", did you mean timeUnixNano?',
  )
  assert.equal(why('"specversion":"1.0"'), 'event 1: unknown name "specversion"')
  assert.equal(why('"__proto__":{"id":"x"}'), 'event 1: unknown name "__proto__"')
  assert.equal(why('"constructor":null'), 'event 1: unknown name "constructor"')
  assert.match(why(`"${'x'.repeat(100_000)}":1`), /^event 1: unknown name "x{40}…"$/)
})

test('characters of every width come through, in short strings and long ones', () => {
  for (const character of ['\u007f', '\u0080', 'é', '\u07ff', '\u0800', '€', '\uffff', '😀', '\u0000']) {
    for (const count of [1, 15, 16, 47, 48, 49, 127, 128, 256]) {
      const subject = `${'a'.repeat(count - 1)}${character}`
      assert.equal(only(`"subject":${JSON.stringify(subject)}`).subject, subject)
      assert.equal(
        only(`"subject":${JSON.stringify(character.repeat(count))}`).subject,
        character.repeat(count),
      )
    }
  }
})

test('a name that comes twice has its last value', () => {
  assert.equal(only('"id":"1","id":"2"').id, '2')
  assert.deepEqual(only('"attributes":{"a":"1","a":"2"}').attributes, { a: '2' })
})

test('half a surrogate pair is refused, a whole one is kept', () => {
  assert.equal(only('"subject":"\\ud83d\\ude00"').subject, '😀')
  assert.match(why('"subject":"a\\ud83d"'), /^event 1: subject has half of a surrogate pair/)
  assert.match(why('"attributes":{"a":"\\ude00"}'), /^event 1: attributes\.a has half/)
  assert.match(why('"attributes":{"\\ude00":"a"}'), /^event 1: the attribute name "\\ude00" has half/)
})

const long = (bytes: number) => 'x'.repeat(bytes)
/** So many bytes in characters of three bytes, of one where they do not divide. */
const wide = (bytes: number) => '€'.repeat(Math.floor(bytes / 3)) + long(bytes % 3)

test('strings are as long as the scan allows, in bytes, and no longer', () => {
  for (const make of [long, wide]) {
    for (const name of ['id', 'source', 'type', 'subject', 'datacontenttype']) {
      const body = (bytes: number) => JSON.stringify({ source: 's', type: 't', [name]: make(bytes) })
      assert.equal(json(body(STRING_BYTES_MAX)).length, 1)
      const message = `${name} is ${STRING_BYTES_MAX + 1} bytes, ${STRING_BYTES_MAX} at most`
      assert.equal(refusal(jsonToFrame, body(STRING_BYTES_MAX + 1)), `event 1: ${message}`)
      assert.equal(refusal(ndjsonToFrame, `\n${body(STRING_BYTES_MAX + 1)}`), `line 2: ${message}`)
    }
    const attribute = (name: number, value: number) =>
      `"attributes":${JSON.stringify({ [make(name)]: make(value) })}`
    assert.ok(only(attribute(ATTRIBUTE_NAME_BYTES_MAX, STRING_BYTES_MAX)).attributes)
    assert.match(
      why(attribute(ATTRIBUTE_NAME_BYTES_MAX + 1, 0)),
      /^event 1: the attribute name ".*" is 65 bytes, 64 at most$/,
    )
    assert.match(
      why(attribute(1, STRING_BYTES_MAX + 1)),
      /^event 1: attributes\.x is 1025 bytes, 1024 at most$/,
    )
  }
  assert.match(why(`"id":"${long(3_000_000)}"`), /id is 3000000 bytes, 1024 at most/)
})

test('an event has at most so many attributes', () => {
  const attributes = (count: number) =>
    `"attributes":${JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, 'b'])))}`
  assert.equal(
    Object.keys(only(attributes(ATTRIBUTES_PER_EVENT_MAX)).attributes!).length,
    ATTRIBUTES_PER_EVENT_MAX,
  )
  assert.equal(
    why(attributes(ATTRIBUTES_PER_EVENT_MAX + 1)),
    `event 1: attributes has more than ${ATTRIBUTES_PER_EVENT_MAX} entries`,
  )
})

test('a body has at most so many events', () => {
  const one = `{${least}}`
  const list = (count: number) => `[${Array(count).fill(one).join(',')}]`
  const lines = (count: number) => Array(count).fill(one).join('\n')
  assert.equal(jsonToFrame(bytesOf(list(EVENTS_PER_BODY_MAX))).events, EVENTS_PER_BODY_MAX)
  assert.match(
    refusal(jsonToFrame, list(EVENTS_PER_BODY_MAX + 1)),
    /^the body has 100001 events, 100000 at most$/,
  )
  assert.equal(ndjsonToFrame(bytesOf(lines(EVENTS_PER_BODY_MAX))).events, EVENTS_PER_BODY_MAX)
  assert.match(
    refusal(ndjsonToFrame, lines(EVENTS_PER_BODY_MAX + 1)),
    /^line 100001: a body has 100000 events at most$/,
  )
})

test('a body without events is refused', () => {
  assert.equal(refusal(jsonToFrame, '[]'), 'the body has no events')
  for (const body of ['', '\n', ' \r\n\t\r\n'])
    assert.equal(refusal(ndjsonToFrame, body), 'the body has no events')
})

test('what is not an event is refused by its number or line', () => {
  for (const [body, kind] of [
    ['1', 'a number'],
    ['"x"', 'a string'],
    ['null', 'null'],
    ['true', 'a boolean'],
    ['[[]]', 'an array'],
  ]) {
    assert.equal(refusal(jsonToFrame, body), `event 1: an event must be an object, not ${kind}`)
  }
  assert.equal(refusal(jsonToFrame, `[{${least}},7]`), 'event 2: an event must be an object, not a number')
  assert.equal(
    refusal(ndjsonToFrame, `{${least}}\n[{${least}}]`),
    'line 2: an event must be an object, not an array',
  )
})

test('where a body stops being JSON is told by line and column', () => {
  for (const [body, message] of [
    ['', 'line 1, column 1: not JSON: a value is expected here'],
    ['{"id":}', 'line 1, column 7: not JSON: a value is expected here'],
    ['{"id":1,}', 'line 1, column 9: not JSON: a name in double quotes is expected here'],
    ["{\n 'id':1}", 'line 2, column 2: not JSON: a name in double quotes, or } is expected here'],
    ['[{},\n{"id" "x"}]', 'line 2, column 7: not JSON: a colon is expected here'],
    ['[{},\n\n{} {}]', 'line 3, column 4: not JSON: a comma or ] is expected here'],
    ['{"id":"a" "b":1}', 'line 1, column 11: not JSON: a comma or } is expected here'],
    [
      '{"id":"a\nb"}',
      'line 1, column 9: not JSON: the end of the string, or what may be in one, is expected here',
    ],
    ['{} x', 'line 1, column 4: not JSON: the end is expected here'],
  ]) {
    assert.equal(refusal(jsonToFrame, body), message)
  }
  assert.equal(
    refusal(ndjsonToFrame, `{${least}}\r\n\r\n{${least},}`),
    'line 3, column 26: not JSON: a name in double quotes is expected here',
  )
})

test('the fault that is shown is where JSON.parse stops too', () => {
  const jsonText = fc.oneof(
    fc.json(),
    anyEvent.map((one) => JSON.stringify({ ...one, timeUnixNano: undefined }, null, 1)),
  )
  const damage = fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.nat(2),
    fc.oneof(fc.constantFrom(...'{}[]:,"\\0-1.eEt \n\u0001'), fc.constant('')),
  )
  fc.assert(
    fc.property(jsonText, fc.array(damage, { maxLength: 3 }), (original, list) => {
      let text = original
      for (const [where, remove, put] of list) {
        const at = Math.floor(where * text.length)
        text = text.slice(0, at) + put + text.slice(at + remove)
      }
      let message: string | undefined
      try {
        JSON.parse(text)
      } catch (error) {
        message = (error as Error).message
      }
      const fault = faultOf(text)
      assert.equal(fault === undefined, message === undefined, message)
      if (fault === undefined) return
      assert.ok(fault.at <= text.length)
      // Where V8 names the place of a token it did not expect; inside of tokens it counts otherwise.
      const position = /^(?:Expected|Unexpected non-whitespace).* at position (\d+)/.exec(message!)?.[1]
      if (position !== undefined) assert.equal(fault.at, Number(position), message)
      // What stands before the fault has no other fault than that it ends.
      if (fault.at < text.length) assert.equal(faultOf(text.slice(0, fault.at))?.at ?? fault.at, fault.at)
    }),
    { numRuns: 3000 },
  )
})

test('a body nested as deep as it can be is refused like any other', () => {
  const depth = 100_000
  for (const [open, close] of [
    ['[', ']'],
    ['{"data":', '}'],
    [`[{${least},"attributes":{"a":`, '}}]'],
  ]) {
    refusal(jsonToFrame, open.repeat(depth) + (open === '[' ? '' : '1') + close.repeat(depth))
    refusal(jsonToFrame, open.repeat(depth))
    refusal(ndjsonToFrame, `{${least}}\n${open.repeat(depth)}`)
  }
})

test('a body that is not UTF-8 is refused by its line', () => {
  const bad = Buffer.concat([
    Buffer.from(`{${least}}\n{"id":"`),
    Buffer.from([0xc3, 0x28]),
    Buffer.from('"}'),
  ])
  assert.equal(refusal(jsonToFrame, bad), 'line 2: this is not UTF-8')
  assert.equal(refusal(ndjsonToFrame, bad), 'line 2: this is not UTF-8')
})

test('a byte order mark is passed over', () => {
  assert.equal(json(`\ufeff{${least}}`).length, 1)
  assert.equal(ndjson(`\ufeff{${least}}\n`).length, 1)
})

test('a refused body leaves nothing behind for the next one', () => {
  refusal(jsonToFrame, `[{${least}},{${least}},{"source":1}]`)
  assert.equal(json(`{${least}}`).length, 1)
  refusal(ndjsonToFrame, `{${least}}\n{`)
  assert.equal(ndjson(`{${least}}`).length, 1)
})
