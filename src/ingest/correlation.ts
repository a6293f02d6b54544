// The correlation id of a request: what the client sent, or one of our own.

import type { HttpRequest } from 'uWebSockets.js'
import { randomBytes } from 'node:crypto'
import { CORRELATION_BYTES_MAX } from '../limits.ts'

const prefix = `${randomBytes(8).toString('hex')}-`
let made = 0

/** A new id: this process's random part and a count. */
export function makeCorrelationId(): string {
  return prefix + (made++).toString(36)
}

/**
 * What the client sent: `x-correlation-id`, or the trace id of a W3C `traceparent`
 * (https://www.w3.org/TR/trace-context/, version 00). Empty when there is neither, or not in visible ASCII.
 */
export function correlationIdOf(req: Pick<HttpRequest, 'getHeader'>): string {
  const own = req.getHeader('x-correlation-id')
  if (own !== '') return isVisibleAscii(own, CORRELATION_BYTES_MAX) ? own : ''
  const parent = req.getHeader('traceparent')
  return parent !== '' && /^[0-9a-f]{2}-[0-9a-f]{32}-/.test(parent) ? parent.slice(3, 35) : ''
}

/** True for 1 to `most` characters, none of them a space or a control. */
export function isVisibleAscii(text: string, most: number): boolean {
  if (text.length === 0 || text.length > most) return false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x21 || code > 0x7e) return false
  }
  return true
}
