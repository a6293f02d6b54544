// GET /v1/stream: the handshake, and all the streams of a listener.

import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from 'uWebSockets.js'
import { answerProblem, type Exchange } from '../answer.ts'
import type { Auth } from '../auth.ts'
import { Problem } from '../errors.ts'
import * as limits from '../limits.ts'
import { turnTime } from '../telemetry/clock.ts'
import { Door, Route } from '../telemetry/doors.ts'
import { correlationIdOf, makeCorrelationId } from './correlation.ts'
import { type PublishParts, sequenceOf } from './publish.ts'
import { type Socket, Stream, type StreamParts } from './stream.ts'
import { SUBPROTOCOL } from './stream-messages.ts'

const PATH = '/v1/stream'
/** Of RFC 6455; there is no other. */
const WEBSOCKET_VERSION = '13'
/** What uWebSockets.js says of a message that is longer than it takes. */
const TOO_BIG = 'Received too big message'

interface UserData {
  stream: Stream
}

export class Streams {
  readonly #parts: PublishParts
  readonly #streamParts: StreamParts
  readonly #open = new Set<Stream>()
  /** Those that have something to be told once this turn's commits are through. */
  #settled: Stream[] = []
  #tellScheduled = false
  #over: (() => void) | undefined
  /** Connections that became streams, ever: the server does not count those down. */
  upgraded = 0
  readonly #route: Route
  readonly #door: Door

  constructor(parts: PublishParts) {
    this.#parts = parts
    this.#route = new Route(parts.metrics, PATH)
    this.#door = new Door(parts.metrics, 'stream')
    parts.metrics.reading('millrace_stream_connections', {}, () => this.#open.size)
    this.#streamParts = {
      intake: parts.intake,
      admission: parts.admission,
      maxMessage: Math.min(parts.maxBody, limits.STREAM_MESSAGE_BYTES_MAX),
      durability: parts.durability,
      refused: parts.refused,
      door: this.#door,
      bytes: this.#route.bytes,
      creditBytes: () => this.#creditBytes(),
      settled: (stream) => this.#settle(stream),
      over: (stream) => {
        this.#open.delete(stream)
        if (this.#open.size === 0) this.#over?.()
      },
    }
  }

  mount(app: TemplatedApp): void {
    app.ws<UserData>(PATH, {
      maxPayloadLength: limits.STREAM_PAYLOAD_BYTES_MAX,
      idleTimeout: limits.STREAM_IDLE_SECONDS_MAX,
      sendPingsAutomatically: true,
      upgrade: (res, req, context) => this.#upgrade(res, req, context),
      open: (ws) => this.#opened(ws),
      message: (ws, message, isBinary) => ws.getUserData().stream.message(new Uint8Array(message), isBinary),
      drain: (ws) => ws.getUserData().stream.drained(),
      close: (ws, _code, reason) => this.#closed(ws, Buffer.from(reason).toString()),
    })
    app.any(PATH, (res, req) => this.#notWebSocket(res, req))
  }

  /** Ends all streams. Resolves when each has heard of all that it had sent. */
  async drain(): Promise<void> {
    for (const stream of [...this.#open]) stream.end(new Problem('draining', 'this daemon is shutting down'))
    if (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.#over = resolve
      })
    }
  }

  #upgrade(res: HttpResponse, req: HttpRequest, context: us_socket_context_t): void {
    const since = turnTime()
    const correlation = correlationIdOf(req)
    const correlationId = correlation === '' ? makeCorrelationId() : correlation
    try {
      const sender = { ...admit(req, this.#parts), correlation, correlationId }
      if (this.#open.size >= limits.STREAMS_MAX) {
        throw new Problem('overloaded', `${limits.STREAMS_MAX} streams are open here`)
      }
      const stream = new Stream(this.#streamParts, sender)
      const key = req.getHeader('sec-websocket-key')
      this.upgraded++
      this.#route.answered(101, since, correlationId)
      res.upgrade<UserData>({ stream }, key, SUBPROTOCOL, req.getHeader('sec-websocket-extensions'), context)
    } catch (error) {
      this.#refuse(res, error as Problem, correlationId)
    }
  }

  #opened(ws: WebSocket<UserData>): void {
    const { stream } = ws.getUserData()
    this.#open.add(stream)
    stream.open(ws as Socket)
  }

  #notWebSocket(res: HttpResponse, req: HttpRequest): void {
    const problem = new Problem('upgrade-required', `${PATH} is spoken to over WebSocket (RFC 6455)`)
    this.#refuse(res, problem, correlationIdOf(req) || makeCorrelationId())
  }

  #refuse(res: HttpResponse, problem: Problem, correlationId: string): void {
    const [route, since] = [this.#route, turnTime()]
    const exchange: Exchange = { res, correlationId, aborted: false, closing: true, route, since }
    res.onAborted(() => {
      exchange.aborted = true
    })
    this.#parts.refused(problem, correlationId)
    if (problem.code !== 'upgrade-required') this.#door.refused(problem.code)
    answerProblem(
      exchange,
      problem,
      problem.code === 'upgrade-required' ? { upgrade: 'websocket' } : undefined,
    )
  }

  #closed(ws: WebSocket<UserData>, reason: string): void {
    const { stream } = ws.getUserData()
    if (reason === TOO_BIG) stream.cut(`the message has more than ${limits.STREAM_PAYLOAD_BYTES_MAX} bytes`)
    stream.closed()
  }

  #creditBytes(): number {
    const share = Math.floor(limits.STREAMS_CREDIT_BYTES / this.#open.size)
    return Math.max(limits.STREAM_CREDIT_BYTES_MIN, Math.min(limits.STREAM_CREDIT_BYTES_MAX, share))
  }

  /** One group commit makes many messages durable, one after another: their streams are told behind the last one. */
  #settle(stream: Stream): void {
    this.#settled.push(stream)
    if (this.#tellScheduled) return
    this.#tellScheduled = true
    queueMicrotask(this.#tell)
  }

  #tell = (): void => {
    this.#tellScheduled = false
    const settled = this.#settled
    this.#settled = []
    for (const stream of settled) stream.tell()
  }
}

/** What a handshake must have. Throws a Problem where it does not. */
function admit(req: HttpRequest, parts: { auth: Auth; draining(): boolean }) {
  if (parts.draining()) throw new Problem('draining', 'this daemon is shutting down')
  const origin = req.getHeader('origin')
  if (origin !== '') {
    // Browsers let every page that someone visits open a WebSocket to this host, and ask nobody.
    throw new Problem('out-of-scope', `a page of ${origin}: browsers may not open streams`)
  }
  const caller = parts.auth.check(req.getHeader('authorization'), 'publish')
  const version = req.getHeader('sec-websocket-version')
  if (version !== WEBSOCKET_VERSION) {
    throw new Problem('malformed', `sec-websocket-version "${version}": ${WEBSOCKET_VERSION} is understood`)
  }
  const offered = req.getHeader('sec-websocket-protocol')
  if (!offered.split(',').some((name) => name.trim() === SUBPROTOCOL)) {
    throw new Problem('malformed', `sec-websocket-protocol "${offered}": ${SUBPROTOCOL} is understood`)
  }
  const producer = req.getHeader('millrace-producer')
  const first = req.getHeader('millrace-sequence')
  if (producer === '' && first === '') return { caller, producer, sequence: 0 }
  return { caller, producer, sequence: sequenceOf(producer, first) }
}
