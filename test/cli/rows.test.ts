import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { millrace } from '#proto'
import type { Batch } from '../../src/cli/rows/batch.ts'
import { csvBatches } from '../../src/cli/rows/csv.ts'
import type { Mapping } from '../../src/cli/rows/encoder.ts'
import { frameBatches } from '../../src/cli/rows/frames.ts'
import { ndjsonBatches } from '../../src/cli/rows/ndjson.ts'
import { parquetBatches } from '../../src/cli/rows/parquet.ts'
import { type TimeUnit, timeOf } from '../../src/cli/rows/time.ts'
import { decode, FakeDaemon, run } from './fake.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-rows-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const flights = resolve(import.meta.dirname, '../../../node_modules/vega-datasets/data/flights-3m.parquet')

const size = { events: 500, bytes: 512 * 1024 }
const mapping: Mapping = { type: 't', source: 's', attributes: [] }

/** The bytes in pieces of these lengths, over and over. */
function pieces(bytes: Uint8Array, lengths: number[]): AsyncIterable<Buffer> {
  const parts: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = Math.min(bytes.length, at + Math.max(1, lengths[i % lengths.length]))
    parts.push(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  return Readable.from(parts)
}

async function all(batches: AsyncIterable<Batch>): Promise<Batch[]> {
  const list: Batch[] = []
  for await (const batch of batches) list.push(batch)
  return list
}

async function csv(text: string, over: Partial<Mapping> = {}, lengths = [7]) {
  return all(csvBatches(pieces(Buffer.from(text), lengths), { ...mapping, ...over }, size, undefined))
}

test('CSV: columns become fields, quotes and line ends are understood, empty cells are left out', async () => {
  const text =
    '\ufeffwhen,name,n,"the id",kind\r\n' +
    '2026-01-02T03:04:05.5Z,"a, ""b""",1.5,x1,\r\n' +
    '\r\n' +
    ',"two\nlines",,x2,k\r\n'
  const batches = await csv(text, {
    time: 'when',
    subject: 'name',
    value: 'n',
    id: 'the id',
    attributes: [{ name: 'sort', column: 'kind' }],
  })
  assert.equal(batches.length, 1)
  assert.deepEqual(decode(batches[0].bytes), [
    { id: 'x1', source: 's', type: 't', subject: 'a, "b"', timeUnixNano: '1767323045500000000', value: 1.5 },
    { id: 'x2', source: 's', type: 't', subject: 'two\nlines', attributes: { sort: 'k' } },
  ])
  assert.deepEqual(batches[0].numbers, [2, 5], 'lines of the file on which the records end')
})

for (const [claim, text, over, message] of [
  ['a number that is none', 'v\n1\nabc\n', { value: 'v' }, 'line 3: column v: "abc" is not a finite number'],
  ['a hexadecimal number', 'v\n0x10\n', { value: 'v' }, 'line 2: column v: "0x10" is not a finite number'],
  [
    'a number that is too large',
    'v\n1e999\n',
    { value: 'v' },
    'line 2: column v: "1e999" is not a finite number',
  ],
  ['a time that is none', 'v\nsoon\n', { time: 'v' }, 'line 2: time "soon" is not RFC 3339: write it like'],
  [
    'a row with a field too many',
    'a,b\n1,2\n1,2,3\n',
    {},
    'Invalid Record Length: expect 2, got 3 on line 3',
  ],
  [
    'a quote that does not end',
    'a\n"1\n',
    {},
    'Quote Not Closed: the parsing is finished with an opening quote at line 2',
  ],
] as const) {
  test(`CSV: ${claim} is an error with its line`, async () => {
    await assert.rejects(csv(text, over), (error: Error) => {
      assert.equal(error.name, 'InputError')
      assert.ok(error.message.startsWith(message), error.message)
      return true
    })
  })
}

test('CSV: a column that is not there is wrong usage, with the nearest one', async () => {
  await assert.rejects(csv('origin,delay\na,1\n', { subject: 'orign' }), {
    name: 'UsageError',
    message: 'there is no column orign; did you mean origin?',
  })
  await assert.rejects(csv('a,b,a\n', { subject: 'a' }), { message: 'there are two columns a' })
})

test('CSV: what was read before the error is sent, and the summary says so', async (t) => {
  const daemon = await FakeDaemon.start(t)
  const path = join(folder, 'bad.csv')
  writeFileSync(path, 'v\n1\n2\n3\nx\n')
  const words = ['--type', 't', '--source', 's', '--value', 'v', '--batch', '2', '--url', daemon.url]
  const { code, stdout, stderr } = await run(['send', path, ...words])
  assert.equal(code, 1)
  assert.match(stdout, /^sent 2 {2}acked 2 /)
  assert.equal(stderr, `millrace send: ${path}: line 5: column v: "x" is not a finite number\n`)
  assert.deepEqual(
    daemon.events.map(({ value }) => value),
    [1, 2],
  )
})

test('times: RFC 3339, dates, and Unix times by their size or by a unit', () => {
  const times: [text: string, unit: TimeUnit | undefined, nanoseconds: bigint][] = [
    ['2001-02-03T04:05:06.789Z', undefined, 981_173_106_789_000_000n],
    ['2001-02-03 04:05:06+01:00', undefined, 981_169_506_000_000_000n],
    ['2001-02-03', undefined, 981_158_400_000_000_000n],
    ['2001-02-03 04:05', undefined, 981_173_100_000_000_000n],
    ['2001-02-03 04:05:06.000000001', undefined, 981_173_106_000_000_001n],
    [' 2001-02-03T04:05:06 ', undefined, 981_173_106_000_000_000n],
    ['981173106', undefined, 981_173_106_000_000_000n],
    ['981173106.25', undefined, 981_173_106_250_000_000n],
    ['981173106789', undefined, 981_173_106_789_000_000n],
    ['981173106789012', undefined, 981_173_106_789_012_000n],
    ['1767323045123456789', undefined, 1_767_323_045_123_456_789n],
    ['99999999999', undefined, 99_999_999_999_000_000_000n],
    ['99999999999999', undefined, 99_999_999_999_999_000_000n],
    ['99999999999999999', undefined, 99_999_999_999_999_999_000n],
    ['1500', 'ms', 1_500_000_000n],
    ['7', 'ns', 7n],
    ['1.5', 'us', 1500n],
    ['12345678901234', 's', 0n],
  ]
  for (const [text, unit, nanoseconds] of times) {
    if (nanoseconds === 0n) {
      assert.throws(() => timeOf(text, unit), /too far ahead in s/, text)
      continue
    }
    const { seconds, nanos } = timeOf(text, unit)
    assert.equal(BigInt(seconds) * 1_000_000_000n + BigInt(nanos), nanoseconds, text)
  }
  for (const text of ['0', '1969-12-31', '2001-02-30', '-5', 'yesterday']) {
    assert.throws(() => timeOf(text, undefined), Error, text)
  }
})

test('Parquet: the rows of the file, in their order, exactly', async () => {
  const columns: Mapping = {
    type: 'flight',
    source: 'bts',
    subject: 'origin',
    time: 'date',
    value: 'delay',
    attributes: [
      { name: 'to', column: 'destination' },
      { name: 'distance', column: 'distance' },
    ],
  }
  const batches: Batch[] = []
  for await (const batch of parquetBatches(flights, columns, { events: 400, bytes: size.bytes })) {
    batches.push(batch)
    if (batches.length === 3) break
  }
  assert.deepEqual(
    batches.map(({ from, to, unit }) => [from, to, unit]),
    [
      [1, 400, 'row'],
      [401, 800, 'row'],
      [801, 1200, 'row'],
    ],
  )
  const file = await asyncBufferFromFile(flights)
  const rows = await parquetReadObjects({ file, compressors, rowStart: 0, rowEnd: 1000 })
  const events = batches.flatMap(({ bytes }) => decode(bytes)).slice(0, 1000)
  assert.deepEqual(
    events,
    rows.map(({ date, delay, distance, origin, destination }) => ({
      source: 'bts',
      type: 'flight',
      subject: origin,
      timeUnixNano: String(BigInt(date.getTime()) * 1_000_000n),
      value: Number(delay),
      attributes: { to: destination, distance: String(distance) },
    })),
  )
})

test('Parquet: rows go on counting past the end of a row group', async () => {
  let last = 0
  let groups = 0
  for await (const { from, to, events } of parquetBatches(flights, mapping, {
    events: 90_000,
    bytes: 2 ** 30,
  })) {
    assert.equal(from, last + 1)
    assert.equal(to - from + 1, events)
    last = to
    groups++
  }
  assert.deepEqual([last, groups], [3_000_000, 34])
})

test('Parquet: a timestamp makes a readable attribute, a wrong column or file a clear error', async () => {
  const dated = { ...mapping, attributes: [{ name: 'date', column: 'date' }] }
  for await (const { bytes } of parquetBatches(flights, dated, size)) {
    assert.match(decode(bytes)[0].attributes.date, /^2001-01-01T\d\d:\d\d:00\.000Z$/)
    break
  }
  const first = (path: string, over: Partial<Mapping>) =>
    parquetBatches(path, { ...mapping, ...over }, size).next()
  await assert.rejects(first(flights, { value: 'dealy' }), /there is no column dealy; did you mean delay\?/)
  await assert.rejects(
    first(flights, { value: 'origin' }),
    /row 1: column origin: "[A-Z]{3}" is not a finite number/,
  )
  const path = join(folder, 'not.parquet')
  writeFileSync(path, 'this is not Parquet at all')
  await assert.rejects(first(path, {}), /this is not a Parquet file that can be read/)
})

const line = fc.oneof(
  fc.constant('{"source":"s"}'),
  fc.constant(''),
  fc.constant(' \t'),
  fc.string().map((s) => JSON.stringify(s)),
)

test('NDJSON: whatever the pieces, all lines go out as they are, none cut, and are numbered', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 30 }),
      fc.boolean(),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 100 }),
      async (list, ended, lengths, events, bytes) => {
        const text = list.join('\r\n') + (ended ? '\n' : '')
        const input = pieces(Buffer.from(text), lengths)
        const batches = await all(ndjsonBatches(input, { events, bytes }, undefined))
        const expected = text.split('\n').filter((one) => one.trim() !== '')
        const sent = batches.flatMap((batch) => {
          const filled = batch.bytes.toString().split('\n')
          assert.deepEqual(
            text.split('\n').slice(batch.from - 1, batch.to),
            filled.slice(0, batch.to - batch.from + 1),
          )
          const own = filled.filter((one) => one.trim() !== '')
          assert.equal(own.length, batch.events)
          assert.ok(batch.events >= 1 && batch.events <= events)
          return own
        })
        assert.deepEqual(sent, expected)
      },
    ),
  )
})

