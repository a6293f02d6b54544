/**
 * The events of a frame, each as its bytes, not decoded: what a peer stores one by one. A frame is a run of
 * `repeated Event events = 1`, so each event is a tag, a length as varint, and its bytes.
 */
export function entriesOf(frame: Buffer): Buffer[] {
  const entries: Buffer[] = []
  for (let at = 0; at < frame.length; ) {
    if (frame[at++] !== 0x0a) throw new Error('not a frame')
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = frame[at++]
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    entries.push(frame.subarray(at, at + length))
    at += length
  }
  return entries
}
