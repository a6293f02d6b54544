// A daemon that answers by a script, and the command line run in this process.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { millrace } from '#proto'
import { main } from '../../src/cli/main.ts'

export interface Received {
  url: string
  headers: IncomingMessage['headers']
  body: Buffer
  /** Milliseconds; only differences mean something. */
  at: number
}

/** An answer, or what happens instead of one. */
export type Answer =
  | { status: number; body?: unknown; headers?: Record<string, string> }
  | 'reset before the body'
  | 'reset after the body'
  | 'reset in the answer'
  /** Answered when it resolves: with what it resolves with, if that is an answer. */
  | Promise<unknown>

export class FakeDaemon {
  readonly received: Received[] = []
  readonly url: string
  /** Bodies answered with 202. */
  readonly accepted: Received[] = []

  private constructor(url: string) {
    this.url = url
  }

  /** `script`: called for each request with its number, from 0; undefined takes the body. */
  static async start(
    t: TestContext,
    script: (number: number, request: Received) => Answer | undefined = () => undefined,
  ): Promise<FakeDaemon> {
    const server = createServer((request, response) => handle(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    })
    const daemon = new FakeDaemon(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const handle = async (request: IncomingMessage, response: ServerResponse) => {
      const number = daemon.received.length
      const received: Received = {
        url: request.url!,
        headers: request.headers,
        body: Buffer.alloc(0),
        at: performance.now(),
      }
      daemon.received.push(received)
      const early = script(number, received)
      if (early === 'reset before the body') return void request.socket.destroy()
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part)
      received.body = Buffer.concat(parts)
      const answer = (await early) as Exclude<Answer, Promise<unknown>> | undefined
      if (answer === 'reset after the body') return void request.socket.destroy()
      if (answer === 'reset in the answer') {
        response.writeHead(202, { 'content-length': '100' }).write('{"accep')
        return void setImmediate(() => request.socket.destroy())
      }
      if (typeof answer === 'object') {
        const type = answer.status >= 400 ? 'application/problem+json' : 'application/json'
        const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {})
        return void response.writeHead(answer.status, { 'content-type': type, ...answer.headers }).end(text)
      }
      daemon.accepted.push(received)
      const body = JSON.stringify({ accepted: eventsIn(received), durability: 'fsynced' })
      response.writeHead(202, { 'content-type': 'application/json' }).end(body)
    }
    return daemon
  }

  /** Producer and sequence of each request, in the order they came. */
  get identities(): string[] {
    return this.received.map(
      ({ headers }) => `${headers['millrace-producer']}/${headers['millrace-sequence']}`,
    )
  }

  /** The events that were taken, in the order of their sequences. */
  get events(): ReturnType<typeof decode> {
    const sequence = ({ headers }: Received) => Number(headers['millrace-sequence'])
    return [...this.accepted].sort((a, b) => sequence(a) - sequence(b)).flatMap(({ body }) => decode(body))
  }
}

export function problem(
  status: number,
  code: string,
  detail: string,
  headers?: Record<string, string>,
): Answer {
  return { status, body: { code, detail, status }, ...(headers && { headers }) }
}

function eventsIn({ headers, body }: Received): number {
  if (headers['content-type'] !== 'application/x-ndjson') return millrace.v1.Frame.decode(body).events.length
  return body
    .toString()
    .split('\n')
    .filter((line) => line.trim() !== '').length
}

/** The events of a frame as plain objects, without the fields that they do not have. */
export function decode(frame: Uint8Array) {
  return millrace.v1.Frame.decode(frame).events.map((event) => {
    const plain = millrace.v1.Event.toObject(millrace.v1.Event.fromObject(event), { longs: String })
    if (plain.timeUnixNano === '0') delete plain.timeUnixNano
    return plain
  })
}

export interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Runs the command line with these words. */
export async function run(
  argv: string[],
  { stdin = '', env = {} }: { stdin?: string | Readable; env?: Record<string, string> } = {},
): Promise<Ran> {
  const out = collect()
  const err = collect()
  const input = typeof stdin === 'string' ? Readable.from(stdin === '' ? [] : [Buffer.from(stdin)]) : stdin
  const code = await main(argv, { stdin: input, stdout: out.stream, stderr: err.stream, env })
  return { code, stdout: out.text(), stderr: err.text() }
}

export function openInput(): PassThrough {
  return new PassThrough()
}

function collect() {
  let text = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  return { stream, text: () => text }
}
