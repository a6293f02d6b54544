// `millrace check`: would this configuration run, and what would it do?

import { stringify } from 'yaml'
import type { Config, HandlerPlan, Measure } from '../config/config.ts'
import { DEFAULT_FILE, loadConfig } from '../config/load.ts'
import { formatDuration, formatListen, formatSize } from '../config/units.ts'
import { withPlans } from '../processor/handler-check.ts'
import { type Command, UsageError } from './command.ts'
import { send } from './send.ts'
import { printable } from './table.ts'
import { describeTrial, tryHandlers } from './trial.ts'

const SHOWN_DEFAULT = 20
const SHOWN_MAX = 10_000
/** As `send` has them: how the file is read. */
const { format, type, source, subject, time, 'time-unit': timeUnit, value, id, attribute } = send.options

const HIDDEN = '(not shown)'

export const check: Command = {
  name: 'check',
  operands: '[FILE]',
  arity: [0, 1],
  summary: 'check a configuration and print what would run',
  options: {
    set: { value: 'KEY=VALUE', repeatable: true, help: 'set one key over the file' },
    events: { value: 'FILE|-', help: 'show these events to the handlers, and print what they would do' },
    show: { value: 'EVENTS', help: `events to tell of each by itself (default: ${SHOWN_DEFAULT})` },
    json: { help: 'print the configuration as JSON: sizes in bytes, times in milliseconds' },
    format,
    type,
    source,
    subject,
    time,
    'time-unit': timeUnit,
    value,
    id,
    attribute,
  },
  notes: `Without FILE, ${DEFAULT_FILE} is checked if it is there. The environment counts as it does for start.`,
  async run(words, io) {
    const loaded = loadConfig({ file: words.operands[0], env: io.env, sets: words.all('set') })
    const config = await withPlans(loaded.config)
    const { plans = [], ...shown } = withoutSecrets(config)
    const events = words.text('events')
    const show = words.count('show', SHOWN_DEFAULT, 0, SHOWN_MAX)
    if (events !== undefined && plans.length === 0) throw new UsageError('--events: there are no handlers')
    const trial = events === undefined ? undefined : await tryHandlers(config, events, words, io, show)
    if (words.flag('json')) {
      const answer = { file: loaded.file ?? null, config: shown, handlers: plans, trial }
      io.stdout.write(`${JSON.stringify(answer, null, 2)}\n`)
      return 0
    }
    const head = `# ${loaded.file ?? 'no file'}: this would run\n`
    const text = `${head}${effective(shown)}\n${explained(shown)}${plans.map(told).join('')}`
    io.stdout.write(printable(trial === undefined ? text : describeTrial(trial)))
    return 0
  },
}

/** What is printed is copied into tickets and chats. */
function withoutSecrets(config: Config): Config {
  const shown = structuredClone(config)
  const { jetstream, kafka } = shown.log
  if (jetstream.password !== undefined) jetstream.password = HIDDEN
  if (jetstream.token !== undefined) jetstream.token = HIDDEN
  if (kafka.sasl !== undefined) kafka.sasl.password = HIDDEN
  return shown
}

/** The configuration with all defaults filled in, as YAML that could be a file of its own. */
function effective(config: Config): string {
  const { http, grpc, admin, pool, log, ledger, measures } = config
  const readable = {
    ...config,
    http: { ...http, listen: formatListen(http.listen), maxBody: formatSize(http.maxBody) },
    grpc: grpc === 'none' ? grpc : { ...grpc, listen: formatListen(grpc.listen) },
    admin: { listen: formatListen(admin.listen) },
    pool: { ...pool, heap: formatSize(pool.heap) },
    log: {
      ...log,
      retention: {
        maxBytes: formatSize(log.retention.maxBytes),
        maxAge: formatDuration(log.retention.maxAge),
      },
    },
    ledger: { producerIdle: formatDuration(ledger.producerIdle) },
    measures: measures.map((measure) => ({ ...measure, window: windowOf(measure) })),
  }
  return stringify(readable, { lineWidth: 110 })
}

function explained({ measures }: Config): string {
  if (measures.length === 0) return '# nothing is measured\n'
  return `${measures.map((measure) => `# ${measure.name}: ${sentence(measure)}`).join('\n')}\n`
}

function told({ name, path, match, timeLimit, measures }: HandlerPlan): string {
  const conditions = Object.entries(match).map(([field, pattern]) => `${field} is ${JSON.stringify(pattern)}`)
  const which = conditions.length > 0 ? `events whose ${conditions.join(' and ')}` : 'all events'
  const lines = [`# handler ${name} (${path}): ${which}, ${formatDuration(timeLimit)} each at most\n`]
  for (const measure of measures) lines.push(`# ${measure.name}: what ${name} emits, ${spanOf(measure)}\n`)
  return lines.join('')
}

function sentence({ where, by, value, window, quantiles }: Measure): string {
  const conditions = Object.entries(where).map(([field, pattern]) => `${field} is ${JSON.stringify(pattern)}`)
  const which = value === 'value' ? 'events that carry a value' : 'all events'
  const when = conditions.length > 0 ? `, where ${conditions.join(' and ')},` : ''
  return `counts ${which}${when} ${spanOf({ by, value, window, quantiles })}`
}

function spanOf({
  by,
  value,
  window,
  quantiles,
}: Pick<Measure, 'by' | 'value' | 'window' | 'quantiles'>): string {
  const numbers = value === 'value' ? `, with sum, min, max, mean${quantiles ? ', p50, p95, p99' : ''}` : ''
  const span =
    window === 'all' ? 'in one window without end' : `for each ${formatDuration(window)} of event time`
  return `by ${by.join(' and ')}, ${span}${numbers}`
}

function windowOf({ window }: Measure): string {
  return window === 'all' ? window : formatDuration(window)
}
