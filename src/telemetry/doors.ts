// What is counted where clients come in: requests by route and answer, and what is published through each door.

import type { ProblemCode } from '../errors.ts'
import { access } from './access.ts'
import { newTurnTime, turnTime } from './clock.ts'
import type { Counter, Histogram, Metrics } from './metrics.ts'

/** Requests of one route template of the data port. */
export class Route {
  #bytes: Counter | undefined
  readonly #metrics: Metrics
  readonly #route: string
  readonly #answers = new Map<number, Histogram>()
  #aborted: Histogram | undefined

  /** `route`: a template, such as /v1/measures/{name}: never what a client has made up. */
  constructor(metrics: Metrics, route: string) {
    this.#metrics = metrics
    this.#route = route
  }

  /** Bytes of bodies received. */
  get bytes(): Counter {
    this.#bytes ??= this.#metrics.counter('millrace_http_request_bytes_total', { route: this.#route })
    return this.#bytes
  }

  /** Has the series of this answer from the start: an increase from nothing is none that could be seen. */
  expect(status: number): this {
    this.#answers.set(status, this.#open(String(status)))
    return this
  }

  /** `since`: when its headers came, by turnTime(). */
  answered(status: number, since: number, correlationId: string): void {
    if (access.enabled) this.#tell(status, since, correlationId)
    let answers = this.#answers.get(status)
    if (answers === undefined) {
      answers = this.#open(String(status))
      this.#answers.set(status, answers)
    }
    answers.observe((turnTime() - since) / 1000)
  }

  /** The client left before there was an answer. */
  aborted(since: number, correlationId: string): void {
    if (access.enabled) this.#tell('aborted', since, correlationId)
    this.#aborted ??= this.#open('aborted')
    this.#aborted.observe((turnTime() - since) / 1000)
  }

  #tell(status: number | 'aborted', since: number, correlationId: string): void {
    access.tell({ correlationId, route: this.#route, status, ms: newTurnTime() - since })
  }

  #open(code: string): Histogram {
    const labels = { route: this.#route, code }
    const answers = this.#metrics.histogram('millrace_http_request_duration_seconds', labels)
    this.#metrics.reading('millrace_http_requests_total', labels, () => answers.count)
    return answers
  }
}

/** What is published through one door of a process. */
export class Door {
  readonly #metrics: Metrics
  readonly #door: 'http' | 'stream' | 'grpc'
  readonly #acks: Histogram
  readonly #events: Counter
  readonly #refusals = new Map<ProblemCode, Counter>()

  constructor(metrics: Metrics, door: 'http' | 'stream' | 'grpc') {
    this.#metrics = metrics
    this.#door = door
    this.#acks = metrics.histogram('millrace_publish_ack_seconds', { door })
    this.#events = metrics.counter('millrace_received_events_total', { door })
  }

  /** A body that was complete at `since`, by turnTime(), is durable. */
  durable(events: number, since: number): void {
    this.#acks.observe((turnTime() - since) / 1000)
    this.#events.add(events)
  }

  refused(code: ProblemCode): void {
    let refusals = this.#refusals.get(code)
    if (refusals === undefined) {
      refusals = this.#metrics.counter('millrace_publish_refused_total', { door: this.#door, code })
      this.#refusals.set(code, refusals)
    }
    refusals.add(1)
  }
}

/** gRPC calls of one method, such as millrace.v1.Ingest/Publish, or `other`. */
export class Method {
  /** Bytes of messages received. */
  readonly bytes: Counter
  readonly #metrics: Metrics
  readonly #method: string
  readonly #ends = new Map<string, Histogram>()

  constructor(metrics: Metrics, method: string) {
    this.#metrics = metrics
    this.#method = method
    this.bytes = metrics.counter('millrace_grpc_request_bytes_total', { method })
  }

  /** `code`: the name of a gRPC status. `since`: when its metadata came, by turnTime(). */
  ended(code: string, since: number, correlationId: string): void {
    const ms = newTurnTime() - since
    if (access.enabled) access.tell({ correlationId, route: this.#method, status: code, ms })
    let ends = this.#ends.get(code)
    if (ends === undefined) {
      const labels = { method: this.#method, code }
      const histogram = this.#metrics.histogram('millrace_grpc_request_duration_seconds', labels)
      this.#metrics.reading('millrace_grpc_requests_total', labels, () => histogram.count)
      ends = histogram
      this.#ends.set(code, ends)
    }
    ends.observe(ms / 1000)
  }
}
