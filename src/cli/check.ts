// `millrace check`: would this configuration run, and what would it do?

import { stringify } from 'yaml'
import type { Config, Measure } from '../config/config.ts'
import { DEFAULT_FILE, loadConfig } from '../config/load.ts'
import { formatDuration, formatListen, formatSize } from '../config/units.ts'
import type { Command } from './command.ts'
import { printable } from './table.ts'

const HIDDEN = '(not shown)'

export const check: Command = {
  name: 'check',
  operands: '[FILE]',
  arity: [0, 1],
  summary: 'check a configuration and print what would run',
  options: {
    set: { value: 'KEY=VALUE', repeatable: true, help: 'set one key over the file' },
    json: { help: 'print the configuration as JSON: sizes in bytes, times in milliseconds' },
  },
  notes: `Without FILE, ${DEFAULT_FILE} is checked if it is there. The environment counts as it does for start.`,
  async run(words, io) {
    const { config, file } = loadConfig({ file: words.operands[0], env: io.env, sets: words.all('set') })
    const shown = withoutSecrets(config)
    if (words.flag('json')) {
      io.stdout.write(`${JSON.stringify({ file: file ?? null, config: shown }, null, 2)}\n`)
    } else {
      const text = `# ${file ?? 'no file'}: this would run\n${effective(shown)}\n${explained(shown)}`
      io.stdout.write(printable(text))
    }
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
  const { http, grpc, admin, log, ledger, measures } = config
  const readable = {
    ...config,
    http: { ...http, listen: formatListen(http.listen), maxBody: formatSize(http.maxBody) },
    grpc: grpc === 'none' ? grpc : { ...grpc, listen: formatListen(grpc.listen) },
    admin: { listen: formatListen(admin.listen) },
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

function sentence({ where, by, value, window, quantiles }: Measure): string {
  const conditions = Object.entries(where).map(([field, pattern]) => `${field} is ${JSON.stringify(pattern)}`)
  const which = value === 'value' ? 'events that carry a value' : 'all events'
  const when = conditions.length > 0 ? `, where ${conditions.join(' and ')},` : ''
  const numbers = value === 'value' ? `, with sum, min, max, mean${quantiles ? ', p50, p95, p99' : ''}` : ''
  const span =
    window === 'all' ? 'in one window without end' : `for each ${formatDuration(window)} of event time`
  return `counts ${which}${when} by ${by.join(' and ')}, ${span}${numbers}`
}

function windowOf({ window }: Measure): string {
  return window === 'all' ? window : formatDuration(window)
}
