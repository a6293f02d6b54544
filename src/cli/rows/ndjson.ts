// NDJSON: the lines go as they are, so that the daemon's reading of them is the only one.

import { SEND_PIECE_BYTES_MAX } from '../../limits.ts'
import { type Batch, type BatchSize, InputError } from './batch.ts'

const LF = 10

/** `totalBytes`: of the whole input, if known. */
export async function* ndjsonBatches(
  input: AsyncIterable<Buffer>,
  size: BatchSize,
  totalBytes: number | undefined,
): AsyncGenerator<Batch> {
  /** What was read and not yet handed on: it begins with the batch that is being made. */
  let held: Buffer = Buffer.alloc(0)
  /** In `held`: where the line begins that is being looked for, and where to look on. */
  let lineStart = 0
  let scanned = 0
  let events = 0
  let from = 1
  let line = 1
  let read = 0

  const take = (end: number): Batch => {
    const fraction = totalBytes ? Math.min(1, (read - (held.length - end)) / totalBytes) : undefined
    const bytes = held.subarray(0, end)
    const batch: Batch = {
      bytes,
      events,
      type: 'application/x-ndjson',
      unit: 'line',
      from,
      to: line - 1,
      fraction,
    }
    held = held.subarray(end)
    lineStart = 0
    scanned = 0
    events = 0
    from = line
    return batch
  }

  for await (const chunk of input) {
    const fresh =
      read === 0 && chunk.length >= 3 && chunk.readUIntBE(0, 3) === 0xefbbbf ? chunk.subarray(3) : chunk
    held = held.length === 0 ? fresh : Buffer.concat([held, fresh])
    read += chunk.length
    for (;;) {
      const lf = held.indexOf(LF, scanned)
      if (lf < 0) break
      line++
      if (!isBlank(held, lineStart, lf)) events++
      lineStart = lf + 1
      scanned = lineStart
      if (events >= size.events || (events > 0 && lineStart >= size.bytes)) yield take(lineStart)
      else if (events === 0) take(lineStart) // only blank lines: nothing to send
    }
    scanned = held.length
    if (held.length - lineStart > SEND_PIECE_BYTES_MAX) {
      throw new InputError(`line ${line} has more than ${SEND_PIECE_BYTES_MAX} bytes`)
    }
  }
  if (!isBlank(held, lineStart, held.length)) {
    events++
    line++
  }
  if (events > 0) yield take(held.length)
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false
  }
  return true
}
