// A load that notices everything: each request is answered with 202 or is a failure, a connection that ends without
// having said so in its last answer too. Some connections are kept, some are new for each request.

import { connect } from 'node:net'
import { frame } from './daemon.ts'

const END_OF_HEAD = '\r\n\r\n'

export class Load {
  /** Requests that were answered with 202, of one event each. */
  acked = 0
  connections = 0
  readonly failures: string[] = []
  readonly #port: number
  readonly #request: Buffer
  readonly #closingRequest: Buffer
  #stopped = false
  #running: Promise<void>[] = []

  constructor(http: string) {
    const { port, host } = new URL(http)
    this.#port = Number(port)
    const body = frame({ subject: 'load', value: 1 })
    const head = `POST /v1/events HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/x-protobuf\r\n`
    const request = (more: string) =>
      Buffer.concat([Buffer.from(`${head}${more}content-length: ${body.length}${END_OF_HEAD}`), body])
    this.#request = request('')
    this.#closingRequest = request('connection: close\r\n')
  }

  /** So many connections that are kept, and so many that are made anew for each request. */
  start(kept: number, anew: number): void {
    for (let n = 0; n < kept; n++) this.#running.push(this.#connections(true))
    for (let n = 0; n < anew; n++) this.#running.push(this.#connections(false))
  }

  /** Every request that was begun gets its answer. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  async #connections(kept: boolean): Promise<void> {
    while (!this.#stopped) await this.#connection(kept)
  }

  #connection(kept: boolean): Promise<void> {
    const request = kept ? this.#request : this.#closingRequest
    this.connections++
    return new Promise((resolve) => {
      const socket = connect(this.#port, '127.0.0.1', () => socket.write(request))
      let text = ''
      let over = false
      socket.setNoDelay(true)
      socket.on('data', (data: Buffer) => {
        text += data.toString('latin1')
        const end = text.indexOf(END_OF_HEAD)
        if (end < 0) return
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
        if (text.length < end + END_OF_HEAD.length + length) return
        if (text.startsWith('HTTP/1.1 202')) this.acked++
        else this.#failed(text)
        over = !kept || this.#stopped || /connection: close/i.test(text)
        text = ''
        if (over) socket.end()
        else socket.write(request)
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (!over) this.#failed(error.code ?? error.message)
        over = true
      })
      socket.on('close', () => {
        if (!over) this.#failed('closed without an answer')
        resolve()
      })
    })
  }

  #failed(what: string): void {
    this.failures.push(what)
    if (this.failures.length > 100) this.#stopped = true
  }
}
