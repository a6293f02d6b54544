// A JSON body, one event or an array of them, to a frame. The names and forms of fields are in event-json.ts.

import { Problem } from '../errors.ts'
import { FrameWriter } from '../frame/writer.ts'
import { EVENTS_PER_BODY_MAX } from '../limits.ts'
import { nanosecondNames, writeEvent } from './event-json.ts'
import { notJson, numbersOf, textOf } from './json-text.ts'

// Measured with 100 events of 140 bytes a body: 1.3M events/s a core, of which JSON.parse is more than half; with
// the generated encoder 0.9M; 0.4M where times are numbers past 2^53, whose digits are looked up in the text.
const out = new FrameWriter()

/**
 * The frame that a JSON body stands for, and how many events are in it. The frame is a view that holds until the
 * next call. A name that comes twice in an object has its last value. Throws a Problem `malformed` that names
 * the event (from 1) and field, or the line and column where the body is not JSON.
 */
export function jsonToFrame(body: Uint8Array): { frame: Uint8Array; events: number } {
  const text = textOf(body)
  const value = parse(text)
  const events: unknown[] = Array.isArray(value) ? value : [value]
  if (events.length === 0) throw new Problem('malformed', 'the body has no events')
  if (events.length > EVENTS_PER_BODY_MAX) {
    throw new Problem('malformed', `the body has ${events.length} events, ${EVENTS_PER_BODY_MAX} at most`)
  }
  let numbers: (string | undefined)[] | undefined
  const digitsOf = (index: number): string | undefined => {
    numbers ??= numbersOf(text, nanosecondNames)
    return numbers[index]
  }
  let width = 1
  let index = 0
  out.reset()
  try {
    for (; index < events.length; index++) width = writeEvent(out, events[index], width, digitsOf, index)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const place = `event ${index + 1}`
    throw new Problem(error.code, `${place}: ${error.message}`, { logged: place })
  }
  return { frame: out.frame(), events: events.length }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw notJson(text, 1, error)
  }
}
