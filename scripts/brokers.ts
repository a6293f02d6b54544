// `npm run brokers -- nats kafka`: real brokers for trying things out, without docker. They run in a temporary folder on
// free ports of loopback until Ctrl-C, and print the settings that point the daemon to them.

import { startKafka } from './brokers/kafka.ts'
import { startNats } from './brokers/nats.ts'

const known = ['nats', 'kafka']
const wanted = process.argv.length > 2 ? process.argv.slice(2) : known
const unknown = wanted.filter((name) => !known.includes(name))
if (unknown.length > 0) {
  console.error(`there is no broker ${unknown.join(', ')}: ${known.join(' or ')}`)
  process.exit(2)
}

const started: { stop(): Promise<void> }[] = []
const ended = new Promise<void>((resolve) => {
  process.once('SIGINT', resolve)
  process.once('SIGTERM', resolve)
})
try {
  if (wanted.includes('nats')) {
    const nats = await startNats({})
    started.push(nats)
    console.log(`--set log.kind=jetstream --set log.jetstream.servers=${nats.servers}`)
  }
  if (wanted.includes('kafka')) {
    const kafka = await startKafka({ fast: true })
    started.push(kafka)
    console.log(`--set log.kind=kafka --set log.kafka.brokers=${kafka.brokers}`)
  }
  await ended
} finally {
  await Promise.all(started.map((broker) => broker.stop()))
}
