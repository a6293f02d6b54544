// The log as a door writes to it: its lanes, how much may be on its way into them, and what is counted and told of both.

import { setTimeout } from 'node:timers/promises'
import type { LogStatus } from '../api/status.ts'
import type { Config } from '../config/config.ts'
import { Admission } from '../ingest/admission.ts'
import { type Intake, openIntake } from '../ingest/intake.ts'
import { measureLanes } from '../ingest/lane-metrics.ts'
import { BROKER_START_MS_MAX } from '../limits.ts'
import type { Durability } from '../log/log.ts'
import { brokersOf, openWriters, type Writers } from '../log/open.ts'
import type { Stores } from '../results/stores.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { brokerLines } from './broker-lines.ts'
import type { ListenerReport } from './link.ts'
import type { RoleParts } from './role.ts'

export interface DoorLog {
  readonly admission: Admission
  readonly intake: Intake
  /** Which log it is, and how safe what it has acknowledged is. */
  readonly kept: LogStatus & { durability: Durability }
  /** Resolves when its brokers are reached, or have been waited for long enough: a door answers without them, too. */
  begun(): Promise<void>
  report(): ListenerReport
  /** Resolves when all that was appended is safe from this process's end. */
  close(): Promise<void>
}

/** `stores`: say what of the log is committed. */
export async function openDoorLog(parts: RoleParts, stores: Stores): Promise<DoorLog> {
  const { config, logger, metrics } = parts
  const syncs = metrics.histogram('millrace_log_sync_seconds', {})
  const writers = await openWriters(config, {
    ...brokerLines(logger, metrics),
    synced: (ms) => syncs.observe(ms / 1000),
    committed: (partition, writer) => stores.writer(partition, writer)?.sequence ?? 0,
  })
  const { lanes } = writers
  const { kind, durability } = lanes[0]
  const admission = new Admission()
  const intake = openIntake(lanes, parts.taps.source, measureLanes(metrics, lanes, admission))
  measureBrokers(metrics, config, writers)
  return {
    admission,
    intake,
    kept: { kind, durability },
    async begun() {
      await Promise.race([writers.reached, setTimeout(BROKER_START_MS_MAX, undefined, { ref: false })])
      writers.reached.catch(parts.failed)
    },
    report: () => ({
      lanes: lanes.map((lane) => ({ writer: lane.writer, written: lane.written() })),
      away: writers.away(),
      missing: writers.missing(),
    }),
    close: () => writers.close(),
  }
}

function measureBrokers(metrics: Metrics, { log }: Config, writers: Writers): void {
  for (const broker of brokersOf(log.kind)) {
    const isUp = () => Number(writers.away()[broker] === undefined)
    metrics.reading('millrace_log_up', { broker }, isUp)
    metrics.counter('millrace_log_reconnects_total', { broker })
    const missing = () => writers.missing()?.[broker].segments ?? 0
    if (log.kind === 'dual') metrics.reading('millrace_log_missing_segments', { broker }, missing)
  }
}
