// Frames of event.proto for k6, which has no packages of npm: as much of protobuf as an event with a number needs.

const tag = (field, wireType) => (field << 3) | wireType
const FIXED64 = 1
const LENGTH = 2

/**
 * The bytes of a frame, as an ArrayBuffer that k6 posts as it is.
 * `events`: `{ source, type, subject, value }`, strings of ASCII below 128 characters.
 */
export function frame(events) {
  const bytes = []
  for (const event of events) {
    const one = encoded(event)
    bytes.push(tag(1, LENGTH), ...varint(one.length), ...one)
  }
  return new Uint8Array(bytes).buffer
}

/** `count` frames of `events` events each, over `subjects` subjects. To be called in init: the loop only posts. */
export function frames(count, events, subjects) {
  let made = 0
  return Array.from({ length: count }, () =>
    frame(
      Array.from({ length: events }, () => {
        const n = made++
        return { source: 'k6', type: 'load', subject: `k6-${(n * 7919) % subjects}`, value: (n % 1000) / 8 }
      }),
    ),
  )
}

function encoded({ source, type, subject, value }) {
  const number = new Uint8Array(new Float64Array([value]).buffer) // little-endian, as wherever k6 runs
  return [...text(2, source), ...text(3, type), ...text(4, subject), tag(6, FIXED64), ...number]
}

function text(field, characters) {
  return [tag(field, LENGTH), characters.length, ...[...characters].map((one) => one.charCodeAt(0))]
}

function varint(number) {
  const bytes = []
  for (; number > 127; number >>>= 7) bytes.push((number & 127) | 128)
  bytes.push(number)
  return bytes
}
