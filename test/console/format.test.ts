import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, count, duration, keyText, measured, rate, time } from '../../src/console/format.ts'

test('counts and numbers of measures keep their whole part in full, so that they can be compared', () => {
  assert.equal(count(12_345_678), '12,345,678')
  assert.deepEqual([1_234_567.891, 42, 0.123456, -17.5, undefined, 'NaN'].map(measured), [
    ...['1,234,567.89', '42', '0.1235', '-17.5', '–', 'NaN'],
  ])
})

test('rates, times and sizes are as long as they need to be', () => {
  assert.deepEqual([0, 0.25, 9.96, 12_345.6, 4_321_000].map(rate), ['0', '0.3', '10', '12,346', '4.32M'])
  assert.deepEqual([undefined, 0, 0.000_42, 0.0123, 1.5, 119, 600, 9000].map(duration), [
    '–',
    '0 s',
    '420 µs',
    '12.3 ms',
    '1.50 s',
    '119 s',
    '10 min',
    '3 h',
  ])
  assert.deepEqual([0, 999, 1000, 5 * 2 ** 20, 3.5 * 2 ** 30].map(bytes), [
    ...['0 B', '999 B', '0.98 KiB', '5.00 MiB', '3.50 GiB'],
  ])
})

test('a time of another day has its date, and what is no time is left as it is', () => {
  const now = new Date(2026, 0, 31, 12)
  assert.equal(time(new Date(2026, 0, 31, 9, 5, 7).toISOString(), now), '09:05:07')
  assert.equal(time(new Date(2025, 11, 1, 9, 5, 7).toISOString(), now), '2025-12-01 09:05:07')
  assert.equal(time('never', now), 'never')
})

test('an empty part of a key is told', () => {
  assert.equal(keyText(['a', '', 'b c']), 'a · (empty) · b c')
})
