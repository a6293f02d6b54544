// GET /v1/events/tail: a live tap, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//
//   data: {"specversion":"1.0",…}                    a CloudEvent in JSON, on one line
//   event: missed / data: {"missed":0,"sampled":9,"unread":0}     what was not shown since the last one of these
//   : comment                                        that it is open, and heartbeats
//
// A reader that is slow costs what one batch needs: while the socket has no room, nothing is written, and what would
// have been is counted. The server cuts off a reader that takes nothing for some ten seconds.

import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import { Problem } from '../errors.ts'
import { TAP_HEARTBEAT_MS, TAP_TOLD_MS, TAPS_MAX } from '../limits.ts'
import { Route } from '../telemetry/doors.ts'
import { parameters, type TailParameters } from './parameters.ts'
import { open, type RouteParts, refuse } from './routes.ts'

const PATH = '/v1/events/tail'
/** How long an EventSource waits before it comes again, milliseconds. */
const RETRY_MS = 1000

/** What was found since the last time. */
export interface News {
  /** CloudEvents in JSON, each on one line. */
  events: string[]
  /** Events that matched, and were left out by the rate, of events or of bytes. */
  sampled: number
  /** Events that matched, and were lost on the way. */
  missed: number
  /** Events that were not looked at, since there were too many. */
  unread: number
}

/** Where taps come from. */
export interface Taps {
  open(
    filter: TailParameters['filter'],
    rate: number,
    read: (news: News) => void,
  ): { readonly ready: Promise<void>; close(): void }
}

/** All tails of a listener. */
export class Tails {
  readonly #parts: RouteParts
  readonly #taps: Taps
  readonly #open = new Set<Tail>()
  readonly #route: Route

  constructor(parts: RouteParts, taps: Taps) {
    this.#parts = parts
    this.#taps = taps
    this.#route = new Route(parts.metrics, PATH)
  }

  mount(app: TemplatedApp): void {
    app.get(PATH, (res, req) => this.#get(res, req))
    app.any(PATH, (res, req) => {
      const problem = new Problem('wrong-method', `${req.getMethod().toUpperCase()} here: GET is understood`)
      refuse(open(res, req, this.#parts, this.#route), problem, this.#parts, { allow: 'GET' })
    })
  }

  /** Ends all of them. */
  drain(): void {
    for (const tail of [...this.#open]) tail.end()
  }

  #get(res: HttpResponse, req: HttpRequest): void {
    let tail: Tail | undefined
    const exchange = open(res, req, this.#parts, this.#route, () => tail?.gone())
    try {
      this.#parts.auth.check(req.getHeader('authorization'), 'query')
      const { filter, rate } = parameters.tail(new URLSearchParams(req.getQuery()))
      if (this.#parts.closing()) {
        exchange.aborted = true
        sendAway(res, exchange.correlationId)
        return
      }
      if (this.#open.size >= TAPS_MAX) throw new Problem('overloaded', `${TAPS_MAX} taps are open here`)
      const begun = () => {
        exchange.aborted = true // answered: how long it is read is no duration of a request
        this.#route.answered(200, exchange.since, exchange.correlationId)
      }
      tail = new Tail(res, exchange.correlationId, begun, (ended) => this.#open.delete(ended))
      this.#open.add(tail)
      tail.read(this.#taps.open(filter, rate, (news) => tail?.news(news)))
    } catch (error) {
      refuse(exchange, error as Error, this.#parts)
    }
  }
}

/** One client that reads. Its response is not to be touched once it is gone. */
class Tail {
  readonly #res: HttpResponse
  readonly #correlationId: string
  readonly #began: () => void
  readonly #over: (tail: Tail) => void
  #tap: { close(): void } | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #begun = false
  #gone = false
  /** The socket has no room. */
  #full = false
  #left = { missed: 0, sampled: 0, unread: 0 }
  #toldAt = 0
  #telling: NodeJS.Timeout | undefined

  constructor(res: HttpResponse, correlationId: string, began: () => void, over: (tail: Tail) => void) {
    this.#res = res
    this.#correlationId = correlationId
    this.#began = began
    this.#over = over
  }

  read(tap: { readonly ready: Promise<void>; close(): void }): void {
    this.#tap = tap
    void tap.ready.then(() => this.#begin())
  }

  news({ events, missed, sampled, unread }: News): void {
    const left = this.#left
    left.missed += missed
    left.sampled += sampled
    left.unread += unread
    if (this.#full || !this.#begun) {
      left.missed += events.length
      return
    }
    const text = this.#told() + events.map((event) => `data: ${event}\n\n`).join('')
    if (text !== '') this.#write(text)
    if (left.missed + left.sampled + left.unread > 0) this.#tellLater()
  }

  /** The server ends it. */
  end(): void {
    if (this.#gone) return
    this.gone()
    // Told to close the connection, too, it would write a header where the body is.
    if (this.#begun) this.#res.cork(() => this.#res.end())
    else sendAway(this.#res, this.#correlationId)
  }

  /** The client has gone away, or is sent away. */
  gone(): void {
    this.#gone = true
    clearInterval(this.#heartbeat)
    clearTimeout(this.#telling)
    this.#tap?.close()
    this.#over(this)
  }

  #begin(): void {
    if (this.#gone) return
    this.#begun = true
    this.#began()
    const res = this.#res
    res.onWritable(() => {
      this.#write(this.#told() || ':\n\n') // writing is what sends the rest of what was written before
      return true
    })
    res.cork(() => {
      writeHead(res, this.#correlationId)
      this.#write(`: open\nretry: ${RETRY_MS}\n\n`)
    })
    this.#heartbeat = setInterval(() => this.#beat(), TAP_HEARTBEAT_MS)
  }

  #beat(): void {
    if (!this.#full) this.#write(this.#told() || ':\n\n')
  }

  /** So that it is told also where nothing follows. */
  #tellLater(): void {
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined
      const text = this.#full ? '' : this.#told()
      if (text !== '') this.#write(text)
    }, TAP_TOLD_MS)
  }

  /** What there is to tell of what was not shown, at its time. */
  #told(): string {
    const { missed, sampled, unread } = this.#left
    const now = Date.now()
    if (missed + sampled + unread === 0 || now - this.#toldAt < TAP_TOLD_MS) return ''
    this.#toldAt = now
    Object.assign(this.#left, { missed: 0, sampled: 0, unread: 0 })
    return `event: missed\ndata: ${JSON.stringify({ missed, sampled, unread })}\n\n`
  }

  #write(text: string): void {
    this.#res.cork(() => {
      this.#full = !this.#res.write(text)
    })
  }
}

function writeHead(res: HttpResponse, correlationId: string): void {
  res.writeStatus('200 OK').writeHeader('content-type', 'text/event-stream; charset=utf-8')
  res.writeHeader('cache-control', 'no-store').writeHeader('x-correlation-id', correlationId)
}

/**
 * Has a reader come again, to whoever listens then: an EventSource does so after a stream that has ended, and never
 * after a status such as 503.
 */
function sendAway(res: HttpResponse, correlationId: string): void {
  res.cork(() => {
    writeHead(res, correlationId)
    res.end(`: leaving\nretry: ${RETRY_MS}\n\n`, true)
  })
}
