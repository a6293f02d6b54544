// CloudEvents 1.0 in binary mode: the attributes are headers, the body is the data.
// (https://github.com/cloudevents/spec, bindings/http-protocol-binding.md, 3.1, v1.0.2)

import type { HttpRequest } from 'uWebSockets.js'
import { Problem } from '../errors.ts'
import type { BinaryAttributes } from './cloudevents.ts'

const PREFIX = 'ce-'
const notAscii = /[^\x20-\x7e]/

/**
 * The attributes in the headers of a request, which has to be called in the turn in which it came. Throws a Problem
 * `malformed` that names the header.
 */
export function attributesOf(req: HttpRequest): BinaryAttributes {
  const named = new Map<string, string>()
  let datacontenttype = ''
  let types = 0
  let problem: Problem | undefined
  // An error cannot be thrown through the server that calls this.
  req.forEach((header, value) => {
    if (problem !== undefined) return
    if (header === 'content-type') {
      datacontenttype = value
      types++
    } else if (header.startsWith(PREFIX)) problem = add(named, header, value)
  })
  if (problem !== undefined) throw problem
  if (types > 1) throw refusal('content-type comes more than once')
  return { named, datacontenttype }
}

/** True where one of the headers stands there that every event has, but for the one that says the version. */
export function looksLikeEvent(req: HttpRequest): boolean {
  return ['ce-id', 'ce-source', 'ce-type'].some((header) => req.getHeader(header) !== '')
}

function add(named: Map<string, string>, header: string, value: string): Problem | undefined {
  const name = header.slice(PREFIX.length)
  if (name === 'datacontenttype') return refusal(`${header}: in binary mode, content-type says it`)
  if (named.has(name)) return refusal(`${header} comes more than once`)
  try {
    named.set(name, decodeHeader(value))
  } catch (error) {
    return refusal(`${header}: ${(error as Error).message}`)
  }
  return undefined
}

/**
 * What a header's value stands for: without the double quotes of older senders, and percent-decoded once. Throws an
 * Error where it is not right.
 */
export function decodeHeader(value: string): string {
  if (notAscii.test(value))
    throw new Error('characters outside of printable ASCII have to be percent-encoded')
  const bare = value.startsWith('"') ? unquote(value) : value
  if (!bare.includes('%')) return bare
  try {
    return decodeURIComponent(bare) // which rejects bytes that are not UTF-8
  } catch {
    throw new Error('the percent-encoding is broken, or not of UTF-8; a % itself is written %25')
  }
}

function unquote(value: string): string {
  if (!/^"(?:[^"\\]|\\.)*"$/.test(value)) throw new Error('the double quotes do not match')
  return value.slice(1, -1).replace(/\\(.)/g, '$1')
}

function refusal(detail: string): Problem {
  return new Problem('malformed', detail)
}