test('frames: whatever the pieces, cut between events, and laid end to end the same bytes', async () => {
  const event = fc.record({
    source: fc.string({ minLength: 1 }),
    type: fc.constant('t'),
    data: fc.uint8Array({ maxLength: 300 }),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      fc.integer({ min: 1, max: 5 }),
      async (list, lengths, events) => {
        const file = millrace.v1.Frame.encode({ events: list }).finish()
        const batches = await all(frameBatches(pieces(file, lengths), { events, bytes: 400 }, file.length))
        assert.deepEqual(Buffer.concat(batches.map(({ bytes }) => bytes)), Buffer.from(file))
        for (const batch of batches) {
          assert.equal(millrace.v1.Frame.decode(batch.bytes).events.length, batch.events)
          assert.equal(batch.to - batch.from + 1, batch.events)
        }
        assert.equal(batches.at(-1)?.to ?? 0, list.length)
        assert.equal(batches.at(-1)?.fraction ?? 1, 1)
      },
    ),
  )
})

test('frames: what is no event, or cut off, is an error with its number and byte', async () => {
  const file = millrace.v1.Frame.encode({ events: [{ source: 's', type: 't' }] }).finish()
  const broken = (bytes: Uint8Array) => all(frameBatches(pieces(bytes, [3]), size, undefined))
  await assert.rejects(broken(Buffer.concat([file, Buffer.from('{}')])), {
    message: `event 2 (byte ${file.length}): this is not an event of a frame`,
  })
  await assert.rejects(
    broken(file.subarray(0, -1)),
    /event 1 is cut off: the last 7 bytes are not a whole event/,
  )
  await assert.rejects(
    broken(Buffer.from([10, 255, 255, 255, 255, 255])),
    /its length is not a number of 32 bits/,
  )
})
