// A reader of the tap: server-sent events over node:http, which can stop reading.

import { type IncomingMessage, request } from 'node:http'
import type { TestContext } from 'node:test'
import { serverSent } from '../../src/cli/event-stream.ts'
import { TAP_OPEN_MS_MAX } from '../../src/limits.ts'
import { until } from '../until.ts'
import { atEnd, type Daemon } from './daemon.ts'

const WAIT_MS_MAX = 120_000

export type Shown = Record<string, unknown>

export class TapClient {
  readonly events: Shown[] = []
  readonly missed: { missed: number; sampled: number; unread: number }[] = []
  /** What the stream ended with. */
  ended: 'by the server' | Error | undefined
  readonly #response: IncomingMessage

  /** Resolves when the tap is open: what is accepted from then on is seen. */
  static async open(t: TestContext, daemon: Daemon, query = ''): Promise<TapClient> {
    const deadline = performance.now() + WAIT_MS_MAX
    for (;;) {
      const began = performance.now()
      const sent = request(`${daemon.http}/v1/events/tail${query}`, { agent: false })
      atEnd(t, () => sent.destroy())
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        sent.on('response', resolve).on('error', reject).end()
      })
      const client = new TapClient(response)
      // After this time, in whole milliseconds, it is opened also where a process does not look yet.
      if (client.status !== 200 || performance.now() - began < TAP_OPEN_MS_MAX - 1) return client
      client.close()
      if (performance.now() > deadline) throw new Error('no tap was open at all processes in time')
    }
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

  /** Waits until it is as wanted. */
  async until(condition: (client: TapClient) => boolean): Promise<void> {
    const holds = () => {
      if (condition(this)) return true
      if (this.ended !== undefined) throw new Error(`the tap ended: ${this.ended}`)
      return false
    }
    await until(holds, `of a tap, ${condition}`, WAIT_MS_MAX).catch((error: Error) => {
      const [missed, sampled, unread] = (['missed', 'sampled', 'unread'] as const).map((kind) =>
        this.total(kind),
      )
      const counts = `${this.events.length} events, ${missed} missed, ${sampled} sampled, ${unread} unread`
      throw new Error(`${error.message}; it has ${counts}`, { cause: error })
    })
  }

  async untilEnded(): Promise<void> {
    await until(() => this.ended !== undefined, 'a tap to end', WAIT_MS_MAX)
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
      }
      this.ended = 'by the server'
    } catch (error) {
      this.ended = error as Error
    }
  }
}
