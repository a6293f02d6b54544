// Where the time of a request goes. undici tells of its steps through diagnostics channels, sockets of theirs.

import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { buildConnector, type Dispatcher, type Pool } from 'undici'

/** Milliseconds of one request, one phase after another. Those of a connection are 0 where it was open already. */
export interface Timings {
  /** When the request was handed over, Unix milliseconds. */
  startedAt: number
  /** Waiting for a connection that is free, or being one's own turn in this process. */
  queue: number
  dns: number
  tcp: number
  tls: number
  /** From the first byte of the request to its last, as far as this process has to do with it. */
  send: number
  /** Until the head of the answer is there: the daemon's time, and the way there and back. */
  firstByte: number
  /** Until the answer is there as a whole. */
  rest: number
  total: number
  /** The connection was opened for this request. */
  connected: boolean
  status: number
}

export const phases = ['queue', 'dns', 'tcp', 'tls', 'send', 'firstByte', 'rest'] as const
export type Phase = (typeof phases)[number]

/** When a connection came how far. */
interface Connecting {
  began: number
  resolved?: number
  opened?: number | undefined
  ready?: number | undefined
  used: boolean
}

/** When a request came how far. */
interface Steps {
  began: number
  headSent?: number
  bodySent?: number
  headers?: number
  connection?: Connecting
}

const connections = new WeakMap<object, Connecting>()
/** By undici's own object of the request. */
const requests = new WeakMap<object, Steps>()
/** The request that is being made in this very call. */
let making: Steps | undefined
let subscribed = false

/** A connector that knows when each of its connections came how far. */
export function tracedConnector(timeoutMs: number): buildConnector.connector {
  const connect = buildConnector({ timeout: timeoutMs })
  return (options, callback) => {
    const connecting: Connecting = { began: performance.now(), used: false }
    const socket = connect(options, (...answer: Parameters<buildConnector.Callback>) => {
      connecting.ready = options.protocol === 'https:' ? performance.now() : connecting.opened
      if (answer[1] !== null) connections.set(answer[1], connecting)
      callback(...answer)
    }) as unknown as Socket
    socket.once('lookup', () => {
      connecting.resolved = performance.now()
    })
    // Before undici's own listener, which hands the connection on.
    socket.prependOnceListener('connect', () => {
      connecting.opened = performance.now()
    })
    return socket
  }
}

/** Makes the request, and calls `tell` once its answer is there as a whole; never for one that fails. */
export async function traced(
  pool: Pool,
  request: Dispatcher.RequestOptions,
  tell: (timings: Timings) => void,
): Promise<Dispatcher.ResponseData> {
  if (!subscribed) subscribe()
  const steps: Steps = { began: performance.now() }
  const startedAt = Date.now()
  making = steps
  const answering = pool.request(request)
  making = undefined
  const answer = await answering
  answer.body.once('end', () => tell(timingsOf(steps, startedAt, answer.statusCode)))
  return answer
}

function subscribe(): void {
  subscribed = true
  const step = (name: string, take: (steps: Steps, message: { socket?: object }) => void) => {
    diagnostics.subscribe(name, (message) => {
      const steps = requests.get((message as { request: object }).request)
      if (steps !== undefined) take(steps, message as { socket?: object })
    })
  }
  // Published within pool.request, so that it is known whose request it is.
  diagnostics.subscribe('undici:request:create', (message) => {
    if (making !== undefined) requests.set((message as { request: object }).request, making)
  })
  step('undici:client:sendHeaders', (steps, { socket }) => {
    steps.headSent = performance.now()
    const connection = socket && connections.get(socket)
    if (connection === undefined || connection.used) return
    connection.used = true
    steps.connection = connection
  })
  step('undici:request:bodySent', (steps) => {
    steps.bodySent = performance.now()
  })
  step('undici:request:headers', (steps) => {
    steps.headers = performance.now()
  })
}

function timingsOf(steps: Steps, startedAt: number, status: number): Timings {
  const end = performance.now()
  const { began, connection } = steps
  const headSent = steps.headSent ?? began
  const bodySent = steps.bodySent ?? headSent
  const headers = steps.headers ?? end
  // A connection may have been under way before the request was: then it waited for the rest of it.
  const from = (time: number | undefined, otherwise: number) => Math.max(began, time ?? otherwise)
  const connectBegan = connection === undefined ? headSent : from(connection.began, headSent)
  const opened = connection === undefined ? headSent : from(connection.opened, headSent)
  const resolved = connection === undefined ? headSent : from(connection.resolved, connectBegan)
  const ready = connection === undefined ? headSent : from(connection.ready, opened)
  return {
    startedAt,
    queue: connectBegan - began + (headSent - ready),
    dns: resolved - connectBegan,
    tcp: opened - resolved,
    tls: ready - opened,
    send: bodySent - headSent,
    firstByte: headers - bodySent,
    rest: end - headers,
    total: end - began,
    connected: connection !== undefined,
    status,
  }
}
