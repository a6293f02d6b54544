// A reader of the tap: server-sent events over node:http, which can stop reading.

import { type IncomingMessage, request } from 'node:http'
import type { TestContext } from 'node:test'
import { serverSent } from '../../src/cli/event-stream.ts'
import { atEnd, type Daemon } from './daemon.ts'

export type Shown = Record<string, unknown>

export class TapClient {
  readonly events: Shown[] = []
  readonly missed: { missed: number; sampled: number; unread: number }[] = []
  /** What the stream ended with. */
  ended: 'by the server' | Error | undefined
  readonly #response: IncomingMessage
  #watchers: (() => void)[] = []

  /** Resolves when the tap is open: what is accepted from then on is seen. */
  static async open(t: TestContext, daemon: Daemon, query = ''): Promise<TapClient> {
    const sent = request(`${daemon.http}/v1/events/tail${query}`, { agent: false })
    atEnd(t, () => sent.destroy())
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      sent.on('response', resolve).on('error', reject).end()
    })
    return new TapClient(response)
  }

  private constructor(response: IncomingMessage) {
    this.#response = response
    void this.#read()
  }

  get status(): number {
    return this.#response.statusCode!
  }

  get headers(): IncomingMessage['headers'] {
    return this.#response.headers
  }

  /** Takes nothing from the socket any longer. */
  pause(): void {
    this.#response.socket.pause()
  }

  resume(): void {
    this.#response.socket.resume()
  }

  close(): void {
    this.#response.destroy()
  }

  /** Waits until it is as wanted; the test's own time limit ends what never is. */
  async until(condition: (client: TapClient) => boolean): Promise<void> {
    while (!condition(this)) {
      if (this.ended !== undefined) throw new Error(`the tap ended: ${this.ended}`)
      await new Promise<void>((resolve) => this.#watchers.push(resolve))
    }
  }

  async untilEnded(): Promise<void> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.#watchers.push(resolve))
  }

  /** Sum of what it was told that it did not see. */
  total(kind: 'missed' | 'sampled' | 'unread'): number {
    return this.missed.reduce((sum, told) => sum + told[kind], 0)
  }

  async #read(): Promise<void> {
    try {
      for await (const { event, data } of serverSent(this.#response)) {
        if (event === 'missed') this.missed.push(JSON.parse(data))
        else this.events.push(JSON.parse(data))
        this.#tell()
      }
      this.ended = 'by the server'
    } catch (error) {
      this.ended = error as Error
    }
    this.#tell()
  }

  #tell(): void {
    for (const watcher of this.#watchers.splice(0)) watcher()
  }
}
