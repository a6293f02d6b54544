// `millrace reconcile`: do both logs of a dual log have the same, and what does each lack?

import type { Config } from '../config/config.ts'
import { DEFAULT_FILE, loadConfig } from '../config/load.ts'
import type { BrokerHooks } from '../log/broker.ts'
import { LogFull, LogMisconfigured, LogUnavailable, LogUnconfirmed } from '../log/log.ts'
import {
  type Amount,
  type BrokerKind,
  type Comparison,
  type Counted,
  reconcile as compare,
  lackedByOther,
  type ReconcileParts,
  type ReconcileReport,
  ReconcileStopped,
} from '../log/reconcile.ts'
import { type Command, Failure, type Io, UsageError } from './command.ts'
import { type Cell, formatNumber, printable, Table } from './table.ts'

const kinds = ['jetstream', 'kafka'] as const

type Brokers = Pick<ReconcileParts, 'openReader' | 'openPublisher'>
type OpenBrokers = (config: Config, hooksOf: (kind: BrokerKind) => BrokerHooks) => Promise<Brokers>

export function reconcileCommand(openBrokers: OpenBrokers): Command {
  return {
    name: 'reconcile',
    operands: '',
    arity: [0, 0],
    summary: 'compare the two logs of a dual log, and copy what one lacks',
    options: {
      config: {
        value: 'FILE',
        help: `read the configuration from FILE (default: ${DEFAULT_FILE}, if it is there)`,
      },
      set: { value: 'KEY=VALUE', repeatable: true, help: 'set one key, such as log.kind=dual' },
      apply: { help: 'copy into each log what only the other one has' },
      json: { help: 'print JSON' },
    },
    notes:
      'Needs the configuration that the daemon has, which may be running or not. Nothing is removed or changed, so it\n' +
      'may be interrupted and run again. Exits with 0 when both logs have the same, or have it now.',
    async run(words, io) {
      const { config } = loadConfig({ file: words.text('config'), env: io.env, sets: words.all('set') })
      const { kind, partitions } = config.log
      if (kind !== 'dual') {
        throw new UsageError(`log.kind is ${kind}, which has one log only: there is nothing to compare`)
      }
      const apply = words.flag('apply')
      const brokers = await openBrokers(config, (broker) => hooks(broker, io))
      const report = await compare({
        ...brokers,
        partitions,
        openLedger: (partition) => openLedger(config, partition, io),
        apply,
        signal: new AbortController().signal,
      }).catch(explain)
      const text = words.flag('json')
        ? `${JSON.stringify({ agree: agree(report), ...report })}\n`
        : describe(report, apply, config.log.dual.consume)
      io.stdout.write(text)
      return agree(report) ? 0 : 1
    },
  }
}

/** Only when it runs: the other commands do without the brokers' clients. */
export const reconcile = reconcileCommand(async (config, hooksOf) => {
  const { openBrokerReader, openPublisher } = await import('../log/open.ts')
  return {
    openReader: (kind, partition) => openBrokerReader(kind, config, partition, hooksOf(kind)),
    openPublisher: (kind) => openPublisher(kind, config, hooksOf(kind)),
  }
})

/** What the results have at this moment. */
async function openLedger(config: Config, partition: number, io: Io): Promise<Counted> {
  const { openStore } = await import('../results/store.ts')
  const { countedIn } = await import('../processor/counted.ts')
  const store = await openStore(config.dataDir, partition, { readOnly: true })
  try {
    if (!store.present) {
      io.stderr.write(
        `${config.dataDir} has no results of partition ${partition}: what only one log has is taken as not counted\n`,
      )
    }
    return countedIn(store.ledger())
  } finally {
    await store.close()
  }
}

function hooks(kind: BrokerKind, io: Io): BrokerHooks {
  return {
    onAway: (reason) => io.stderr.write(printable(`${kind} is away (${reason}): waiting until it is back\n`)),
    onBack: () => io.stderr.write(`${kind} is back\n`),
    onLost: () => {}, // trimmed while it was read
    onForeign: (_lane, at, reason) =>
      io.stderr.write(printable(`${kind}: ${at} is no segment and is skipped: ${reason}\n`)),
    onNotice: (text) => io.stderr.write(printable(`${kind}: ${text}\n`)),
  }
}

function explain(error: unknown): never {
  if (error instanceof LogMisconfigured) throw new UsageError(printable(error.message), { cause: error })
  for (const Expected of [ReconcileStopped, LogUnavailable, LogUnconfirmed, LogFull]) {
    if (error instanceof Expected) throw new Failure(printable(error.message), { cause: error })
  }
  throw error
}

