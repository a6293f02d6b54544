// `npm run bench:logs`: the kinds of log side by side, under the same load, with real brokers on the same cores, and what
// the bare clients do with records of the size that the daemon sends, so that one sees where the limit is.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startKafka } from '../scripts/brokers/kafka.ts'
import { startNats } from '../scripts/brokers/nats.ts'
import { bareTable } from './bare.ts'
import { describeMachine, machineLine } from './machine.ts'
import { type Line, line as lineOf, measured, plain, type Setting } from './round.ts'
import { brokerTable, methodLine, runLines } from './table.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    'no-bare': { type: 'boolean', default: false },
  },
})

const FLUSH_EACH = { 'log.flush.interval.messages': '1' }

interface Server {
  pid: number
  stop(): Promise<void>
}

async function nats(syncAlways: boolean): Promise<Setting> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-nats-'))
  const server = await startNats({ folder, syncAlways })
  return setting([`log.kind=jetstream`, `log.jetstream.servers=[${server.servers}]`], [server], [folder])
}

async function kafka(client: string, properties: Record<string, string> = {}): Promise<Setting> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-kafka-'))
  const server = await startKafka({ folder, fast: true, properties })
  const sets = ['log.kind=kafka', `log.kafka.brokers=[${server.brokers}]`, `log.kafka.client=${client}`]
  return setting(sets, [server], [folder])
}

async function dual(client: string): Promise<Setting> {
  const [one, other] = await Promise.all([nats(false), kafka(client)])
  return {
    sets: [...one.sets, ...other.sets, 'log.kind=dual', 'log.dual.ackWhen=both'],
    brokers: [...one.brokers, ...other.brokers],
    stop: async () => void (await Promise.all([one.stop(), other.stop()])),
  }
}

function setting(sets: string[], servers: Server[], folders: string[]): Setting {
  return {
    sets: [measured, ...sets],
    brokers: servers.map(({ pid }) => pid),
    async stop() {
      await Promise.all(servers.map((server) => server.stop()))
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true })))
    },
  }
}

const line = (name: string, set: Line['set']): Line => lineOf(name, 'log', { set })
const lines = [
  line('embedded', plain([measured])),
  line('memory', plain([measured, 'log.kind=memory'])),
  line('jetstream', () => nats(false)),
  line('jetstream, sync_interval always', () => nats(true)),
  line('kafka, kafkajs', () => kafka('kafkajs')),
  line('kafka, platformatic', () => kafka('platformatic')),
  line('kafka, kafkajs, flush each', () => kafka('kafkajs', FLUSH_EACH)),
  line('kafka, platformatic, flush each', () => kafka('platformatic', FLUSH_EACH)),
  line('dual both, kafkajs', () => dual('kafkajs')),
  line('dual both, platformatic', () => dual('platformatic')),
].filter(({ name }) => values.only === undefined || name === values.only)

const options = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  warmupSeconds: 2,
  floor: false,
}
console.log(`${machineLine(await describeMachine())}\n${methodLine(options)}\n`)
console.log(brokerTable(await runLines(lines, options)))
if (!values['no-bare']) await bareTable(Number(values.seconds))
