// What JSON.parse does not tell: where a text stops being JSON, and the digits of numbers that a double rounds.
// JSON.parse has the say on what is JSON; these are for messages and for the rare number past 2^53.

import { isUtf8 } from 'node:buffer'
import { Problem } from '../errors.ts'

/** Kinds of token: a punctuation mark stands for itself. `!` is no token, and '' is the end. */
type Kind = '{' | '}' | '[' | ']' | ':' | ',' | 'string' | 'scalar' | '!' | ''

const blank = /[ \t\n\r]*/y
const plain = /[ !#-[\]-\uffff]*/y // all but quote, backslash and control characters
const escaped = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y
const scalar = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y

class Tokens {
  readonly text: string
  /** The last token is text.slice(start, end); of a broken string, end is where it breaks. */
  start = 0
  end = 0

  constructor(text: string) {
    this.text = text
  }

  next(): Kind {
    let start = this.end
    if (this.text.charCodeAt(start) <= 0x20) start = this.#pass(blank, start)
    this.start = start
    this.end = start + 1
    switch (this.text[start]) {
      case '{':
        return '{'
      case '}':
        return '}'
      case '[':
        return '['
      case ']':
        return ']'
      case ':':
        return ':'
      case ',':
        return ','
      case '"':
        return this.#string()
      case undefined:
        this.end = start
        return ''
      default:
        this.end = this.#pass(scalar, start)
        return this.end > start ? 'scalar' : '!'
    }
  }

  #string(): Kind {
    let at = this.start + 1
    for (;;) {
      at = this.#pass(plain, at)
      this.end = at
      if (this.text[at] === '"') {
        this.end++
        return 'string'
      }
      at = this.#pass(escaped, at)
      if (at === this.end) return '!'
    }
  }

  /** Where a match of the pattern that begins at `at` ends, or `at`. */
  #pass(pattern: RegExp, at: number): number {
    pattern.lastIndex = at
    return pattern.test(this.text) ? pattern.lastIndex : at
  }
}

const NAME = 'a name in double quotes'
const NAME_OR_END = 'a name in double quotes, or }'
const COLON = 'a colon'
const VALUE = 'a value'
const VALUE_OR_END = 'a value, or ]'
const IN_OBJECT = 'a comma or }'
const IN_ARRAY = 'a comma or ]'
const END = 'the end'

/** Where (an index into the text) it stops being JSON, and what should stand there; undefined if it is JSON. */
export function faultOf(text: string): { at: number; expected: string } | undefined {
  const tokens = new Tokens(text)
  const open: ('{' | '[')[] = []
  let expected = VALUE
  for (;;) {
    const kind = tokens.next()
    if (kind === '!' && tokens.end > tokens.start && mayBeString(expected)) {
      return { at: tokens.end, expected: 'the end of the string, or what may be in one,' }
    }
    if (kind === '' && expected === END) return undefined
    const closes =
      kind === '}'
        ? expected === NAME_OR_END || expected === IN_OBJECT
        : kind === ']' && (expected === VALUE_OR_END || expected === IN_ARRAY)
    if (closes) {
      open.pop()
      expected = afterValue(open)
    } else if (kind === ',' && expected === IN_OBJECT) expected = NAME
    else if (kind === ',' && expected === IN_ARRAY) expected = VALUE
    else if (kind === ':' && expected === COLON) expected = VALUE
    else if (kind === 'string' && (expected === NAME || expected === NAME_OR_END)) expected = COLON
    else if (expected !== VALUE && expected !== VALUE_OR_END) return { at: tokens.start, expected }
    else if (kind === 'string' || kind === 'scalar') expected = afterValue(open)
    else if (kind === '{' || kind === '[') {
      open.push(kind)
      expected = kind === '{' ? NAME_OR_END : VALUE_OR_END
    } else return { at: tokens.start, expected }
  }
}

