// Bodies to send: frames of events as a sensor would post them, over so many subjects.

import { millrace } from '#proto'

/** Enough bodies that the generator does not send the same one again at once. */
const BODIES_MIN = 256
const BODIES_KEPT = 4

/** What an event without data takes in a frame, about: the shortest that can be asked for. */
export const EVENT_BYTES_MIN = 57

export interface Shape {
  events: number
  subjects: number
  /** Bytes of an event in a frame, about: `data` fills it up. */
  eventBytes: number
  json: boolean
  /** Minutes over which the times of a subject are spread, one after the other; the newest when absent. */
  minutes?: number
}

const kept = new Map<string, Buffer[]>()

/** The bodies of one shape, of which the last few are kept: a million subjects take seconds to encode. */
export function bodiesOf({ events, subjects, eventBytes, json, minutes = 1 }: Shape): Buffer[] {
  const key = `${events} ${subjects} ${eventBytes} ${json} ${minutes}`
  const padding = Math.max(0, eventBytes - EVENT_BYTES_MIN - 2)
  const count = Math.max(BODIES_MIN, Math.ceil((subjects * minutes) / events))
  const made =
    kept.get(key) ??
    (json ? jsonBodies(events, subjects, count) : bodies(events, subjects, padding, count, minutes))
  kept.delete(key)
  kept.set(key, made)
  if (kept.size > BODIES_KEPT) kept.delete(kept.keys().next().value!)
  return made
}

/** `padding`: bytes of `data` in each event. Times lie within the minute that has begun, and those before it. */
export function bodies(
  eventsPerBody: number,
  subjects: number,
  padding = 0,
  count = BODIES_MIN,
  minutes = 1,
): Buffer[] {
  const data = new Uint8Array(padding).fill(120)
  const minute = BigInt(Math.floor(Date.now() / 60_000) * 60_000)
  let made = 0
  return Array.from({ length: count }, () => {
    const events = Array.from({ length: eventsPerBody }, () => {
      const n = made++
      const event = new millrace.v1.Event({
        source: 'sensor/eu-1',
        type: 'temperature',
        subject: subjectOf(n, subjects),
        value: (n % 1000) / 8,
        data,
      })
      const before = (Math.floor(n / subjects) % minutes) * 60_000
      const nanoseconds = (minute + BigInt((n % 60_000) - before)) * 1_000_000n
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

/** The same events as arrays of JSON. */
export function jsonBodies(eventsPerBody: number, subjects: number, count = BODIES_MIN): Buffer[] {
  const minute = Math.floor(Date.now() / 60_000) * 60_000
  let made = 0
  return Array.from({ length: count }, () => {
    const events = Array.from({ length: eventsPerBody }, () => {
      const n = made++
      return {
        source: 'sensor/eu-1',
        type: 'temperature',
        subject: subjectOf(n, subjects),
        time: new Date(minute + (n % 60_000)).toISOString(),
        value: (n % 1000) / 8,
      }
    })
    return Buffer.from(JSON.stringify(events))
  })
}

/** Each subject once before the first comes again: the step has no factor in common with the counts in use. */
function subjectOf(n: number, subjects: number): string {
  return `s${(n * 7919) % subjects}`
}
