// Which partitions this processor works on. A broker decides where there is one to ask; without, the seats do.

import type { Config } from '../config/config.ts'
import { PARTITIONS_MAX } from '../limits.ts'
import type { Ownership } from '../log/broker.ts'
import { type BrokerEvents, brokerHooks } from '../log/open.ts'
import type { Seat } from './seat.ts'

/** The broker to ask. The union of two goes on when either is away, so neither is asked. */
function decider({ kind, dual }: Config['log']): 'jetstream' | 'kafka' | 'seats' {
  const read = kind === 'dual' ? dual.consume : kind
  return read === 'jetstream' || read === 'kafka' ? read : 'seats'
}

/** How many processors may share a data directory. */
export function seatsOf(config: Config): number {
  return decider(config.log) === 'seats' ? config.cluster.processors : PARTITIONS_MAX
}

export async function openOwnership(config: Config, seat: Seat, events: BrokerEvents): Promise<Ownership> {
  const broker = decider(config.log)
  if (broker === 'jetstream') {
    const { openJetStreamOwnership } = await import('../log/jetstream/open.ts')
    return openJetStreamOwnership(config, seat.name, brokerHooks('jetstream', events))
  }
  if (broker === 'kafka') {
    const { openKafkaOwnership } = await import('../log/kafka/open.ts')
    return openKafkaOwnership(config, seat.name, brokerHooks('kafka', events))
  }
  return new SeatOwnership(config.log.partitions, config.cluster.processors, seat.number)
}

/** Every n-th partition, for good. */
class SeatOwnership implements Ownership {
  readonly #owned = new Set<number>()

  constructor(partitions: number, processors: number, seat: number) {
    for (let partition = seat; partition < partitions; partition += processors) this.#owned.add(partition)
  }

  run(changed: (owned: ReadonlySet<number>) => void, signal: AbortSignal): Promise<void> {
    changed(this.#owned)
    return new Promise((resolve) => {
      if (signal.aborted) resolve()
      else signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}
