// A segment: the unit that moves from a listener through the log to the processor.
//
//   0  u32  magic "MRS1"
//   4  u32  frameBytes           bytes of frames
//   8  u32  tableBytes           bytes of the body table
//  12  u32  bodies               bodies of clients in it
//  16  u32  events               events in it
//  20  u32  hasProducers         1 when some body names a producer
//  24  u64  writer               big endian, so that its hex digits read in order
//  32  u64  sequence             of this writer, from 0, rising; gaps are segments that were refused
//  40  u64  receivedAt           Unix milliseconds: the time of an event that carries none
//  48  u64  priorEvents          events in this writer's earlier segments: shows how many a damaged record held
//  56  u64  priorBodies          bodies likewise
//  64       frames               the bodies' frames, laid end to end: together one valid Frame
//           body table           an entry for each body, in the same order:
//             u32 frameBytes, u32 events, u8 producerBytes, u8 correlationBytes, u16 0,
//             if producerBytes: u64 producer sequence, producer (ASCII); then the correlation id (ASCII)
//
// All little endian but `writer`. Numbers called u64 stay below 2^53.

import { SEGMENT_BODIES_MAX, SEGMENT_BYTES_TARGET, SEGMENT_HEADER_BYTES } from '../limits.ts'

const MAGIC = 0x3153524d
export const HEADER_BYTES = SEGMENT_HEADER_BYTES
const ENTRY_BYTES = 12
/** One segment fills while another one is on its way. */
const SPARE_MAX = 2
/** What one large body needed beyond is let go. */
const SPARE_BYTES_MAX = 2 * SEGMENT_BYTES_TARGET
const TWO_32 = 4294967296

/** One client's body inside a segment. Offsets are into the segment's frames. */
export interface Body {
  start: number
  end: number
  events: number
  /** The identity that the client gave, or undefined. */
  producer: string | undefined
  sequence: number
  /** The correlation id, or empty where the client sent none. */
  correlation: string
}

/** What an encoded segment says of itself in its first HEADER_BYTES. */
export class SegmentHeader {
  readonly bytes: Buffer

  /** The bytes may end behind the header. Throws RangeError where they are not those of a segment. */
  constructor(bytes: Buffer) {
    if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== MAGIC) throw new RangeError('not a segment')
    this.bytes = bytes
  }

  /** Bytes of the whole segment. */
  get length(): number {
    return HEADER_BYTES + this.frameBytes + this.tableBytes
  }
  get frameBytes(): number {
    return this.bytes.readUInt32LE(4)
  }
  get tableBytes(): number {
    return this.bytes.readUInt32LE(8)
  }
  get bodies(): number {
    return this.bytes.readUInt32LE(12)
  }
  get events(): number {
    return this.bytes.readUInt32LE(16)
  }
  get writer(): string {
    return this.bytes.toString('hex', 24, 32)
  }
  get sequence(): number {
    return readU64(this.bytes, 32)
  }
  get receivedAt(): number {
    return readU64(this.bytes, 40)
  }
  get priorEvents(): number {
    return readU64(this.bytes, 48)
  }
  get priorBodies(): number {
    return readU64(this.bytes, 56)
  }
}

/** An encoded segment: views on one run of bytes, parsed when asked. */
export class Segment extends SegmentHeader {
  /** Takes over the bytes of one encoded segment. Throws RangeError where they are not one. */
  constructor(bytes: Buffer) {
    super(bytes)
    if (this.length !== bytes.length) throw new RangeError('a segment of another length')
  }

  get frames(): Buffer {
    return this.bytes.subarray(HEADER_BYTES, HEADER_BYTES + this.frameBytes)
  }
  /** True when some body names a producer, so that bodies have to be looked at one by one. */
  get hasProducers(): boolean {
    return this.bytes.readUInt32LE(20) !== 0
  }

  /** Gives the segment its identity. Called once, by the log writer, when its place in the order is known. */
  stamp(writer: string, sequence: number, priorEvents: number, priorBodies: number): void {
    this.bytes.write(writer, 24, 8, 'hex')
    writeU64(this.bytes, 32, sequence)
    writeU64(this.bytes, 48, priorEvents)
    writeU64(this.bytes, 56, priorBodies)
  }

  /** The bodies, in the order they came. */
  *table(): Generator<Body> {
    const { bytes } = this
    let at = HEADER_BYTES + this.frameBytes
    let start = 0
    for (let left = this.bodies; left > 0; left--) {
      const end = start + bytes.readUInt32LE(at)
      const events = bytes.readUInt32LE(at + 4)
      const producerBytes = bytes[at + 8]
      const correlationBytes = bytes[at + 9]
      at += ENTRY_BYTES
      let producer: string | undefined
      let sequence = 0
      if (producerBytes > 0) {
        sequence = readU64(bytes, at)
        producer = bytes.toString('latin1', at + 8, at + 8 + producerBytes)
        at += 8 + producerBytes
      }
      const correlation = correlationBytes > 0 ? bytes.toString('latin1', at, at + correlationBytes) : ''
      at += correlationBytes
      yield { start, end, events, producer, sequence, correlation }
      start = end
    }
  }
}

