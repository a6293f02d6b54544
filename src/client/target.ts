// Where the daemon is, and what is said of a connection to it that fails.

import { type MillraceError, ownError } from './error.ts'

export const DEFAULT_URL = 'http://127.0.0.1:7070'

export interface Target {
  /** Scheme, host and port. */
  origin: string
  /** Of a proxy in front of the daemon; without a slash at the end, mostly empty. */
  prefix: string
  headers: Record<string, string>
}

/** Throws RangeError with what is wrong. */
export function targetOf(url: string, key: string | undefined): Target {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw new RangeError(`url ${url}: an address such as ${DEFAULT_URL}`)
  }
  if (parsed.search !== '' || parsed.hash !== '' || parsed.username !== '') {
    throw new RangeError(`url ${url}: only scheme, host and port`)
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key))
    throw new RangeError('key: visible ASCII characters only')
  return {
    origin: parsed.origin,
    prefix: parsed.pathname.replace(/\/+$/, ''),
    headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
  }
}

/** A connection that broke or never was. `final`: nobody was ever there, which is told at once. */
export function broken(
  target: Target,
  error: Error,
  answered: boolean,
): { final: boolean; error: MillraceError } {
  const code = codeOf(error)
  const nobody = /^(?:ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code)
  const untrusted = /^(?:ERR_TLS|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|ERR_SSL)/.test(code)
  if (untrusted || (nobody && !answered)) return { final: true, error: unreachable(target, error) }
  return { final: false, error: ownError('unanswered', `no answer (${reasonOf(error)})`, error) }
}

export function unreachable({ origin }: Target, error: Error): MillraceError {
  const why = reasonOf(error)
  return ownError(
    'unreachable',
    `no answer from ${origin} (${why}): is the daemon running at ${origin}?`,
    error,
  )
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

function codeOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  // Where a name has several addresses, each has its own error.
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : undefined
  return code ?? first?.code ?? ''
}
