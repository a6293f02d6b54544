// The closed list of what a client can be told went wrong, each with its status.
// The answer is RFC 9457 problem+json; `code` is the part programs should look at.

export const problems = Object.freeze({
  malformed: { status: 400, title: 'The body or a parameter is not what it should be' },
  'over-credit': { status: 400, title: 'More was sent than the credit of the stream allows' },
  unauthenticated: { status: 401, title: 'No key, or one that is not known' },
  'out-of-scope': { status: 403, title: 'The key does not allow this' },
  'unknown-route': { status: 404, title: 'There is nothing here' },
  'not-found': { status: 404, title: 'There is none of this name' },
  'wrong-method': { status: 405, title: 'This route answers to another method' },
  'no-handler': { status: 409, title: 'The handler of this dead letter is not configured' },
  'too-large': { status: 413, title: 'The body is larger than allowed' },
  'unsupported-media-type': { status: 415, title: 'The content type is not one that is understood' },
  'upgrade-required': { status: 426, title: 'This route speaks WebSocket' },
  'rate-limited': { status: 429, title: 'More than this key may send' },
  overloaded: { status: 429, title: 'More is in flight than allowed' },
  'backlog-full': { status: 429, title: 'The log is full of events that wait to be processed' },
  internal: { status: 500, title: 'A mistake of ours' },
  'log-unavailable': { status: 503, title: 'The log cannot be written' },
  'no-processor': { status: 503, title: 'The processor that has to do this does not answer here' },
  'no-data-port': { status: 503, title: 'The data port of this daemon does not answer' },
  draining: { status: 503, title: 'Shutting down' },
  unconfirmed: { status: 504, title: 'The broker did not confirm in time: the events may be in the log' },
} satisfies Record<string, { status: number; title: string }>)

export type ProblemCode = keyof typeof problems

/** What a client of `millrace/client` is told beyond them, by the client itself. */
export const clientProblems = Object.freeze({
  unreachable: 'Nobody was ever there under this address, or it is not to be trusted',
  unanswered: 'No answer came, or none in time: the events may have been taken',
  'unexpected-answer': 'The answer is not one of millrace',
  'not-ready': 'Too many calls wait for room: wait for ready() before publishing more',
  aborted: 'Given up by the application: what was on its way may have been taken',
  closed: 'The client is closed',
})

export type ClientProblemCode = keyof typeof clientProblems

/** Seconds after which to come back, for the codes where coming back helps. */
const retryAfterSeconds: Partial<Record<ProblemCode, number>> = {
  'rate-limited': 1,
  overloaded: 1,
  'backlog-full': 1,
  'log-unavailable': 1,
  'no-processor': 1,
  'no-data-port': 1,
  draining: 5,
  unconfirmed: 1,
}

/**
 * Whose details are in words of ours, whatever was sent: they may stand in the logs. Others may quote an event, which is
 * for its sender alone.
 */
const ownWords: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  'over-credit',
  'unauthenticated',
  'too-large',
  'rate-limited',
  'overloaded',
  'backlog-full',
  'internal',
  'log-unavailable',
  'no-processor',
  'no-data-port',
  'draining',
  'unconfirmed',
])

/** An answer other than success. `detail` says where and why, for the person who reads it. */
export class Problem extends Error {
  readonly code: ProblemCode
  /** As much of the detail as may stand in the logs: nothing in it was sent by a client. */
  readonly logged: string | undefined

  /** `logged`: where the detail may quote a client and a part of it, such as the place, does not. */
  constructor(code: ProblemCode, detail: string, options: ErrorOptions & { logged?: string } = {}) {
    super(detail, options)
    this.name = 'Problem'
    this.code = code
    this.logged = options.logged ?? (ownWords.has(code) ? detail : undefined)
  }

  get status(): number {
    return problems[this.code].status
  }

  /** Seconds for `Retry-After`, or undefined where trying again would not help. */
  get retryAfter(): number | undefined {
    return retryAfterSeconds[this.code]
  }

  /** The RFC 9457 body. */
  body(correlationId: string): string {
    const { status, title } = problems[this.code]
    return JSON.stringify({
      type: `urn:millrace:problem:${this.code}`,
      title,
      status,
      code: this.code,
      detail: this.message,
      correlationId,
    })
  }
}
