// A record of a chunk file: a segment with what is needed to know it again.
//
//   0  u32  length        bytes of the segment
//   4  u32  in its write  how many records before it were made durable by the same sync
//   8  u64  prior bytes   bytes of this lane's earlier records, in this chunk and before
//  16  u32  CRC-32        of all of these and the segment
//  20       segment       (segment.ts)
//
// A chunk is a run of records from its first byte, then zeros, or what is left of the records it held before it was
// recycled. A record is one of this lane when its CRC checks, its segment names this lane's writer, and its sequence
// is not below the one expected: what an earlier use of the file left behind fails one of the three.

import { crc32 } from 'node:zlib'
import { HEADER_BYTES, readU64, Segment, SegmentHeader, writeU64 } from '../segment.ts'

export const RECORD_HEAD_BYTES = 20
const CRC_AT = 16

export function recordBytes(segment: Segment): number {
  return RECORD_HEAD_BYTES + segment.bytes.length
}

/** Writes the head of the segment's record, the `inWrite`th of its write from 0. */
export function writeHead(
  head: Buffer,
  at: number,
  segment: Segment,
  inWrite: number,
  priorBytes: number,
): void {
  head.writeUInt32LE(segment.bytes.length, at)
  head.writeUInt32LE(inWrite, at + 4)
  writeU64(head, at + 8, priorBytes)
  head.writeUInt32LE(crc32(segment.bytes, crc32(head.subarray(at, at + CRC_AT))), at + CRC_AT)
}

/** What the first bytes of a record tell. Nothing of it is checked by its CRC. */
export interface Head {
  sequence: number
  /** In its segment, and in those of its lane before it. */
  events: number
  bodies: number
  priorEvents: number
  priorBodies: number
  /** Of the whole record, and of those of its lane before it. */
  bytes: number
  priorBytes: number
  inWrite: number
}

/** How many bytes of a record `readHead` needs. */
export const HEAD_BYTES = RECORD_HEAD_BYTES + HEADER_BYTES

/** The head of the record at `at`, if one of this writer may begin there. */
export function readHead(bytes: Buffer, at: number, writer: string): Head | undefined {
  if (at + HEAD_BYTES > bytes.length) return undefined
  try {
    const segment = new SegmentHeader(bytes.subarray(at + RECORD_HEAD_BYTES, at + HEAD_BYTES))
    const { length, sequence, events, bodies, priorEvents, priorBodies } = segment
    if (bytes.readUInt32LE(at) !== length || segment.writer !== writer) return undefined
    return {
      sequence,
      events,
      bodies,
      priorEvents,
      priorBodies,
      bytes: RECORD_HEAD_BYTES + length,
      priorBytes: readU64(bytes, at + 8),
      inWrite: bytes.readUInt32LE(at + 4),
    }
  } catch {
    return undefined
  }
}

export type Read =
  | { kind: 'record'; segment: Segment; inWrite: number; priorBytes: number; end: number }
  /** The record may go on after the bytes at hand: so many are needed from its start. */
  | { kind: 'more'; bytes: number }
  | { kind: 'none' }

/** The record at `at`, if there is one of this writer with at least this sequence. */
export function readRecord(
  bytes: Buffer,
  at: number,
  writer: string,
  sequence: number,
  bytesMax: number,
): Read {
  if (bytes.length - at < RECORD_HEAD_BYTES) return { kind: 'more', bytes: RECORD_HEAD_BYTES }
  const length = bytes.readUInt32LE(at)
  if (length < HEADER_BYTES || length > bytesMax) return { kind: 'none' }
  const end = at + RECORD_HEAD_BYTES + length
  if (end > bytes.length) return { kind: 'more', bytes: RECORD_HEAD_BYTES + length }
  const body = bytes.subarray(at + RECORD_HEAD_BYTES, end)
  if (crc32(body, crc32(bytes.subarray(at, at + CRC_AT))) !== bytes.readUInt32LE(at + CRC_AT))
    return { kind: 'none' }
  try {
    const segment = new Segment(body)
    if (segment.writer !== writer || segment.sequence < sequence) return { kind: 'none' }
    return {
      kind: 'record',
      segment,
      inWrite: bytes.readUInt32LE(at + 4),
      priorBytes: readU64(bytes, at + 8),
      end,
    }
  } catch {
    return { kind: 'none' }
  }
}
