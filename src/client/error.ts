// What went wrong, under one code each.

import { type ClientProblemCode, clientProblems, type ProblemCode, problems } from '../errors.ts'

export type ErrorCode = ProblemCode | ClientProblemCode

export interface ErrorParts {
  status?: number | undefined
  refused?: boolean | undefined
  retryAfterMs?: number | undefined
  correlationId?: string | undefined
  cause?: unknown
}

/** Everything that a client throws. `message` is `code: detail`, or a sentence where there was no answer. */
export class MillraceError extends Error {
  override name = 'MillraceError'
  readonly code: ErrorCode
  /** Of the answer over HTTP, or what it would have been. */
  readonly status: number | undefined
  /** By an answer, or before it was sent, and trying again would not change that. Otherwise some may be taken. */
  readonly refused: boolean
  /** How long the daemon asks to wait, milliseconds; 0 where it does not say. */
  readonly retryAfterMs: number
  /** Under which the daemon's log has it. */
  readonly correlationId: string | undefined

  constructor(code: ErrorCode, message: string, parts: ErrorParts = {}) {
    super(message, parts.cause === undefined ? undefined : { cause: parts.cause })
    this.code = code
    this.status = parts.status
    this.refused = parts.refused ?? false
    this.retryAfterMs = parts.retryAfterMs ?? 0
    this.correlationId = parts.correlationId
  }
}

/** Answers after which the same may be taken: busy, restarting, or a proxy that found nobody. */
const TRY_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504])

/** The error of an answer other than success: of its problem+json, and of anything else what there is to say. */
export function errorOf(status: number, text: string, retryAfterMs = 0): MillraceError {
  const refused = !TRY_AGAIN.has(status)
  try {
    const { code, detail, correlationId } = JSON.parse(text) as Record<string, unknown>
    if (typeof code === 'string') {
      const known = Object.hasOwn(problems, code) ? (code as ProblemCode) : 'unexpected-answer'
      const parts = { status, refused, retryAfterMs, correlationId: correlationId as string }
      return new MillraceError(known, `${code}: ${detail}`, parts)
    }
  } catch {
    // Not ours, then.
  }
  const said = text.trim().slice(0, 200) || 'nothing more'
  return new MillraceError('unexpected-answer', `answered ${status}: ${said}`, {
    status,
    refused,
    retryAfterMs,
  })
}

/** One of ours, with what the closed list says of it. */
export function ownError(code: ClientProblemCode, detail?: string, cause?: unknown): MillraceError {
  return new MillraceError(code, detail ?? clientProblems[code], { cause })
}

/** `Retry-After` as RFC 9110 has it: seconds, or a date. Milliseconds; 0 where there is none. */
export function retryAfterMs(header: string | string[] | undefined): number {
  if (typeof header !== 'string') return 0
  if (/^[0-9]+$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? 0 : Math.max(0, date - Date.now())
}
