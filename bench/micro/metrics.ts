// What counting costs: on the road, for each request and each segment, and beside it, each second and each scrape.

import { LaneMetrics } from '../../src/ingest/lane-metrics.ts'
import { SegmentBuilder } from '../../src/log/segment.ts'
import { catalogue, type Metric } from '../../src/telemetry/catalogue.ts'
import { newTurnTime, turnTime } from '../../src/telemetry/clock.ts'
import { Collected } from '../../src/telemetry/collected.ts'
import { Door, Route } from '../../src/telemetry/doors.ts'
import { expose } from '../../src/telemetry/exposition.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { ProcessMetrics } from '../../src/telemetry/process.ts'
import { Tally } from '../../src/telemetry/tally.ts'
import { bodies } from '../events.ts'
import type { Case } from './case.ts'

/** Requests in one turn of the event loop, and in one group commit. */
const REQUESTS = 64
const PROCESSES = 5

export async function metrics(): Promise<Case[]> {
  const metrics = new Metrics()
  const route = new Route(metrics, '/v1/events').expect(202)
  const door = new Door(metrics, 'http')
  const lane = new LaneMetrics(metrics, 0)
  const ofProcess = new ProcessMetrics(metrics)
  const described = await ofProcess.describe()
  const describe = (name: string) => (catalogue as Record<string, Metric>)[name] ?? described[name]
  const builder = new SegmentBuilder(64 * 1024)
  for (const frame of bodies(1, 1000, 0, REQUESTS)) builder.add(frame, 1, '', 0, '', 0)
  const segment = builder.seal()
  const tell = async () => JSON.stringify({ ...(await ofProcess.snapshot()), ...metrics.snapshot() })
  return [
    {
      name: 'counting 64 requests of one turn, and their segment',
      count: REQUESTS,
      unit: 'request',
      run() {
        const since = newTurnTime()
        for (let n = 0; n < REQUESTS; n++) {
          turnTime()
          route.bytes.add(60)
          turnTime()
        }
        lane.durable(segment, performance.now(), newTurnTime())
        for (let n = 0; n < REQUESTS; n++) {
          door.durable(1, since)
          route.answered(202, since, '')
        }
      },
    },
    { name: 'counted: a process tells its numbers', count: 1, unit: 'second', run: tell },
    {
      name: 'counted: five processes added up, and as text',
      count: 1,
      unit: 'scrape',
      async run() {
        const collected = new Collected()
        const told = JSON.parse(await tell())
        for (let n = 0; n < PROCESSES; n++) {
          const tally = new Tally(describe)
          tally.told(tally, told)
          collected.add(tally.sum(), describe, { role: 'listener', worker: String(n) })
        }
        return expose(collected, '')
      },
      close: async () => ofProcess.close(),
    },
  ]
}
