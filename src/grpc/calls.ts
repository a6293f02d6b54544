// Every call before a message of it is read: who makes it, may they, and is there room. What is refused here has cost
// no memory; what passes holds at most one message of the largest size that is not whole yet.

import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerListener,
  status,
} from '@grpc/grpc-js'
import type { Auth, Caller, Scope } from '../auth.ts'
import { Problem } from '../errors.ts'
import { correlationIdOf, makeCorrelationId } from '../ingest/correlation.ts'
import { sequenceOf } from '../ingest/publish.ts'
import * as limits from '../limits.ts'
import { turnTime } from '../telemetry/clock.ts'
import { Door, Method } from '../telemetry/doors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { asProblem, headerText, refusal } from './problem.ts'

/** What its metadata says of a call. */
export interface Call {
  caller: Caller | undefined
  /** Empty for none. */
  producer: string
  /** Of the only frame, or of a stream's first one. */
  sequence: number
  /** What the client sent, or empty: only this is carried through the log. */
  correlation: string
  /** What the client is told. */
  correlationId: string
}

/** Calls of one sort, which share a bound. */
interface Sort {
  what: string
  scope?: Scope
  most: number
  /** Bytes of a message. */
  bytesMax: number
  /** Its message is to come at once: it is held until it is whole. */
  single: boolean
  open: number
}

export interface CallParts {
  auth: Auth
  maxBody: number
  draining(): boolean
  /** Told of every refusal, for the log and the counters. */
  refused(problem: Problem, correlationId: string): void
  metrics: Metrics
}

export class Calls {
  readonly #parts: CallParts
  readonly #sorts: Record<'publish' | 'stream' | 'query' | 'tap' | 'other', Sort>
  readonly #known = new WeakMap<Metadata, Call>()
  /** Of the methods that are served: no other call comes here. */
  readonly #methods = new Map<string, Method>()
  /** What is published over gRPC. */
  readonly door: Door

