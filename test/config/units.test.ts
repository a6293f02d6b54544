import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatDuration,
  formatListen,
  formatSize,
  parseDuration,
  parseListen,
  parseSize,
} from '../../src/config/units.ts'

test('sizes: binary and decimal units, fractions, plain bytes', () => {
  const sizes: [unknown, number][] = [
    ['4MiB', 4_194_304],
    ['10GiB', 10_737_418_240],
    ['1KB', 1000],
    ['1kB', 1000],
    ['1.5 KiB', 1536],
    ['7B', 7],
    [512, 512],
    ['512', 512],
    ['0', 0],
  ]
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, String(text))
})

test('durations', () => {
  const durations: [string, number][] = [
    ['500ms', 500],
    ['1m', 60_000],
    ['1.5h', 5_400_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ]
  for (const [text, milliseconds] of durations) assert.equal(parseDuration(text), milliseconds, text)
})

test('what is no size, duration or address is a RangeError that says why', () => {
  const wrong: [parse: (value: unknown) => unknown, value: unknown, message: RegExp][] = [
    [parseSize, '4mib', /unknown unit mib.*did you mean MiB\?/],
    [parseSize, '1.5B', /not a whole number of bytes/],
    [parseSize, '99999999TiB', /more than any disk/],
    [parseSize, Number.NaN, /is not a size/],
    [parseSize, '', /is not a size/],
    [parseDuration, '1w', /unknown unit w/],
    [parseDuration, '0.1ms', /too short/],
    [parseDuration, '1.5ms', /not a whole number of milliseconds/],
    [parseDuration, '36526d', /too long/],
    [parseDuration, 5, /has no unit: write 5s/],
    [parseDuration, null, /must be a duration, not nothing/],
    [parseListen, '127.0.0.1', /is not an address/],
    [parseListen, 7070, /is not an address: write host:port/],
    [parseListen, '::1:7070', /is not an address/],
    [parseListen, '[127.0.0.1]:70', /is not an IPv6 address/],
    [parseListen, 'a:65536', /port 65536 is out of range: 0 to 65535/],
    [parseListen, 'a b:1', /is not a host name/],
    [parseListen, 'a:-1', /is not an address/],
  ]
  for (const [parse, value, message] of wrong) {
    assert.throws(() => parse(value), { name: 'RangeError', message }, String(value))
  }
})

test('what is formatted is read as the same', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 50 }),
      fc.integer({ min: 1, max: 3_155_760_000_000 }),
      (b, ms) => {
        assert.equal(parseSize(formatSize(b)), b)
        assert.equal(parseDuration(formatDuration(ms)), ms)
      },
    ),
  )
  assert.equal(formatSize(4 * 2 ** 20), '4MiB')
  assert.equal(formatDuration(86_400_000), '24h')
  for (const address of ['[::1]:0', 'db.local:1', '127.0.0.1:65535']) {
    assert.equal(formatListen(parseListen(address)), address)
  }
})
