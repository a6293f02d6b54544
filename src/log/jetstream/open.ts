// Opens the ends of a log in JetStream. Each has a connection of its own: confirmations do not wait behind what is fetched,
// partitions do not wait for each other, and one that is given up takes nobody with it.

import type { Config } from '../../config/config.ts'
import type { BrokerHooks, BrokerReader, Ownership, Publisher } from '../broker.ts'
import { JetStreamLease } from './ownership.ts'
import { JetStreamPublisher } from './publisher.ts'
import { JetStreamReader } from './reader.ts'

// All three resolve once the server is reached and everything there is as it has to be. While it is away they keep trying,
// which hooks.onAway tells; they reject with LogMisconfigured where trying again would not help, and with LogUnavailable
// when the signal is aborted before.

export function openJetStreamPublisher(
  config: Config,
  hooks: BrokerHooks,
  signal?: AbortSignal,
): Promise<Publisher> {
  return JetStreamPublisher.open(config, hooks, signal)
}

export function openJetStreamReader(
  config: Config,
  partition: number,
  hooks: BrokerHooks,
  signal?: AbortSignal,
): Promise<BrokerReader> {
  return JetStreamReader.open(config, partition, hooks, signal)
}

/** `member`: a name that stays the same when this process is started again. */
export function openJetStreamOwnership(
  config: Config,
  member: string,
  hooks: BrokerHooks,
  signal?: AbortSignal,
): Promise<Ownership> {
  return JetStreamLease.open(config, member, hooks, signal)
}
