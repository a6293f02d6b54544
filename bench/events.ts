// Bodies to send: frames of events as a sensor would post them, over so many subjects.

import { millrace } from '#proto'

/** `padding`: bytes of `data` in each event. Times lie within the minute that has begun. */
export function bodies(eventsPerBody: number, subjects: number, padding = 0, count = 256): Buffer[] {
  const data = new Uint8Array(padding).fill(120)
  const minute = BigInt(Math.floor(Date.now() / 60_000) * 60_000)
  let made = 0
  return Array.from({ length: count }, () => {
    const events = Array.from({ length: eventsPerBody }, () => {
      const n = made++
      const event = new millrace.v1.Event({
        source: 'sensor/eu-1',
        type: 'temperature',
        subject: `s${(n * 7919) % subjects}`,
        value: (n % 1000) / 8,
        data,
      })
      const nanoseconds = (minute + BigInt(n % 60_000)) * 1_000_000n
      event.timeUnixNano = {
        low: Number(nanoseconds & 0xffffffffn) | 0,
        high: Number(nanoseconds >> 32n) | 0,
        unsigned: true,
      } as never
      return event
    })
    return Buffer.from(millrace.v1.Frame.encode({ events }).finish())
  })
}
