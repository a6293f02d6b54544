// A record is known again only if it is whole, of this writer, and new.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RECORD_HEAD_BYTES, readRecord, recordBytes, writeHead } from '../../src/log/embedded/record.ts'
import { segment } from './segments.ts'

const WRITER = '0123456789abcdef'
const SEQUENCE = 5

function record(): Buffer {
  const one = segment('name', 40)
  one.stamp(WRITER, SEQUENCE, 11, 12)
  const bytes = Buffer.alloc(recordBytes(one) + 100)
  writeHead(bytes, 0, one, 3, 4096)
  one.bytes.copy(bytes, RECORD_HEAD_BYTES)
  return bytes
}

test('a record is read as it was written', () => {
  const bytes = record()
  const read = readRecord(bytes, 0, WRITER, SEQUENCE, bytes.length)
  assert.ok(read.kind === 'record')
  assert.equal(read.end, bytes.length - 100)
  assert.equal(read.inWrite, 3)
  assert.equal(read.priorBytes, 4096)
  assert.equal(read.segment.sequence, SEQUENCE)
})

test('no bit of a record can be turned unnoticed', () => {
  const bytes = record()
  for (let bit = 0; bit < 8 * (bytes.length - 100); bit++) {
    const turned = Buffer.from(bytes)
    turned[bit >> 3] ^= 1 << (bit & 7)
    assert.notEqual(readRecord(turned, 0, WRITER, 0, turned.length).kind, 'record', `bit ${bit}`)
  }
})

test('a record that is cut off asks for the bytes that are missing', () => {
  const bytes = record()
  const whole = bytes.length - 100
  for (let length = 0; length < whole; length++) {
    const read = readRecord(bytes.subarray(0, length), 0, WRITER, SEQUENCE, bytes.length)
    assert.deepEqual(read, { kind: 'more', bytes: length < RECORD_HEAD_BYTES ? RECORD_HEAD_BYTES : whole })
  }
})

test('a record of another writer, or of an earlier use of the chunk, is none', () => {
  const bytes = record()
  assert.equal(readRecord(bytes, 0, 'fedcba9876543210', SEQUENCE, bytes.length).kind, 'none')
  assert.equal(readRecord(bytes, 0, WRITER, SEQUENCE + 1, bytes.length).kind, 'none')
  assert.equal(readRecord(Buffer.alloc(200), 0, WRITER, 0, 200).kind, 'none')
})