/**
 * Fills a segment body by body. Frames go straight to their final place; the table is kept apart and laid behind
 * them by `seal`.
 */
export class SegmentBuilder {
  #bytes: Buffer
  #end = HEADER_BYTES
  #table: Buffer
  #tableEnd = 0
  #bodies = 0
  #events = 0
  #hasProducers = 0
  #receivedAt = 0
  /** Memory of earlier segments, to be filled again. */
  readonly #spare: Buffer[] = []

  /** `capacity`: bytes of frames expected; it grows when they are exceeded. */
  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafeSlow(HEADER_BYTES + capacity)
    this.#table = Buffer.allocUnsafeSlow(4096)
  }

  get bodies(): number {
    return this.#bodies
  }
  get events(): number {
    return this.#events
  }
  get frameBytes(): number {
    return this.#end - HEADER_BYTES
  }
  get full(): boolean {
    return this.#bodies >= SEGMENT_BODIES_MAX
  }

  /**
   * Copies one body in. `producer` and `correlation` are ASCII, at most 255 bytes, and may be empty;
   * `now` is the time of receipt in Unix milliseconds (the first body's becomes the segment's).
   */
  add(
    frame: Uint8Array,
    events: number,
    producer: string,
    sequence: number,
    correlation: string,
    now: number,
  ): void {
    if (this.#bodies === 0) this.#receivedAt = now
    this.#bytes = ensure(this.#bytes, this.#end, frame.length)
    this.#bytes.set(frame, this.#end)
    this.#end += frame.length

    const entryBytes = ENTRY_BYTES + (producer.length > 0 ? 8 + producer.length : 0) + correlation.length
    this.#table = ensure(this.#table, this.#tableEnd, entryBytes)
    const table = this.#table
    let at = this.#tableEnd
    table.writeUInt32LE(frame.length, at)
    table.writeUInt32LE(events, at + 4)
    table.writeUInt32LE(producer.length | (correlation.length << 8), at + 8)
    at += ENTRY_BYTES
    if (producer.length > 0) {
      writeU64(table, at, sequence)
      at += 8 + table.write(producer, at + 8, 'latin1')
      this.#hasProducers = 1
    }
    if (correlation.length > 0) at += table.write(correlation, at, 'latin1')
    this.#tableEnd = at
    this.#bodies++
    this.#events += events
  }

  /**
   * Takes back the memory of a segment that this builder sealed and that nobody looks at any more: memory made anew for
   * each segment has V8 collect garbage all the time.
   */
  reuse(segment: Segment): void {
    const { buffer } = segment.bytes
    if (this.#spare.length < SPARE_MAX && buffer.byteLength <= SPARE_BYTES_MAX)
      this.#spare.push(Buffer.from(buffer))
  }

  /** The finished segment, without its identity yet, and an empty builder again. */
  seal(): Segment {
    this.#bytes = ensure(this.#bytes, this.#end, this.#tableEnd)
    const bytes = this.#bytes.subarray(0, this.#end + this.#tableEnd)
    this.#table.copy(bytes, this.#end, 0, this.#tableEnd)
    bytes.writeUInt32LE(MAGIC, 0)
    bytes.writeUInt32LE(this.#end - HEADER_BYTES, 4)
    bytes.writeUInt32LE(this.#tableEnd, 8)
    bytes.writeUInt32LE(this.#bodies, 12)
    bytes.writeUInt32LE(this.#events, 16)
    bytes.writeUInt32LE(this.#hasProducers, 20)
    bytes.fill(0, 24, HEADER_BYTES)
    writeU64(bytes, 40, this.#receivedAt)
    this.#end = HEADER_BYTES
    this.#tableEnd = 0
    this.#bodies = 0
    this.#events = 0
    this.#hasProducers = 0
    this.#bytes = this.#spare.pop() ?? Buffer.allocUnsafeSlow(Math.max(HEADER_BYTES + 4096, bytes.length))
    return new Segment(bytes)
  }
}

function ensure(buffer: Buffer, used: number, more: number): Buffer {
  if (used + more <= buffer.length) return buffer
  const grown = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, used + more))
  buffer.copy(grown, 0, 0, used)
  return grown
}

export function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 4) * TWO_32 + bytes.readUInt32LE(at)
}

export function writeU64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value >>> 0, at)
  bytes.writeUInt32LE(Math.floor(value / TWO_32), at + 4)
}
