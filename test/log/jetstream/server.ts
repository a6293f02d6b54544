// A NATS server for tests: the one that MILLRACE_NATS names (host:port), or one for all tests of a process; and what every
// test of the JetStream log needs.

import { after, type TestContext } from 'node:test'
import { connect, type NatsConnection } from 'nats'
import { type Nats, type NatsOptions, startNats } from '../../../scripts/brokers/nats.ts'
import type { Config, JetStreamConfig } from '../../../src/config/config.ts'
import type { BrokerHooks } from '../../../src/log/broker.ts'
import { type Segment, SegmentBuilder } from '../../../src/log/segment.ts'
import { atEnd } from '../../e2e/daemon.ts'

let shared: Promise<Nats> | undefined

after(async () => (await shared)?.stop())

/** Addresses of a server that no test stops. */
export async function servers(): Promise<string[]> {
  const given = process.env.MILLRACE_NATS
  if (given !== undefined) return [given]
  shared ??= startNats()
  return (await shared).servers
}

/** A server of the test's own, to be killed and stopped. */
export async function ownServer(t: TestContext, options: NatsOptions = {}): Promise<Nats> {
  const nats = await startNats(options)
  atEnd(t, () => nats.stop())
  return nats
}

let streams = 0

/** A configuration with a stream of its own, which goes with the test. */
export function configOf(
  t: TestContext,
  addresses: string[],
  {
    partitions = 1,
    maxBytes = 256 * 2 ** 20,
    maxAge = 3_600_000,
    maxBody = 65_536,
    ...jetstream
  }: Partial<
    JetStreamConfig & { partitions: number; maxBytes: number; maxAge: number; maxBody: number }
  > = {},
): Config {
  const stream = `T${process.pid}-${Date.now().toString(36)}-${streams++}`
  if (addresses[0] === process.env.MILLRACE_NATS) atEnd(t, () => remove(addresses, stream))
  return {
    http: { maxBody },
    log: {
      kind: 'jetstream',
      partitions,
      retention: { maxBytes, maxAge },
      jetstream: { servers: addresses, stream, replicas: 1, ...jetstream },
    },
  } as Config
}

/** A server that is kept must not fill up. */
async function remove(addresses: string[], stream: string): Promise<void> {
  const connection = await connect({ servers: addresses, noAsyncTraces: true })
  const manager = await connection.jetstreamManager()
  for (const name of [stream, `KV_${stream}-owners`]) await manager.streams.delete(name).catch(() => {})
  await connection.close()
}

/** Writes down what it is told. */
export class Told implements BrokerHooks {
  readonly all: string[] = []
  readonly lost: { lane: string; from: number; to: number }[] = []
  readonly foreign: { at: number; reason: string }[] = []
  readonly notices: string[] = []

  onAway(reason: string): void {
    this.all.push(`away: ${reason}`)
  }
  onBack(): void {
    this.all.push('back')
  }

  /** Told in turn, and of a return last. On a slow machine there may be absences that nobody made. */
  get isBack(): boolean {
    const inTurn = this.all.every((line, i) => (line === 'back') === (i % 2 === 1))
    return inTurn && this.all.at(-1) === 'back'
  }

  onLost(lane: string, from: number, to: number): void {
    this.lost.push({ lane, from, to })
  }
  onForeign(_lane: string, at: number, reason: string): void {
    this.foreign.push({ at, reason })
  }
  onNotice(text: string): void {
    this.notices.push(text)
  }
}

/** A connection that ends with the test, to look at the server from aside. */
export async function aside(t: TestContext, addresses: string[]): Promise<NatsConnection> {
  const connection = await connect({
    servers: addresses,
    noAsyncTraces: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  })
  atEnd(t, () => connection.close())
  return connection
}

/** Stamped segments of one writer, in sequence; each frame begins with its name and has so many bytes at least. */
export class Writer {
  readonly #id: string
  #sequence = 0

  constructor(id = '00000000000000a1') {
    this.#id = id
  }

  segment(name: string, bytes = 0): Segment {
    const builder = new SegmentBuilder(Math.max(64, bytes))
    builder.add(Buffer.from(name.padEnd(bytes, '.')), 1, '', 0, '', 1)
    const segment = builder.seal()
    segment.stamp(this.#id, this.#sequence, this.#sequence, this.#sequence)
    this.#sequence++
    return segment
  }
}

export const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `n${from + i}`)
