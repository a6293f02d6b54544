// A client as the promises ask for: numbered events with producer and sequence, and the same body again, through
// whichever listener, until it is acknowledged.

import { Agent, request } from 'node:http'
import { type Daemon, type EventProperties, frame } from './daemon.ts'
import { generator, type Random } from './random.ts'

const ANSWER_MS_MAX = 5_000
const RETRY_MS = 5

export type Sent = Partial<EventProperties> & { subject: string; value: number }

export class Client {
  readonly name: string
  /** Bodies acknowledged, the events in them, and the sum of the numbers that they carry. */
  acked = 0
  ackedEvents = 0
  ackedSum = 0
  retries = 0
  #daemon: Daemon
  readonly #data: Uint8Array
  readonly #answerMs: number
  readonly #random: Omit<Random, 'seed'>
  #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #stopped = false
  #number = 0
  #sequence = 0

  /** Statuses other than 202 that were heard. */
  readonly refusals = new Set<number>()

  /** `bytes`: data carried by each event, beside its number. `answerMs`: how long it waits for an answer before it tries again. */
  constructor(daemon: Daemon, name: string, seed: number, { bytes = 0, answerMs = ANSWER_MS_MAX } = {}) {
    this.#daemon = daemon
    this.#data = new Uint8Array(bytes)
    this.name = name
    this.#answerMs = answerMs
    this.#random = generator(seed)
  }

  stop(): void {
    this.#stopped = true
  }

  /** Sends to another daemon from now on: the same data directory, or what a power cut left of it. */
  follow(daemon: Daemon): void {
    this.#daemon = daemon
  }

  /** Sends until it is stopped; the last body is acknowledged too. May be called again. */
  async run(): Promise<void> {
    this.#stopped = false
    for (; !this.#stopped && !this.#daemon.ended; this.#sequence++) {
      const events = await this.events()
      await this.#deliver(frame(...events), this.#sequence)
      this.acked++
      this.ackedEvents += events.length
      this.ackedSum += events.reduce((sum, { value }) => sum + value, 0)
      this.took(events)
    }
    this.#agent.destroy()
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 })
  }

  /** Those of the next body, when it is time for it. */
  protected async events(): Promise<Sent[]> {
    const numbers = Array.from({ length: this.#random.between(1, 20) }, () => this.#number++)
    const data = this.#data
    return numbers.map((value) => ({ subject: this.name, value, data, id: String(value) }))
  }

  /** They are acknowledged, or the test is over. */
  protected took(_events: Sent[]): void {}

  async #deliver(body: Buffer, sequence: number): Promise<void> {
    while (!this.#daemon.ended) {
      const status = await this.#post(body, sequence).catch(() => 0)
      if (status === 202) return
      this.refusals.add(status)
      if (status >= 400 && status < 500 && status !== 429) throw new Error(`${this.name}: answered ${status}`)
      this.retries++
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  #post(body: Buffer, sequence: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.#daemon.http}/v1/events`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            'content-type': 'application/x-protobuf',
            'content-length': body.length,
            'millrace-producer': this.name,
            'millrace-sequence': sequence,
          },
        },
        (response) => {
          response.resume()
          response.on('end', () => resolve(response.statusCode!))
          response.on('error', reject)
        },
      )
      sent.setTimeout(this.#answerMs, () => sent.destroy(new Error('no answer')))
      sent.on('error', reject)
      sent.end(body)
    })
  }
}
