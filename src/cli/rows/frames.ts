// Frames laid end to end, which are again a frame: cut between events into bodies.

import { EVENT_TAG } from '../../frame/tags.ts'
import { SEND_PIECE_BYTES_MAX } from '../../limits.ts'
import { type Batch, type BatchSize, InputError } from './batch.ts'

/** Most bytes that a length takes: 32 bits in sevens. */
const LENGTH_BYTES_MAX = 5

/** `totalBytes`: of the whole input, if known. */
export async function* frameBatches(
  input: AsyncIterable<Buffer>,
  size: BatchSize,
  totalBytes: number | undefined,
): AsyncGenerator<Batch> {
  /** What was read and not yet handed on: it begins with the batch that is being made. */
  let held: Buffer = Buffer.alloc(0)
  let end = 0
  let events = 0
  let before = 0
  let read = 0

  const take = (): Batch => {
    const fraction = totalBytes ? (read - (held.length - end)) / totalBytes : undefined
    const batch: Batch = {
      bytes: held.subarray(0, end),
      events,
      type: 'application/x-protobuf',
      unit: 'event',
      from: before + 1,
      to: before + events,
      fraction,
    }
    held = held.subarray(end)
    before += events
    end = 0
    events = 0
    return batch
  }

  for await (const chunk of input) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    read += chunk.length
    for (;;) {
      const place = () => `event ${before + events + 1} (byte ${read - held.length + end})`
      const next = endOfEvent(held, end, place)
      if (next < 0) break
      events++
      end = next
      if (events >= size.events || end >= size.bytes) yield take()
    }
  }
  if (end < held.length) {
    const left = held.length - end
    throw new InputError(
      `event ${before + events + 1} is cut off: the last ${left} bytes are not a whole event`,
    )
  }
  if (events > 0) yield take()
}

/** Where the event that begins at `start` ends, or -1 when not all of it is there yet. */
function endOfEvent(bytes: Buffer, start: number, place: () => string): number {
  if (start >= bytes.length) return -1
  if (bytes[start] !== EVENT_TAG) throw new InputError(`${place()}: this is not an event of a frame`)
  let length = 0
  for (let i = 0; i < LENGTH_BYTES_MAX; i++) {
    const at = start + 1 + i
    if (at >= bytes.length) return -1
    length += (bytes[at] & 127) * 2 ** (7 * i)
    if (bytes[at] < 128) {
      if (length > SEND_PIECE_BYTES_MAX) {
        throw new InputError(`${place()} has ${length} bytes, more than ${SEND_PIECE_BYTES_MAX}`)
      }
      const end = at + 1 + length
      return end <= bytes.length ? end : -1
    }
  }
  throw new InputError(`${place()}: its length is not a number of 32 bits`)
}
