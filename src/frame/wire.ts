// Reading of frames that ingest/scan.ts has passed: nothing is checked. Hot loops read tags and sizes of one byte by
// themselves, and come here for the others.

/** Where the varint that was read last ends. */
export let ended = 0

/** The end of the field whose tag ends at `at`. */
export function skip(bytes: Uint8Array, at: number, tag: number): number {
  switch (tag & 7) {
    case 0:
      varint(bytes, at)
      return ended
    case 1:
      return at + 8
    case 2: {
      const size = varint(bytes, at)
      return ended + size
    }
    case 5:
      return at + 4
    default:
      return skipGroup(bytes, at)
  }
}

function skipGroup(bytes: Uint8Array, at: number): number {
  for (let inside = at; ; ) {
    const tag = varint(bytes, inside)
    if ((tag & 7) === 4) return ended
    inside = skip(bytes, ended, tag)
  }
}

/** The varint at `at`, of any width, of which 32 bits count; `ended` is set to its end. */
export function varint(bytes: Uint8Array, at: number): number {
  let byte = bytes[at++]
  let n = byte & 127
  for (let shift = 7; byte > 127; shift += 7) {
    byte = bytes[at++]
    if (shift < 32) n |= (byte & 127) << shift
  }
  ended = at
  return n >>> 0
}
