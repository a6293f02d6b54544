// `millrace top`: how the daemon does, live; or the keys of a measure that come first.

import { type Order, orders } from '../client/answers.ts'
import type { Client } from '../client/client.ts'
import { QUERY_ROWS_MAX } from '../limits.ts'
import { adminOption } from './admin.ts'
import { asking, daemonOptions } from './client.ts'
import { type Command, type Io, UsageError, type Words } from './command.ts'
import { RowTable } from './row-table.ts'
import { watch } from './top-live.ts'

const ofMeasure = ['limit', 'from', 'to']
const ofLive = ['measure', 'once', 'admin']

export const top: Command = {
  name: 'top',
  operands: '[MEASURE]',
  arity: [0, 1],
  summary: 'show live how the daemon does; or print the keys of a MEASURE that come first, windows merged',
  options: {
    measure: { value: 'NAME', help: 'live: whose hottest keys are shown (default: the first measure)' },
    once: { help: 'live: print one line and end' },
    admin: adminOption,
    by: {
      value: 'ORDER',
      help: `live: rate (default) or count; of a MEASURE: ${orders.join(', ')} (default: count), min has the smallest first`,
    },
    limit: { value: 'ROWS', help: `of a MEASURE: how many keys, 1 to ${QUERY_ROWS_MAX} (default: 10)` },
    from: { value: 'TIME', help: 'of a MEASURE: only windows that start at this time (RFC 3339) or later' },
    to: { value: 'TIME', help: 'of a MEASURE: only windows that start before this time' },
    json: { help: 'print JSON; live: a line a second' },
    ...daemonOptions,
  },
  notes:
    'Live it fills the terminal, and q or Ctrl-C ends it; where it does not write to a terminal, or with --json or --once, it\n' +
    'prints a line a second. Rates and latencies are of the last second, and latencies are interpolated within the buckets of\n' +
    'histograms. Hottest by rate are those of the 100 keys with the highest counts that grow fastest.',
  async run(words, io) {
    const [name] = words.operands
    for (const option of name === undefined ? ofMeasure : ofLive) {
      if (!words.flag(option)) continue
      throw new UsageError(
        name === undefined
          ? `--${option} is for the keys of a measure: which MEASURE?`
          : `--${option} is for the live view, without a MEASURE`,
      )
    }
    if (name === undefined) return watch(words, io)
    const limit = words.count('limit', 10, 1, QUERY_ROWS_MAX)
    const by = words.choice('by', orders)
    return asking(words, io, (client) => printTop(words, io, client, name, by, limit))
  },
}

export async function printTop(
  words: Words,
  io: Io,
  client: Client,
  name: string,
  by: Order | undefined,
  limit: number | undefined,
): Promise<number> {
  const rows = await client.top(name, { by, limit, from: words.text('from'), to: words.text('to') })
  io.stdout.write(words.flag('json') ? `${JSON.stringify({ rows })}\n` : new RowTable().page(rows))
  return 0
}
