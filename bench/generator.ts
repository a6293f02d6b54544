// A load generator that hides no queueing. Closed loop: each connection sends its next request when the answer is
// there, which finds the ceiling. Open loop: requests are due at fixed times, and latency counts from when a
// request was due, not from when a connection was free to send it (no "coordinated omission").

import { connect, type Socket } from 'node:net'
import { Histogram } from './histogram.ts'

export interface Load {
  url: string
  connections: number
  /** Whole bodies, sent in turn. */
  bodies: Buffer[]
  eventsPerBody: number
  warmupSeconds: number
  seconds: number
  /** Requests a second for an open loop; closed loop when absent. */
  rate?: number
}

export interface Outcome {
  seconds: number
  requests: number
  events: number
  /** Answers other than 202, by status. */
  others: Map<string, number>
  /** Milliseconds. */
  latency: Histogram
}

/** Runs one load to its end. Rejects when a connection breaks. */
export function generate(load: Load): Promise<Outcome> {
  return new Generator(load).run()
}

class Generator {
  readonly #load: Load
  readonly #requests: Buffer[]
  readonly #outcome: Outcome
  readonly #connections: Connection[] = []
  #next = 0
  #measuring = false
  #stopped = false
  /** Open loop: times at which requests were due and no connection was free, from `#dueFrom` on. */
  #due: number[] = []
  #dueFrom = 0

  constructor(load: Load) {
    this.#load = load
    const { host, pathname } = new URL('/v1/events', load.url)
    this.#requests = load.bodies.map((body) =>
      Buffer.concat([
        Buffer.from(
          `POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/x-protobuf\r\n` +
            `content-length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    )
    this.#outcome = { seconds: 0, requests: 0, events: 0, others: new Map(), latency: new Histogram() }
  }

  async run(): Promise<Outcome> {
    const { hostname, port } = new URL(this.#load.url)
    let failed: (error: Error) => void = () => {}
    const failure = new Promise<never>((_, reject) => {
      failed = reject
    })
    for (let i = 0; i < this.#load.connections; i++) {
      const connection = new Connection((status, ms) => this.#answered(connection, status, ms))
      this.#connections.push(connection)
      await Promise.race([connection.open(hostname, Number(port), failed), failure])
    }
    const pace = this.#load.rate === undefined ? this.#closedLoop() : this.#openLoop(this.#load.rate)
    await Promise.race([wait(this.#load.warmupSeconds), failure])
    this.#measuring = true
    const started = performance.now()
    await Promise.race([wait(this.#load.seconds), failure])
    this.#measuring = false
    this.#outcome.seconds = (performance.now() - started) / 1000
    this.#stopped = true
    clearInterval(pace)
    await Promise.race([this.#settled(), failure])
    for (const connection of this.#connections) connection.close()
    return this.#outcome
  }

  #closedLoop(): undefined {
    for (const connection of this.#connections) this.#send(connection, performance.now())
  }

  #openLoop(rate: number): NodeJS.Timeout {
    const free = [...this.#connections]
    this.#free = free
    const started = performance.now()
    let sent = 0
    return setInterval(() => {
      const now = performance.now()
      const due = Math.floor(((now - started) / 1000) * rate)
      for (; sent < due; sent++) {
        const at = started + (sent / rate) * 1000
        const connection = free.pop()
        if (connection !== undefined) this.#send(connection, at)
        else this.#due.push(at)
      }
    }, 1)
  }
  #free: Connection[] | undefined

  #send(connection: Connection, due: number): void {
    connection.send(this.#requests[this.#next], due)
    this.#next = (this.#next + 1) % this.#requests.length
  }

  #answered(connection: Connection, status: string, ms: number): void {
    if (this.#measuring) {
      const outcome = this.#outcome
      if (status === '202') {
        outcome.requests++
        outcome.events += this.#load.eventsPerBody
        outcome.latency.record(ms)
      } else outcome.others.set(status, (outcome.others.get(status) ?? 0) + 1)
    }
    if (this.#stopped) return
    if (this.#free === undefined) this.#send(connection, performance.now())
    else if (this.#dueFrom < this.#due.length) {
      this.#send(connection, this.#due[this.#dueFrom++])
      if (this.#dueFrom > 10_000) {
        this.#due = this.#due.slice(this.#dueFrom)
        this.#dueFrom = 0
      }
    } else this.#free.push(connection)
  }

  async #settled(): Promise<void> {
    while (this.#connections.some((connection) => connection.busy)) await wait(0.01)
  }
}

/** One keep-alive connection with one request in flight. */
class Connection {
  readonly #answered: (status: string, ms: number) => void
  #socket!: Socket
  #due = 0
  #rest: Buffer | undefined
  #closing = false
  busy = false

  constructor(answered: (status: string, ms: number) => void) {
    this.#answered = answered
  }

  open(host: string, port: number, failed: (error: Error) => void): Promise<void> {
    return new Promise((resolve) => {
      const socket = connect({ host, port, noDelay: true }, resolve)
      this.#socket = socket
      socket.on('error', failed)
      socket.on('close', () => {
        if (!this.#closing) failed(new Error('the daemon closed a connection'))
      })
      socket.on('data', (data) => this.#read(data))
    })
  }

  send(request: Buffer, due: number): void {
    this.#due = due
    this.busy = true
    this.#socket.write(request)
  }

  close(): void {
    this.#closing = true
    this.#socket.destroy()
  }

  #read(data: Buffer): void {
    const answer = this.#rest === undefined ? data : Buffer.concat([this.#rest, data])
    const head = answer.indexOf('\r\n\r\n')
    const text = head < 0 ? '' : answer.toString('latin1', 0, head)
    const length = /content-length: (\d+)/i.exec(text)?.[1]
    if (length === undefined || answer.length < head + 4 + Number(length)) {
      this.#rest = answer
      return
    }
    this.#rest = undefined
    this.busy = false
    this.#answered(text.slice(9, 12), performance.now() - this.#due)
  }
}

function wait(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}
