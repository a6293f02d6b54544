// The brokers that settings ask for: started, unless the environment names running ones.

import { startKafka } from './kafka.ts'
import { startNats } from './nats.ts'

/** `sets` as `--set` takes them; returned with the addresses of what was started. */
export async function brokersFor(
  sets: readonly string[],
): Promise<{ sets: string[]; stopBrokers(): Promise<void> }> {
  const kind = sets.findLast((set) => set.startsWith('log.kind='))?.slice('log.kind='.length)
  const more: string[] = []
  const started: { stop(): Promise<void> }[] = []
  if (kind === 'jetstream' || kind === 'dual') {
    const named = process.env.MILLRACE_NATS
    const nats = named === undefined ? await startNats({}) : undefined
    if (nats !== undefined) started.push(nats)
    more.push(`log.jetstream.servers=[${nats?.servers ?? named}]`)
  }
  if (kind === 'kafka' || kind === 'dual') {
    const named = process.env.MILLRACE_KAFKA
    const kafka = named === undefined ? await startKafka({}) : undefined
    if (kafka !== undefined) started.push(kafka)
    more.push(`log.kafka.brokers=[${kafka?.brokers ?? named}]`)
  }
  return {
    sets: [...more, ...sets],
    stopBrokers: async () => void (await Promise.all(started.map((broker) => broker.stop()))),
  }
}
