// The kinds of log, each with the brokers that it needs, for tests that hold all of them to the same promises.

import type { TestContext } from 'node:test'
import { type Kafka, startKafka } from '../../scripts/brokers/kafka.ts'
import { type Nats, startNats } from '../../scripts/brokers/nats.ts'
import { atEnd, temporaryFolder } from './daemon.ts'

/** A kind of log, Kafka's with the client that speaks to it. */
export type Kind = 'embedded' | 'memory' | 'jetstream' | 'kafka' | 'kafka, platformatic' | 'dual'

export interface Brokers {
  nats?: Nats
  kafka?: Kafka
}

let names = 0

/** Real brokers of this test's own, as far as the kind needs them. */
export async function startBrokers(t: TestContext, kind: Kind): Promise<Brokers> {
  const brokers: Brokers = {}
  const starting: Promise<unknown>[] = []
  if (kind === 'jetstream' || kind === 'dual') {
    const folder = await temporaryFolder(t)
    starting.push(
      startNats({ folder }).then((nats) => {
        atEnd(t, () => nats.stop())
        brokers.nats = nats
      }),
    )
  }
  if (kind.startsWith('kafka') || kind === 'dual') {
    const folder = await temporaryFolder(t)
    starting.push(
      startKafka({ folder }).then((kafka) => {
        atEnd(t, () => kafka.stop())
        brokers.kafka = kafka
      }),
    )
  }
  await Promise.all(starting)
  return brokers
}

/** The `log` section for a kind, with a stream and a topic of its own. */
export function logOf(kind: Kind, { nats, kafka }: Brokers, over: Record<string, unknown> = {}) {
  const name = `t${process.pid}-${names++}`
  const client = kind === 'kafka, platformatic' ? 'platformatic' : 'kafkajs'
  return {
    kind: kind.startsWith('kafka') ? 'kafka' : kind,
    ...(nats === undefined ? {} : { jetstream: { servers: nats.servers, stream: name } }),
    ...(kafka === undefined ? {} : { kafka: { brokers: kafka.brokers, topic: name, client } }),
    ...over,
  }
}
