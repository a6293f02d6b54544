// POST /v1/events: from a body on a socket to the answer that it is durable.
//
//   headers -> body (copied once, into the segment) -> scan or convert -> admission -> batcher -> 202

import type { HttpRequest, HttpResponse } from 'uWebSockets.js'
import { answerJson, answerProblem, type Exchange } from '../answer.ts'
import type { Auth, Caller } from '../auth.ts'
import { Problem } from '../errors.ts'
import { PRODUCER_BYTES_MAX } from '../limits.ts'
import { turnTime } from '../telemetry/clock.ts'
import { Door, Route } from '../telemetry/doors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Admission } from './admission.ts'
import type { Waiting } from './batcher.ts'
import { type BinaryAttributes, binaryToFrame, cloudEventsToFrame } from './cloudevents.ts'
import { attributesOf, looksLikeEvent } from './cloudevents-headers.ts'
import { correlationIdOf, isVisibleAscii, makeCorrelationId } from './correlation.ts'
import type { Intake } from './intake.ts'
import { jsonToFrame } from './json.ts'
import { ndjsonToFrame } from './ndjson.ts'
import { scan } from './scan.ts'

/** First size of the memory for a body that does not come in one piece. */
const COLLECT_BYTES_MIN = 4096

type Codec = 'protobuf' | 'json' | 'ndjson' | 'cloudevent' | 'cloudevents'

const codecs: ReadonlyMap<string, Codec> = new Map([
  ['application/x-protobuf', 'protobuf'],
  ['application/protobuf', 'protobuf'],
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/cloudevents+json', 'cloudevent'],
  ['application/cloudevents-batch+json', 'cloudevents'],
])

/** Content types that begin so are CloudEvents as a whole; any other one with `ce-` headers is the data of one. */
const cloudEvents = /^\s*application\/cloudevents/i

export interface PublishParts {
  intake: Intake
  admission: Admission
  auth: Auth
  /** Bytes of the largest body that is taken. */
  maxBody: number
  /** The end of every 202 body: the durability that the log declares. */
  durability: string
  draining(): boolean
  /** Answers close their connection: someone else takes the next request. */
  closing(): boolean
  /** Told of every refusal, for the log and the counters. */
  refused(problem: Problem, correlationId: string): void
  metrics: Metrics
}

/** The handler of the route. Every request ends in exactly one answer, or with its client gone. */
export function publish(parts: PublishParts): (res: HttpResponse, req: HttpRequest) => void {
  const route = new Route(parts.metrics, '/v1/events').expect(202)
  const door = new Door(parts.metrics, 'http')
  return (res, req) => {
    const body = new Body(parts, res, correlationIdOf(req), route, door)
    res.onAborted(() => body.abort())
    try {
      body.open(req)
      res.onData((chunk, last) => body.chunk(chunk, last))
    } catch (error) {
      body.refused(error as Problem)
    }
  }
}

/** One body on its way: an exchange with a client, and what waits for the log. */
class Body implements Exchange, Waiting {
  readonly res: HttpResponse
  aborted = false
  closing = false
  readonly route: Route
  readonly since = turnTime()
  readonly #door: Door
  readonly #parts: PublishParts
  /** What the client sent, or empty: only this is carried through the log. */
  readonly #correlation: string
  #madeCorrelationId: string | undefined
  #codec: Codec = 'protobuf'
  /** Of a CloudEvent in binary mode; the codec does not matter then. */
  #attributes: BinaryAttributes | undefined
  #caller: Caller | undefined
  #producer = ''
  #sequence = 0
  #events = 0
  /** When the body was complete. */
  #completeAt = 0
  /** Chunks of a body that did not come in one piece. */
  #collected: Buffer | undefined
  #received = 0
  /** Bytes that admission knows of. */
  #held = 0
  #refused = false
  #over = false

  constructor(parts: PublishParts, res: HttpResponse, correlation: string, route: Route, door: Door) {
    this.#parts = parts
    this.route = route
    this.#door = door
    this.res = res
    this.#correlation = correlation
    parts.admission.open++
  }

