// A load generator that hides no queueing. Closed loop: each connection sends its next request when the answer is
// there, which finds the ceiling. Open loop: requests are due at fixed times, and latency counts from when a
// request was due, not from when a connection was free to send it (no "coordinated omission").
//
// It shares the cores with what it measures, so it does little: requests are made beforehand, one memory takes the
// answers of all connections, and an answer like the last one is known by a few bytes. Its own processor time is part
// of the outcome (`npm run bench:generator` measures it alone).

import { connect, type Socket } from 'node:net'
import { Histogram } from '../src/cli/histogram.ts'

export interface Load {
  url: string
  connections: number
  /** Whole bodies, sent in turn. */
  bodies: Buffer[]
  eventsPerBody: number
  warmupSeconds: number
  seconds: number
  /** Ends after so many answers, if that is sooner. */
  requestsMax?: number
  /** Requests a second for an open loop; closed loop when absent. */
  rate?: number
  /** Of the bodies; frames when absent. */
  contentType?: string
  /** Called when the warm-up is over. */
  onMeasuring?: () => void
}

export interface Outcome {
  seconds: number
  requests: number
  events: number
  /** All answers with 202: also those of the warm-up, and of what was in flight at the end. */
  accepted: number
  /** Connections that were made anew, since an answer said that the one before it closes. */
  reconnects: number
  /** Answers other than 202, by status. */
  others: Map<string, number>
  /** Milliseconds. */
  latency: Histogram
  /** Processor time that this process took for each answer, microseconds. */
  cpuUs: number
}

/** Answers are read here, whole ones one at a time: what is left of a partial one is kept by its connection. */
const READ_BYTES = 64 * 1024
/** Due times that were served, before the list of them is cut. */
const SERVED_MAX = 10_000

const CRLF = 0x0a0d0a0d
const ACCEPTED = 0x323032 // "202", as three bytes in little endian order

/** Runs one load to its end. Rejects when a connection breaks. */
export function generate(load: Load): Promise<Outcome> {
  return new Generator(load).run()
}

class Generator {
  readonly #load: Load
  readonly #requests: Buffer[]
  readonly #outcome: Outcome
  readonly #connections: Connection[] = []
  readonly #answers = new Answers()
  #next = 0
  #measuring = false
  #stopped = false
  /** Open loop: connections with nothing in flight. */
  #free: Connection[] | undefined
  /** Open loop: times at which requests were due and no connection was free, from `#dueFrom` on. */
  #due: number[] = []
  #dueFrom = 0
  /** Resolves `run` when there were as many answers as wanted. */
  #enough: () => void = () => {}

