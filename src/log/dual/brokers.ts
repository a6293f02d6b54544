// The two brokers of a dual log, each by its kind.

import type { Config } from '../../config/config.ts'
import type { BrokerHooks, BrokerReader, Publisher } from '../broker.ts'
import { openJetStreamPublisher, openJetStreamReader } from '../jetstream/open.ts'
import { openKafkaPublisher, openKafkaReader } from '../kafka/open.ts'

export interface Brokers {
  openPublisher(kind: Publisher['kind']): Promise<Publisher>
  openReader(kind: Publisher['kind'], partition: number): Promise<BrokerReader>
}

export function brokersOf(config: Config, hooksOf: (kind: Publisher['kind']) => BrokerHooks): Brokers {
  return {
    async openPublisher(kind) {
      const open = kind === 'kafka' ? openKafkaPublisher : openJetStreamPublisher
      return open(config, hooksOf(kind))
    },
    async openReader(kind, partition) {
      const open = kind === 'kafka' ? openKafkaReader : openJetStreamReader
      return open(config, partition, hooksOf(kind))
    },
  }
}
