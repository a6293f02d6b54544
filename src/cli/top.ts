// `millrace top`: the keys of a measure that come first.

import { QUERY_ROWS_MAX } from '../limits.ts'
import type { AnswerRow } from '../results/query.ts'
import { daemonOptions, get, type Target, targetOf } from './client.ts'
import type { Command, Io, Words } from './command.ts'
import { RowTable } from './row-table.ts'

export const orders = ['count', 'sum', 'mean', 'max', 'min'] as const

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
    return printTop(words, io, targetOf(words, io), words.operands[0], words.choice('by', orders), limit)
  },
}

export async function printTop(
  words: Words,
  io: Io,
  target: Target,
  name: string,
  by: string | undefined,
  limit: number | undefined,
): Promise<number> {
  const answer = await get<{ rows: AnswerRow[] }>(target, `${pathOf(name)}/top`, [
    ['by', by],
    ['limit', limit?.toString()],
    ['from', words.text('from')],
    ['to', words.text('to')],
  ])
  io.stdout.write(words.flag('json') ? `${JSON.stringify(answer)}\n` : new RowTable().page(answer.rows))
  return 0
}

export function pathOf(measure: string): string {
  return `/v1/measures/${encodeURIComponent(measure)}`
}
