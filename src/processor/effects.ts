// What handlers did in a task beside emitting to measures. Small, so that it is cloned on its way out of the thread, but
// for the results, which are packed into one run of bytes:
//
//   u32  keyBytes, bytes
//   u32  from             where the event that it was stored for starts in the task's frames
//   u8   key[keyBytes]    UTF-8
//   u8   value[bytes]

const HEADER_BYTES = 12

export interface Effects {
  /** For each handler, how many events it has handled. */
  handled: number[]
  dropped: { handler: number; reason: string; events: number }[]
  /** In log order. */
  letters: Letter[]
  /** One for each key, the last. */
  results: Uint8Array
}

/** An event that a handler could not handle. It stands in the task's frames from `from` to `to`. */
export interface Letter {
  handler: number
  reason: string
  from: number
  to: number
}

export interface Result {
  from: number
  bytes: Uint8Array
}

export function packResults(results: ReadonlyMap<string, Result>): Uint8Array {
  let size = 0
  for (const [key, { bytes }] of results) size += HEADER_BYTES + Buffer.byteLength(key) + bytes.length
  const packed = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (const [key, { from, bytes }] of results) {
    const keyBytes = packed.write(key, at + HEADER_BYTES)
    packed.writeUInt32LE(keyBytes, at)
    packed.writeUInt32LE(bytes.length, at + 4)
    packed.writeUInt32LE(from, at + 8)
    at += HEADER_BYTES + keyBytes
    packed.set(bytes, at)
    at += bytes.length
  }
  return packed
}

export function* unpackResults(packed: Uint8Array): Generator<[key: string, result: Result]> {
  const view = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  for (let at = 0; at < view.length; ) {
    const keyEnd = at + HEADER_BYTES + view.readUInt32LE(at)
    const end = keyEnd + view.readUInt32LE(at + 4)
    const key = view.toString('utf8', at + HEADER_BYTES, keyEnd)
    yield [key, { from: view.readUInt32LE(at + 8), bytes: view.subarray(keyEnd, end) }]
    at = end
  }
}
