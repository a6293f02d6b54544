// How the commands talk to a daemon.

import { type Dispatcher, request } from 'undici'
import { Failure, type Io, type Option, UsageError, type Words } from './command.ts'

const DEFAULT_URL = 'http://127.0.0.1:7070'
const ANSWER_MS_MAX = 60_000

/** The options of all commands that talk to a daemon. */
export const daemonOptions: Record<string, Option> = {
  url: { value: 'URL', help: `where the daemon is (default: MILLRACE_URL, or ${DEFAULT_URL})` },
  'auth-key': { value: 'KEY', help: 'the key, where the daemon asks for one (default: MILLRACE_KEY)' },
}

export interface Target {
  /** Scheme, host and port. */
  origin: string
  /** Of a proxy in front of the daemon; without a slash at the end, mostly empty. */
  prefix: string
  headers: Record<string, string>
}

/** Throws UsageError. */
export function targetOf(words: Words, io: Io): Target {
  const text = words.text('url') || io.env.MILLRACE_URL || DEFAULT_URL
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(`--url ${text}: an address such as ${DEFAULT_URL}`)
  }
  if (url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new UsageError(`--url ${text}: only scheme, host and port`)
  }
  const key = words.text('auth-key') || io.env.MILLRACE_KEY
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key))
    throw new UsageError('--auth-key: visible ASCII characters only')
  return {
    origin: url.origin,
    prefix: url.pathname.replace(/\/+$/, ''),
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  }
}

export type Search = [name: string, value: string | undefined][]

/** The JSON that a GET is answered with. Throws Failure where the answer is another one, or none. */
export function get<T>(target: Target, path: string, search: Search = []): Promise<T> {
  return ask(target, 'GET', path, search)
}

/** The same of a request that changes something. */
export async function ask<T>(
  target: Target,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  search: Search = [],
): Promise<T> {
  const given = search.filter((pair): pair is [string, string] => pair[1] !== undefined)
  const query = given.length > 0 ? `?${new URLSearchParams(given)}` : ''
  let answer: Dispatcher.ResponseData
  let text: string
  try {
    answer = await request(`${target.origin}${target.prefix}${path}${query}`, {
      method,
      headers: target.headers,
      headersTimeout: ANSWER_MS_MAX,
    })
    text = await answer.body.text()
  } catch (error) {
    throw new Failure(noAnswer(target, error as Error), { cause: error })
  }
  if (answer.statusCode !== 200) throw new Failure(refusalOf(answer.statusCode, text))
  try {
    return JSON.parse(text) as T
  } catch {
    throw new Failure(`${target.origin} did not answer with JSON: is it a millrace daemon?`)
  }
}

/** `code: detail` of problem+json, and of anything else what there is to say. */
export function refusalOf(status: number, text: string): string {
  try {
    const { code, detail } = JSON.parse(text) as { code?: unknown; detail?: unknown }
    if (typeof code === 'string') return `${code}: ${detail}`
  } catch {
    // Not ours, then.
  }
  return `answered ${status}: ${text.trim().slice(0, 200) || 'nothing more'}`
}

export function noAnswer(target: Target, error: Error): string {
  const why = reasonOf(error)
  return `no answer from ${target.origin} (${why}): is the daemon running at ${target.origin}?`
}

/** What went wrong with a connection, in a few words. */
export function reasonOf(error: Error): string {
  const code = codeOf(error)
  const known: Record<string, string> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'connection broken',
    UND_ERR_SOCKET: 'connection broken',
    ENOTFOUND: 'no such host',
    UND_ERR_CONNECT_TIMEOUT: 'could not connect in time',
    UND_ERR_HEADERS_TIMEOUT: 'no answer in time',
    UND_ERR_BODY_TIMEOUT: 'no answer in time',
  }
  return known[code] ?? (error.message || code)
}

export function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  // Where a name has several addresses, each has its own error.
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : undefined
  return code ?? first?.code ?? ''
}