  get correlationId(): string {
    if (this.#correlation !== '') return this.#correlation
    this.#madeCorrelationId ??= makeCorrelationId()
    return this.#madeCorrelationId
  }

  /** Reads the headers, which are gone after this turn. Throws a Problem where they are not right. */
  open(req: HttpRequest): void {
    const parts = this.#parts
    if (parts.draining()) throw new Problem('draining', 'this daemon is shutting down')
    this.#caller = parts.auth.check(req.getHeader('authorization'), 'publish')
    this.#readMode(req)
    const encoding = req.getHeader('content-encoding')
    if (encoding !== '' && encoding !== 'identity') {
      throw new Problem('unsupported-media-type', `content-encoding ${encoding}: send the body as it is`)
    }
    const declared = Number(req.getHeader('content-length'))
    if (declared > parts.maxBody) throw tooLarge(declared, parts.maxBody)
    const producer = req.getHeader('millrace-producer')
    const sequence = req.getHeader('millrace-sequence')
    if (producer !== '' || sequence !== '') {
      this.#sequence = sequenceOf(producer, sequence)
      this.#producer = producer
    }
  }

  /** A part of the body. The chunk's memory is only ours during this call. */
  chunk(chunk: ArrayBuffer, last: boolean): void {
    if (this.#refused) return
    try {
      if (last && this.#collected === undefined) {
        this.#receive(chunk.byteLength)
        this.#hold(chunk.byteLength)
        this.#complete(new Uint8Array(chunk))
        return
      }
      this.#collect(chunk)
      if (last) this.#complete(this.#collected!.subarray(0, this.#received))
    } catch (error) {
      this.refused(error as Problem)
    }
  }

  /** The client is gone. What is already on its way to the log stays there, nobody is told. */
  abort(): void {
    if (!this.aborted) this.route.aborted(this.since, this.correlationId)
    this.aborted = true
    if (this.#events === 0 && !this.#refused) this.#end()
    this.#refused = true
  }

  durable(): void {
    this.#end()
    this.#door.durable(this.#events, this.#completeAt)
    this.closing = this.#parts.closing()
    answerJson(this, '202 Accepted', `{"accepted":${this.#events},"durability":"${this.#parts.durability}"}`)
  }

  refused(error: Error): void {
    this.#refused = true
    this.#end()
    const problem =
      error instanceof Problem ? error : new Problem('internal', 'this request failed', { cause: error })
    this.#parts.refused(problem, this.correlationId)
    this.#door.refused(problem.code)
    this.closing = this.#parts.closing()
    answerProblem(this, problem)
  }

  #receive(bytes: number): void {
    const { maxBody } = this.#parts
    this.#received += bytes
    this.route.bytes.add(bytes)
    if (this.#received > maxBody) throw tooLarge(this.#received, maxBody)
  }

  #hold(bytes: number): void {
    this.#parts.admission.take(bytes)
    this.#held += bytes
  }

  /** Answered, or nobody is there to be answered. */
  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#parts.admission.give(this.#held)
    this.#parts.admission.open--
    this.#collected = undefined
  }

  #collect(chunk: ArrayBuffer): void {
    if (chunk.byteLength === 0) return // headers that came alone
    const at = this.#received
    this.#receive(chunk.byteLength)
    const room = this.#collected?.length ?? 0
    if (this.#received > room) {
      const size = Math.min(Math.max(this.#received, 2 * room, COLLECT_BYTES_MIN), this.#parts.maxBody)
      this.#hold(size - room) // what is set apart counts, not what has come
      const grown = Buffer.allocUnsafeSlow(size)
      this.#collected?.copy(grown, 0, 0, at)
      this.#collected = grown
    }
    this.#collected!.set(new Uint8Array(chunk), at)
  }

  /** What the body is, by its headers. A CloudEvent in binary mode can have any content type. */
  #readMode(req: HttpRequest): void {
    const contentType = req.getHeader('content-type')
    if (req.getHeader('ce-specversion') !== '' && !cloudEvents.test(contentType)) {
      this.#attributes = attributesOf(req)
      return
    }
    const codec = codecOf(contentType)
    if (codec !== undefined) this.#codec = codec
    else if (!cloudEvents.test(contentType) && looksLikeEvent(req)) {
      throw new Problem('malformed', 'ce-specversion is missing')
    } else throw notUnderstood(contentType)
  }

  #convert(body: Uint8Array): { frame: Uint8Array; events: number } {
    if (this.#attributes !== undefined) return { frame: binaryToFrame(this.#attributes, body), events: 1 }
    switch (this.#codec) {
      case 'json':
        return jsonToFrame(body)
      case 'ndjson':
        return ndjsonToFrame(body)
      default:
        return cloudEventsToFrame(body, this.#codec === 'cloudevents')
    }
  }

  #complete(body: Uint8Array): void {
    const { intake } = this.#parts
    this.#completeAt = turnTime()
    let frame = body
    let events: number
    if (this.#attributes === undefined && this.#codec === 'protobuf') events = scan(body, 0, body.length)
    else {
      ;({ frame, events } = this.#convert(body))
      // Numbers of JSON may become longer when they are written again; what follows is made for frames up to this size.
      if (frame.length > this.#parts.maxBody) throw tooLarge(frame.length, this.#parts.maxBody)
    }
    if (events === 0) {
      this.durable() // an empty batch of CloudEvents: there is nothing to wait for
      return
    }
    this.#caller?.take(events, Date.now())
    this.#events = events
    intake.add(frame, events, this.#producer, this.#sequence, this.#correlation, this)
  }
}

function codecOf(contentType: string): Codec | undefined {
  return codecs.get(contentType) ?? codecs.get(contentType.split(';')[0].trim().toLowerCase())
}

function notUnderstood(contentType: string): Problem {
  const given = contentType === '' ? 'no content-type' : `content-type ${contentType}`
  const known = [...codecs.keys()].join(', ')
  return new Problem(
    'unsupported-media-type',
    `${given}: one of ${known} is understood, and any with the ce- headers of a CloudEvent`,
  )
}

/** Of the headers that name a body. Throws a Problem `malformed` where they are not right. */
export function sequenceOf(producer: string, sequence: string): number {
  if (!isVisibleAscii(producer, PRODUCER_BYTES_MAX)) {
    throw new Problem(
      'malformed',
      `millrace-producer: 1 to ${PRODUCER_BYTES_MAX} visible ASCII characters, and a millrace-sequence with it`,
    )
  }
  const number = /^[0-9]{1,16}$/.test(sequence) ? Number(sequence) : Number.NaN
  if (!Number.isSafeInteger(number)) {
    throw new Problem('malformed', `millrace-sequence: a whole number from 0 to 2^53 - 1, not "${sequence}"`)
  }
  return number
}

function tooLarge(bytes: number, most: number): Problem {
  return new Problem('too-large', `the body has ${bytes} bytes or more, ${most} at most (http.maxBody)`)
}
