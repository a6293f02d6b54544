// NATS JetStream without HTTP: this process publishes, as many at a time as the others have connections.

import { connect, createInbox, type NatsConnection } from 'nats'
import { startNats } from '../../scripts/brokers/nats.ts'
import { Histogram } from '../../src/cli/histogram.ts'
import { entriesOf } from './entries.ts'
import type { Load, Outcome, Running } from './load.ts'

const SUBJECT = 'events'

export async function openNats(syncAlways: boolean): Promise<Running> {
  const server = await startNats({ syncAlways })
  try {
    const connection = await connect({ servers: server.servers, noAsyncTraces: true })
    const manager = await connection.jetstreamManager()
    await manager.streams.add({ name: SUBJECT, subjects: [SUBJECT] })
    const publisher = new Publisher(connection)
    return {
      pids: [server.pid],
      load: (load) => publisher.load(load),
      stored: async () => (await manager.streams.info(SUBJECT)).state.messages,
      async stop() {
        await connection.close()
        await server.stop()
      },
    }
  } catch (error) {
    await server.stop()
    throw error
  }
}

interface Request {
  acksLeft: number
  done(): void
  failed(error: Error): void
}

/**
 * Publishes with acks to an inbox of its own, without the client's promise and timer for each message: measured at three
 * times the messages a second of its `publish`.
 */
class Publisher {
  readonly #connection: NatsConnection
  readonly #inbox = createInbox()
  readonly #requests = new Map<string, Request>()
  #published = 0

  constructor(connection: NatsConnection) {
    this.#connection = connection
    connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        const id = message.subject.slice(this.#inbox.length + 1)
        const request = this.#requests.get(id)
        this.#requests.delete(id)
        const refused = error ?? message.json<{ error?: { description: string } }>().error
        if (refused) request?.failed(new Error('message' in refused ? refused.message : refused.description))
        else if (request !== undefined && --request.acksLeft === 0) request.done()
      },
    })
  }

  #publish(entries: Buffer[]): Promise<void> {
    return new Promise((done, failed) => {
      const request = { acksLeft: entries.length, done, failed }
      for (const entry of entries) {
        const id = String(this.#published++)
        this.#requests.set(id, request)
        this.#connection.publish(SUBJECT, entry, { reply: `${this.#inbox}.${id}` })
      }
    })
  }

  async load({ bodies, whole, events, connections, warmupSeconds, seconds }: Load): Promise<Outcome> {
    const requests = bodies.map((body) => (whole ? [body] : entriesOf(body)))
    const from = performance.now() + warmupSeconds * 1000
    const until = from + seconds * 1000
    const outcome: Outcome = { seconds, events: 0, others: new Map(), latency: new Histogram() }
    let next = 0
    const one = async () => {
      for (let sent = performance.now(); sent < until; ) {
        await this.#publish(requests[next++ % requests.length])
        const now = performance.now()
        if (now >= from && now < until) {
          outcome.events += events
          outcome.latency.record(now - sent)
        }
        sent = now
      }
    }
    await Promise.all(Array.from({ length: connections }, one))
    return outcome
  }
}
