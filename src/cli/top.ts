// `millrace top`: the keys of a measure that come first.

import { type Order, orders } from '../client/answers.ts'
import type { Client } from '../client/client.ts'
import { QUERY_ROWS_MAX } from '../limits.ts'
import { asking, daemonOptions } from './client.ts'
import type { Command, Io, Words } from './command.ts'
import { RowTable } from './row-table.ts'

export const top: Command = {
  name: 'top',
  operands: 'MEASURE',
  arity: [1, 1],
  summary: 'print the keys of a measure that come first, windows merged',
  options: {
    by: { value: 'ORDER', help: `${orders.join(', ')} (default: count); min has the smallest first` },
    limit: { value: 'ROWS', help: `how many keys, 1 to ${QUERY_ROWS_MAX} (default: 10)` },
    from: { value: 'TIME', help: 'only windows that start at this time (RFC 3339) or later' },
    to: { value: 'TIME', help: 'only windows that start before this time' },
    json: { help: 'print JSON' },
    ...daemonOptions,
  },
  async run(words, io) {
    const limit = words.count('limit', 10, 1, QUERY_ROWS_MAX)
    const by = words.choice('by', orders)
    return asking(words, io, (client) => printTop(words, io, client, words.operands[0], by, limit))
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