function agree({ total, unread }: ReconcileReport): boolean {
  if (unread.length > 0) return false
  return kinds.every(
    (kind) => lackedByOther(total[kind]).segments === 0 && total[kind].different.segments === 0,
  )
}

// --- In words ---------------------------------------------------------------------------------------------

const titles = [
  'partition',
  'log',
  'segments',
  'events',
  'equal',
  'different',
  'duplicates',
  'trimmed there',
  'only here',
  'of it counted',
  'of it copied',
]

function describe(report: ReconcileReport, apply: boolean, consumed: string): string {
  const rows = report.partitions.flatMap((comparison, partition) => rowsOf(String(partition), comparison))
  if (report.partitions.length > 1) rows.push(...rowsOf('all', report.total))
  const differences = report.differences.map(({ partition, writer, sequence, checksums }) => {
    const [jetstream, kafka] = kinds.map((kind) => checksums[kind].toString(16).padStart(8, '0'))
    return `different: partition ${partition}, writer ${writer}, sequence ${sequence}: checksum ${jetstream} in jetstream, ${kafka} in kafka`
  })
  const unread = report.unread.map(({ partition, log, from, to }) => {
    return `unread: partition ${partition}: ${log} gives nothing for its numbers ${from} to ${to}: damaged, or no segments`
  })
  const lines = [...differences, ...unread, ...conclusion(report, apply, consumed)]
  return `${new Table(titles).page(rows)}\n${lines.join('\n')}\n`
}

function rowsOf(partition: string, comparison: Comparison): Cell[][] {
  return kinds.map((kind) => {
    const { held, equal, different, duplicates, trimmed, counted, missing, copied } = comparison[kind]
    return [
      partition,
      kind,
      held.segments,
      held.events,
      equal.segments,
      different.segments,
      duplicates.segments,
      trimmed.segments,
      counted.segments + missing.segments,
      counted.segments,
      copied.segments,
    ]
  })
}

/** What it means, and what to do about it. */
function conclusion({ total }: ReconcileReport, apply: boolean, consumed: string): string[] {
  const lines: string[] = []
  for (const kind of kinds) {
    const other = kind === 'kafka' ? 'jetstream' : 'kafka'
    const { copied, missing, forgotten } = total[kind]
    const lacking = lackedByOther(total[kind])
    if (copied.segments > 0) lines.push(`${amountOf(copied)} copied from ${kind} into ${other}.`)
    if (lacking.segments > 0)
      lines.push(`${other} lacks ${amountOf(lacking)} of ${kind}${uncounted(missing, forgotten, apply)}.`)
    if (forgotten.segments > 0) {
      lines.push(
        `${amountOf(forgotten)} of ${kind} from before all that the results remember: whether counted or not, nobody can ` +
          'tell. The processor takes them for counted, also when they are copied.',
      )
    }
  }
  const lack = kinds.some((kind) => lackedByOther(total[kind]).segments > 0)
  const different = total.jetstream.different.segments
  if (lack && apply)
    lines.push('They were gone before they could be copied: run it again to see what is left.')
  if (lack && !apply) lines.push('Run it again with --apply to copy what is lacking.')
  if (different > 0) {
    lines.push(
      `${plural(different, 'segment')} with the same identity and other bytes: one of the two is damaged. Both are left ` +
        `as they are; the results have what ${counts(consumed)}. Look for faults of the brokers' disks.`,
    )
  }
  if (!lack && different === 0) {
    lines.push(
      apply && lines.length > 0 ? 'Both logs have the same now.' : 'Both logs have the same: nothing to do.',
    )
  }
  const trimmed = total.jetstream.trimmed.segments + total.kafka.trimmed.segments
  if (trimmed > 0)
    lines.push(`${plural(trimmed, 'segment')} counted and trimmed in one log before the other: no loss.`)
  return lines
}

function uncounted({ segments, events }: Amount, forgotten: Amount, apply: boolean): string {
  if (apply) return ''
  if (segments === 0) return forgotten.segments > 0 ? '' : ', all counted: the results are right without them'
  return `; ${amountOf({ segments, events })} not in the results yet`
}

function counts(consumed: string): string {
  return consumed === 'union' ? 'was read first' : `${consumed}, which is consumed, has`
}

function amountOf({ segments, events }: Amount): string {
  return `${plural(segments, 'segment')} (${plural(events, 'event')})`
}

function plural(count: number, what: string): string {
  return `${formatNumber(count)} ${what}${count === 1 ? '' : 's'}`
}