  constructor(load: Load) {
    this.#load = load
    const { host, pathname } = new URL('/v1/events', load.url)
    const contentType = load.contentType ?? 'application/x-protobuf'
    this.#requests = load.bodies.map((body) =>
      Buffer.concat([
        Buffer.from(
          `POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: ${contentType}\r\n` +
            `content-length: ${body.length}\r\n\r\n`,
        ),
        body,
      ]),
    )
    this.#outcome = {
      seconds: 0,
      requests: 0,
      events: 0,
      accepted: 0,
      reconnects: 0,
      others: new Map(),
      latency: new Histogram(),
      cpuUs: 0,
    }
  }

  async run(): Promise<Outcome> {
    const { hostname, port } = new URL(this.#load.url)
    let failed: (error: Error) => void = () => {}
    const failure = new Promise<never>((_, reject) => {
      failed = reject
    })
    for (let i = 0; i < this.#load.connections; i++) {
      const connection = new Connection(this.#answers, (status, ms) => this.#answered(connection, status, ms))
      this.#connections.push(connection)
      await Promise.race([connection.open(hostname, Number(port), failed), failure])
    }
    const pace = this.#load.rate === undefined ? this.#closedLoop() : this.#openLoop(this.#load.rate)
    await Promise.race([wait(this.#load.warmupSeconds), failure])
    this.#load.onMeasuring?.()
    this.#measuring = true
    const started = performance.now()
    const cpu = process.cpuUsage()
    const enough = new Promise<void>((resolve) => {
      this.#enough = resolve
    })
    await Promise.race([wait(this.#load.seconds), enough, failure])
    this.#measuring = false
    const { user, system } = process.cpuUsage(cpu)
    this.#outcome.cpuUs = (user + system) / this.#outcome.latency.count
    this.#outcome.seconds = (performance.now() - started) / 1000
    this.#stopped = true
    clearInterval(pace)
    await Promise.race([this.#settled(), failure])
    for (const connection of this.#connections) {
      connection.close()
      this.#outcome.reconnects += connection.reconnects
    }
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
        // In turn: one that is not used for long is closed by the server.
        const connection = free.shift()
        if (connection !== undefined) this.#send(connection, at)
        else this.#due.push(at)
      }
    }, 1)
  }

  #send(connection: Connection, due: number): void {
    connection.send(this.#requests[this.#next], due)
    if (++this.#next === this.#requests.length) this.#next = 0
  }

  /** `status`: its three digits as bytes, in little endian order. */
  #answered(connection: Connection, status: number, due: number): void {
    const now = performance.now()
    if (status === ACCEPTED) this.#outcome.accepted++
    if (this.#measuring) {
      const outcome = this.#outcome
      if (status === ACCEPTED) {
        outcome.requests++
        outcome.events += this.#load.eventsPerBody
        outcome.latency.record(now - due)
        if (outcome.requests === this.#load.requestsMax) this.#enough()
      } else {
        const digits = String.fromCharCode(status & 255, (status >> 8) & 255, status >> 16)
        outcome.others.set(digits, (outcome.others.get(digits) ?? 0) + 1)
      }
    }
    if (this.#stopped) return
    if (this.#free === undefined) this.#send(connection, now)
    else if (this.#dueFrom < this.#due.length) {
      this.#send(connection, this.#due[this.#dueFrom++])
      if (this.#dueFrom > SERVED_MAX) {
        this.#due = this.#due.slice(this.#dueFrom)
        this.#dueFrom = 0
      }
    } else this.#free.push(connection)
  }

  async #settled(): Promise<void> {
    while (this.#connections.some((connection) => connection.busy)) await wait(0.01)
  }
}

/** Finds where answers end. Most are like the one before, which is known without reading their headers. */
class Answers {
  /** Of the last answer that was read in full. */
  #bytes = 0
  #headEnd = 0
  #lengthAt = 0
  #length = 0
  /** The connection is closed behind it. */
  closes = false

  /** True when `bytes` of data are one whole answer. */
  whole(data: Buffer, bytes: number): boolean {
    if (bytes === this.#bytes && data.readUInt32LE(this.#headEnd) === CRLF) {
      // A body of this many bytes, and the digits that say so where they were.
      let length = 0
      for (let at = this.#lengthAt; data[at] >= 48 && data[at] <= 57; at++)
        length = length * 10 + data[at] - 48
      if (length === this.#length) return true
    }
    return this.#read(data, bytes)
  }

  #read(data: Buffer, bytes: number): boolean {
    const head = data.subarray(0, bytes).indexOf('\r\n\r\n')
    if (head < 0) return false
    const text = data.toString('latin1', 0, head)
    const found = /\r\ncontent-length: *(\d+)/i.exec(text)
    if (found === null) throw new Error('an answer without content-length')
    const length = Number(found[1])
    if (bytes < head + 4 + length) return false
    if (bytes > head + 4 + length) throw new Error('more than the answer to one request')
    this.#bytes = bytes
    this.#headEnd = head
    this.#lengthAt = found.index + found[0].length - found[1].length
    this.#length = length
    this.closes = /\r\nconnection: *close/i.test(text)
    return true
  }
}

/** What is read, of all connections: an answer is done with before the next one is read. */
const memory = Buffer.alloc(READ_BYTES)

/** One keep-alive connection with one request in flight. */
class Connection {
  readonly #answers: Answers
  readonly #answered: (status: number, due: number) => void
  #socket!: Socket
  #due = 0
  #rest: Buffer | undefined
  #closing = false
  #connect!: () => Socket
  busy = false
  reconnects = 0

  constructor(answers: Answers, answered: (status: number, due: number) => void) {
    this.#answers = answers
    this.#answered = answered
  }

  open(host: string, port: number, failed: (error: Error) => void): Promise<void> {
    const read = (bytes: number): boolean => {
      try {
        this.#read(bytes)
      } catch (error) {
        failed(error as Error)
      }
      return true
    }
    this.#connect = () => {
      const socket = connect({ host, port, noDelay: true, onread: { buffer: memory, callback: read } })
      const isMeant = () => socket === this.#socket && !this.#closing
      socket.on('error', (error) => {
        if (isMeant()) failed(error)
      })
      socket.on('close', () => {
        if (isMeant()) failed(new Error('the server closed a connection'))
      })
      return socket
    }
    this.#socket = this.#connect()
    return new Promise((resolve) => this.#socket.once('connect', resolve))
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

  #read(bytes: number): void {
    let answer = memory
    let size = bytes
    if (this.#rest !== undefined) {
      answer = Buffer.concat([this.#rest, memory.subarray(0, bytes)])
      size = answer.length
    }
    if (!this.#answers.whole(answer, size)) {
      this.#rest = Buffer.from(answer.subarray(0, size))
      return
    }
    this.#rest = undefined
    this.busy = false
    if (this.#answers.closes) {
      const former = this.#socket
      this.#socket = this.#connect()
      this.reconnects++
      former.destroy()
    }
    this.#answered(answer.readUIntLE(9, 3), this.#due)
  }
}

/** No reason to stay for a process that is done before: what is waited for here has connections. */
function wait(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000).unref())
}