  constructor(parts: CallParts) {
    this.#parts = parts
    this.door = new Door(parts.metrics, 'grpc')
    const publishes = Math.max(1, Math.floor(limits.GRPC_RECEIVING_BYTES_MAX / parts.maxBody))
    const { maxBody } = parts
    const small = Math.min(limits.GRPC_QUESTION_BYTES_MAX, maxBody)
    const publish = Math.min(limits.GRPC_PUBLISHES_MAX, publishes)
    const sort = (what: string, most: number, bytesMax: number, single: boolean, scope?: Scope): Sort => {
      return { what, most, bytesMax, single, open: 0, ...(scope === undefined ? {} : { scope }) }
    }
    this.#sorts = {
      publish: sort('calls of Publish', publish, maxBody, true, 'publish'),
      stream: sort('streams', limits.GRPC_STREAMS_MAX, maxBody, false, 'publish'),
      query: sort('queries', limits.QUERIES_MAX, small, true, 'query'),
      tap: sort('taps', limits.TAPS_MAX, small, true, 'query'),
      other: sort('calls', limits.GRPC_OTHER_CALLS_MAX, small, false),
    }
  }

  /** Of a call that has passed. */
  of(metadata: Metadata): Call {
    return this.#known.get(metadata)!
  }

  /** What a call's answer begins with, where it begins before there is anything to say. */
  headers(metadata: Metadata): Metadata {
    const headers = new Metadata()
    headers.set('millrace-correlation-id', this.of(metadata).correlationId)
    return headers
  }

  /** How a call ends that was refused after it had passed. */
  refusal(error: Error, { correlationId }: Call) {
    const problem = asProblem(error)
    this.#parts.refused(problem, correlationId)
    return refusal(problem, correlationId)
  }

  readonly interceptor: ServerInterceptor = (method, call) => {
    const sort = this.#sorts[sortOf(method.path)]
    const counted = this.#method(method.path)
    const since = turnTime()
    let ended = false
    let correlationId = ''
    let entered = false
    let late: NodeJS.Timeout | undefined
    const leave = () => {
      clearTimeout(late)
      if (entered) sort.open--
      entered = false
    }
    const end = (code: status) => {
      if (!ended) counted.ended(status[code], since, correlationId)
      ended = true
    }
    const refuse = (error: Error) => {
      const problem = asProblem(error)
      this.#parts.refused(problem, correlationId)
      if (sort.scope === 'publish') this.door.refused(problem.code)
      end(refusal(problem, correlationId).code)
      call.sendStatus(refusal(problem, correlationId))
    }
    const listener: ServerListener = {
      onReceiveMetadata: (metadata, pass) => {
        const correlation = correlationIdOf({ getHeader: (name) => textOf(metadata, String(name)) })
        correlationId = correlation || makeCorrelationId()
        try {
          const sender = this.#admit(metadata, sort)
          limitMessages(call as unknown as Incoming, sort)
          this.#known.set(metadata, { ...sender, correlation, correlationId })
        } catch (error) {
          refuse(error as Error)
          return
        }
        sort.open++
        entered = true
        if (sort.single) late = setTimeout(() => refuse(tooSlow()), limits.GRPC_RECEIVE_MS_MAX)
        pass(metadata)
      },
      onReceiveMessage: (message: Buffer, pass) => {
        counted.bytes.add(message.length)
        pass(message)
      },
      onReceiveHalfClose: (pass) => {
        clearTimeout(late)
        pass()
      },
      /** Called at the end of every call, however it ends. */
      onCancel: () => {
        end(status.CANCELLED)
        leave()
      },
    }
    return new ServerInterceptingCall(call, {
      start: (next) => next(listener),
      sendStatus: (last, next) => {
        end(last.code)
        last.metadata?.set('millrace-correlation-id', correlationId)
        next(last.code === status.OK ? last : { ...last, details: headerText(last.details ?? '') })
      },
    })
  }

  #method(path: string): Method {
    let method = this.#methods.get(path)
    if (method === undefined) {
      method = new Method(this.#parts.metrics, path.slice(1))
      this.#methods.set(path, method)
    }
    return method
  }

  #admit(metadata: Metadata, sort: Sort): Pick<Call, 'caller' | 'producer' | 'sequence'> {
    const { auth, draining } = this.#parts
    if (sort.scope !== undefined && draining()) {
      throw new Problem('draining', 'this daemon is shutting down')
    }
    const caller =
      sort.scope === undefined ? undefined : auth.check(textOf(metadata, 'authorization'), sort.scope)
    if (sort.open >= sort.most) throw new Problem('overloaded', `${sort.most} ${sort.what} are open here`)
    const producer = textOf(metadata, 'millrace-producer')
    const sequence = textOf(metadata, 'millrace-sequence')
    if (sort.scope !== 'publish' || (producer === '' && sequence === '')) {
      return { caller, producer: '', sequence: 0 }
    }
    return { caller, producer, sequence: sequenceOf(producer, sequence) }
  }
}

/** What grpc-js (1.14.7) keeps of a call that comes in and has no public name for; test/e2e/grpc.test.ts holds it to it. */
interface Incoming {
  incomingEncoding: string
  decoder: { maxReadMessageLength: number }
}

/**
 * Messages of a call are cut out of what has come and inflated before anyone is asked: 16 KiB can hold 16 MiB of them.
 * So none may be compressed, and where only questions come they are to be small.
 */
function limitMessages({ incomingEncoding, decoder }: Incoming, { bytesMax }: Sort): void {
  if (incomingEncoding !== 'identity') {
    throw new Problem(
      'unsupported-media-type',
      `grpc-encoding ${incomingEncoding}: send messages uncompressed`,
    )
  }
  decoder.maxReadMessageLength = bytesMax
}

function sortOf(path: string): 'publish' | 'stream' | 'query' | 'tap' | 'other' {
  if (path === '/millrace.v1.Ingest/Publish') return 'publish'
  if (path === '/millrace.v1.Ingest/PublishStream') return 'stream'
  if (path === '/millrace.v1.Query/Tap') return 'tap'
  return path.startsWith('/millrace.v1.Query/') ? 'query' : 'other'
}

function textOf(metadata: Metadata, name: string): string {
  const [value = ''] = metadata.get(name)
  return String(value)
}

function tooSlow(): Problem {
  const seconds = limits.GRPC_RECEIVE_MS_MAX / 1000
  return new Problem('malformed', `the request did not come to its end within ${seconds} s`)
}
