// Reading of frames that scan.ts has passed: nothing is checked. For what is looked at now and then; the hot paths have
// their own reading, with nothing to call.

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

/** A varint of any width, of which 32 bits count; `ended` is set to its end. */
export function varint(bytes: Uint8Array, start: number): number {
  let value = 0
  let at = start
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]
    if (shift < 32) value |= (byte & 127) << shift
    if (byte < 128) {
      ended = at
      return value >>> 0
    }
  }
}
