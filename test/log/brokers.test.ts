// The kinds of log that need a broker, held to the contract, on real servers.

import assert from 'node:assert/strict'
import { after, before, type TestContext } from 'node:test'
import { type Kafka, startKafka } from '../../scripts/brokers/kafka.ts'
import { type Nats, startNats } from '../../scripts/brokers/nats.ts'
import { loadConfig } from '../../src/config/load.ts'
import { segmentBytesMax } from '../../src/config/log-size.ts'
import type { LogEntry, LogReader, LogWriter, Position } from '../../src/log/log.ts'
import { openReader, openWriters } from '../../src/log/open.ts'
import { temporaryFolder } from '../e2e/daemon.ts'
import { conformance, type LogUnderTest } from './conformance.ts'

const MAX_BYTES = 160 * 2 ** 20

let nats: Nats
let kafka: Kafka
let names = 0

before(async () => {
  ;[nats, kafka] = await Promise.all([startNats({}), startKafka({})])
})
after(() => Promise.all([nats.stop(), kafka.stop()]))

/** What was committed, as the results store would tell the listeners. */
class Committed {
  readonly #seen: { lane: string; next: number; writer: string; sequence: number }[] = []
  readonly #sequences = new Map<string, number>()

  read({ lane, next, segment }: LogEntry): void {
    this.#seen.push({ lane, next, writer: segment.writer, sequence: segment.sequence })
  }

  commit(position: Position): void {
    for (const { lane, next, writer, sequence } of this.#seen) {
      if (next > (position.get(lane) ?? 0)) continue
      this.#sequences.set(writer, Math.max(this.#sequences.get(writer) ?? 0, sequence + 1))
    }
  }

  below(writer: string): number {
    return this.#sequences.get(writer) ?? 0
  }
}

async function setUp(t: TestContext, sets: string[]): Promise<LogUnderTest> {
  const name = `conformance-${process.pid}-${names++}`
  const { config } = loadConfig({
    env: {},
    sets: [
      `dataDir=${await temporaryFolder(t)}`,
      `log.retention.maxBytes=${MAX_BYTES}`,
      'cluster.listeners=1',
      `log.jetstream.servers=[${nats.servers}]`,
      `log.jetstream.stream=${name}`,
      `log.kafka.brokers=[${kafka.brokers}]`,
      `log.kafka.topic=${name}`,
      ...sets,
    ],
  })
  const committed = new Committed()
  const fail = (what: string) => () => assert.fail(what)
  const events = {
    onAway: () => {}, // a slow machine may make it look so
    onBack: () => {},
    onNotice: (_broker: string, text: string) => assert.fail(text),
    onBehind: (broker: string, reason: string) => assert.fail(`${broker} misses something: ${reason}`),
    onKeepingUp: fail('no broker missed anything'),
    onOverdue: fail('nothing is in one log only'),
  }
  return {
    lanes: 'partitions',
    async openWriter(): Promise<LogWriter> {
      const writers = await openWriters(config, {
        ...events,
        committed: (_, writer) => committed.below(writer),
      })
      await writers.reached
      const [lane] = writers.lanes
      return {
        kind: lane.kind,
        writer: lane.writer,
        durability: lane.durability,
        append: (segment) => lane.append(segment),
        written: () => lane.written(),
        close: () => writers.close(),
      }
    },
    async openReader(): Promise<LogReader> {
      const reader = await openReader(config, 0, {
        ...events,
        onDamage: fail('nothing is damaged'),
        onError: (error) => assert.fail(error),
        onLost: fail('nothing is lost'),
        onForeign: fail('nothing is foreign'),
        onWalked: fail('nothing is counted'),
        counted: () => false,
      })
      return {
        kind: reader.kind,
        async *read(from, signal) {
          for await (const entry of reader.read(from, signal)) {
            committed.read(entry)
            yield entry
          }
        },
        committed(position) {
          committed.commit(position)
          reader.committed(position)
        },
        finished: () => reader.finished(),
        close: () => reader.close(),
      }
    },
    segmentBytesMax: segmentBytesMax(config.http.maxBody),
    bytesMax: MAX_BYTES,
  }
}

conformance('jetstream', (t) => setUp(t, ['log.kind=jetstream']))
conformance('kafka, kafkajs', (t) => setUp(t, ['log.kind=kafka']))
conformance('kafka, platformatic', (t) => setUp(t, ['log.kind=kafka', 'log.kafka.client=platformatic']))
conformance('dual, both', (t) => setUp(t, ['log.kind=dual']))
conformance('dual, any, read from kafka', (t) => {
  // A backlog below BEHIND_BYTES_MAX: the slower of the two logs may lack all of it for a while.
  const maxBytes = 'log.retention.maxBytes=120MiB'
  return setUp(t, ['log.kind=dual', 'log.dual.ackWhen=any', 'log.dual.consume=kafka', maxBytes])
})
