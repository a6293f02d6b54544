// The kinds of log, each with the brokers that it needs, for tests that hold all of them to the same promises.

import type { TestContext } from 'node:test'
import { type Kafka, startKafka } from '../../scripts/brokers/kafka.ts'
import { type Nats, startNats } from '../../scripts/brokers/nats.ts'
import { atEnd, temporaryFolder } from './daemon.ts'
import { Cable } from './proxy.ts'

/** A kind of log, Kafka's with the client that speaks to it. */
export type Kind = 'embedded' | 'memory' | 'jetstream' | 'kafka' | 'kafka, platformatic' | 'dual'

export interface Brokers {
  nats?: Nats
  kafka?: Kafka
  /** In front of each of them, where they were started with cables. */
  cables: Cable[]
  /** Where the daemon finds them. */
  natsAddress?: string
  kafkaAddress?: string
}

export interface BrokersOptions {
  /** The daemon reaches them through cables that can be pulled. */
  cables?: boolean
}

let names = 0

/** Real brokers of this test's own, as far as the kind needs them. */
export async function startBrokers(
  t: TestContext,
  kind: Kind,
  { cables = false }: BrokersOptions = {},
): Promise<Brokers> {
  const brokers: Brokers = { cables: [] }
  const starting: Promise<unknown>[] = []
  if (kind === 'jetstream' || kind === 'dual') {
    const folder = await temporaryFolder(t)
    const cable = cables ? await Cable.lay(t) : undefined
    starting.push(
      startNats({ folder }).then((nats) => {
        atEnd(t, () => nats.stop())
        brokers.nats = nats
        cable?.to(nats.servers[0])
        brokers.natsAddress = cable?.address ?? nats.servers[0]
      }),
    )
    if (cable !== undefined) brokers.cables.push(cable)
  }
  if (kind.startsWith('kafka') || kind === 'dual') {
    const folder = await temporaryFolder(t)
    const cable = cables ? await Cable.lay(t) : undefined
    // Kafka tells its clients where it is to be reached.
    const advertised = { 'advertised.listeners': `PLAINTEXT://${cable?.address}` }
    starting.push(
      startKafka({ folder, ...(cable === undefined ? {} : { properties: advertised }) }).then((kafka) => {
        atEnd(t, () => kafka.stop())
        brokers.kafka = kafka
        cable?.to(kafka.brokers[0])
        brokers.kafkaAddress = cable?.address ?? kafka.brokers[0]
      }),
    )
    if (cable !== undefined) brokers.cables.push(cable)
  }
  await Promise.all(starting)
  return brokers
}

/** The `log` section for a kind, with a stream and a topic of its own. */
export function logOf(kind: Kind, brokers: Brokers, over: Record<string, unknown> = {}) {
  const { natsAddress, kafkaAddress } = brokers
  const name = `t${process.pid}-${names++}`
  const client = kind === 'kafka, platformatic' ? 'platformatic' : 'kafkajs'
  return {
    kind: kind.startsWith('kafka') ? 'kafka' : kind,
    ...(natsAddress === undefined ? {} : { jetstream: { servers: [natsAddress], stream: name } }),
    ...(kafkaAddress === undefined ? {} : { kafka: { brokers: [kafkaAddress], topic: name, client } }),
    ...over,
  }
}