function mayBeString(expected: string): boolean {
  return expected === VALUE || expected === VALUE_OR_END || expected === NAME || expected === NAME_OR_END
}

function afterValue(open: ('{' | '[')[]): string {
  if (open.length === 0) return END
  return open[open.length - 1] === '{' ? IN_OBJECT : IN_ARRAY
}

/**
 * What to answer where JSON.parse threw `error` on the text, which begins at `firstLine` of the body: line and
 * column (from 1, in UTF-16 units), and what was expected there.
 */
export function notJson(text: string, firstLine: number, error: unknown): Problem {
  const fault = faultOf(text)
  const what = fault === undefined ? (error as Error).message : `${fault.expected} is expected here`
  const place = `${lineAndColumn(text, fault?.at ?? 0, firstLine)}: not JSON`
  return new Problem('malformed', `${place}: ${what}`, { logged: place })
}

function lineAndColumn(text: string, at: number, firstLine: number): string {
  let line = firstLine
  let start = 0
  for (let end = text.indexOf('\n'); end >= 0 && end < at; end = text.indexOf('\n', start)) {
    line++
    start = end + 1
  }
  return `line ${line}, column ${at - start + 1}`
}

/**
 * The source of the number that each event has under one of the names, by the event's index; of a name that
 * comes twice, the last. `text` is JSON: an event, or an array of events.
 */
export function numbersOf(text: string, names: readonly string[]): (string | undefined)[] {
  const tokens = new Tokens(text)
  const numbers: (string | undefined)[] = []
  let depth = 0
  let eventDepth = 1
  let event = 0
  let name = ''
  let last = ''
  for (let kind = tokens.next(); kind !== '' && kind !== '!'; kind = tokens.next()) {
    const token = kind === 'string' && depth !== eventDepth ? '' : text.slice(tokens.start, tokens.end)
    if (kind === '[' && depth === 0) eventDepth = 2
    if (kind === '{' || kind === '[') depth++
    else if (kind === '}' || kind === ']') depth--
    else if (kind === ',' && depth === 1 && eventDepth === 2) event++
    else if (kind === ':' && depth === eventDepth) name = JSON.parse(last) as string
    else if (kind === 'scalar' && depth === eventDepth && names.includes(name)) numbers[event] = token
    last = token
  }
  return numbers
}

/**
 * The source of the value that each event has under this name, by the event's index; of a name that comes twice, the
 * last. `text` is JSON: an event, or an array of events.
 */
export function sourcesOf(text: string, name: string): (string | undefined)[] {
  const tokens = new Tokens(text)
  const sources: (string | undefined)[] = []
  let depth = 0
  let eventDepth = 1
  let event = 0
  let start = -1 // of the value, once its colon has come
  let last = ''
  for (let kind = tokens.next(); kind !== '' && kind !== '!'; kind = tokens.next()) {
    const ends = depth === eventDepth && start >= 0 && (kind === ',' || kind === '}')
    if (ends) {
      sources[event] = text.slice(start, tokens.start).trim()
      start = -1
    }
    if (kind === '[' && depth === 0) eventDepth = 2
    if (kind === '{' || kind === '[') depth++
    else if (kind === '}' || kind === ']') depth--
    else if (kind === ',' && depth === 1 && eventDepth === 2) event++
    else if (kind === ':' && depth === eventDepth && JSON.parse(last) === name) start = tokens.end
    last = kind === 'string' && depth === eventDepth ? text.slice(tokens.start, tokens.end) : '""'
  }
  return sources
}

/** The body as text, without a byte order mark. Throws a Problem `malformed` where it is not UTF-8. */
export function textOf(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length)
  if (!isUtf8(bytes)) {
    let line = 1
    let start = 0
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
      if (!isUtf8(bytes.subarray(start, end))) break
      line++
      start = end + 1
    }
    throw new Problem('malformed', `line ${line}: this is not UTF-8`)
  }
  const text = bytes.toString('utf8')
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
}
