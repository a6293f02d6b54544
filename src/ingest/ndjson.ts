// An NDJSON body, one JSON event a line, to a frame. Lines end with LF or CRLF; blank ones are passed over.

import { Problem } from '../errors.ts'
import { FrameWriter } from '../frame/writer.ts'
import { EVENTS_PER_BODY_MAX } from '../limits.ts'
import { nanosecondNames, writeEvent } from './event-json.ts'
import { notJson, numbersOf, textOf } from './json-text.ts'

const out = new FrameWriter()
const blank = /^[ \t\r]*$/

/**
 * The frame that the lines stand for, and how many events are in it. The frame is a view that holds until the
 * next call. Throws a Problem `malformed` that names the line (from 1) and what is wrong in it.
 */
export function ndjsonToFrame(body: Uint8Array): { frame: Uint8Array; events: number } {
  const text = textOf(body)
  let line = ''
  const digitsOf = (): string | undefined => numbersOf(line, nanosecondNames)[0]
  let width = 1
  let events = 0
  let number = 0
  out.reset()
  for (let start = 0; start < text.length; ) {
    const lineEnd = text.indexOf('\n', start)
    const end = lineEnd < 0 ? text.length : lineEnd
    line = text.slice(start, end)
    start = end + 1
    number++
    if (blank.test(line)) continue
    if (++events > EVENTS_PER_BODY_MAX) {
      throw new Problem('malformed', `line ${number}: a body has ${EVENTS_PER_BODY_MAX} events at most`)
    }
    const event = parse(line, number)
    try {
      width = writeEvent(out, event, width, digitsOf, 0)
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      const place = `line ${number}`
      throw new Problem(error.code, `${place}: ${error.message}`, { logged: place })
    }
  }
  if (events === 0) throw new Problem('malformed', 'the body has no events')
  return { frame: out.frame(), events }
}

function parse(line: string, number: number): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw notJson(line, number, error)
  }
}
