// `millrace query`: rows of a measure, or the list of measures.

import type { Measure } from '../config/config.ts'
import { formatDuration } from '../config/units.ts'
import { QUERY_ROWS_MAX } from '../limits.ts'
import type { RowsAnswer } from '../results/query.ts'
import { daemonOptions, get, type Search, type Target, targetOf } from './client.ts'
import { type Command, type Io, UsageError, type Words } from './command.ts'
import { RowTable } from './row-table.ts'
import { Table } from './table.ts'
import { orders, pathOf, printTop } from './top.ts'

export const query: Command = {
  name: 'query',
  operands: '[MEASURE]',
  arity: [0, 1],
  summary: 'print rows of a measure; without MEASURE, the measures',
  options: {
    key: { value: 'PART', repeatable: true, help: 'only this key: one for each field of by, in that order' },
    from: { value: 'TIME', help: 'only windows that start at this time (RFC 3339) or later' },
    to: { value: 'TIME', help: 'only windows that start before this time' },
    merge: { help: 'fold the windows of a key into one row' },
    limit: { value: 'ROWS', help: `how many rows, 1 to ${QUERY_ROWS_MAX}` },
    all: { help: 'all rows, however many' },
    top: { value: 'BY', help: `instead, the first keys by ${orders.join(', ')}` },
    json: { help: 'print JSON' },
    ...daemonOptions,
  },
  async run(words, io) {
    const target = targetOf(words, io)
    const [name] = words.operands
    const limit = words.flag('limit') ? words.count('limit', 0, 1, QUERY_ROWS_MAX) : undefined
    const by = words.choice('top', orders)
    const meant = ['key', 'from', 'to', 'merge', 'limit', 'all', 'top'].find((option) => words.flag(option))
    if (name === undefined && meant !== undefined) throw new UsageError(`--${meant}: of which MEASURE?`)
    if (name === undefined) return listMeasures(words, io, target)
    if (by !== undefined) {
      for (const option of ['key', 'merge', 'all']) {
        if (words.flag(option)) throw new UsageError(`--top and --${option} do not go together`)
      }
      return printTop(words, io, target, name, by, limit)
    }
    return printRows(words, io, target, name, limit)
  },
}

async function listMeasures(words: Words, io: Io, target: Target): Promise<number> {
  const answer = await get<{ measures: Measure[] }>(target, '/v1/measures')
  if (words.flag('json')) {
    io.stdout.write(`${JSON.stringify(answer)}\n`)
    return 0
  }
  const rows = answer.measures.map(({ name, by, value, window, where, quantiles }) => [
    name,
    by.join(', '),
    value,
    window === 'all' ? window : formatDuration(window),
    quantiles ? 'yes' : 'no',
    Object.entries(where)
      .map(([field, pattern]) => `${field}=${pattern}`)
      .join(', ') || '-',
  ])
  io.stdout.write(new Table(['measure', 'by', 'value', 'window', 'quantiles', 'where']).page(rows))
  return 0
}

/** Page by page, so that a large answer is never held as a whole. */
async function printRows(
  words: Words,
  io: Io,
  target: Target,
  name: string,
  limit: number | undefined,
): Promise<number> {
  const all = words.flag('all')
  const json = words.flag('json')
  const search: Search = [
    ...words.all('key').map((part): [string, string] => ['key', part]),
    ['from', words.text('from')],
    ['to', words.text('to')],
    ['merge', words.flag('merge') ? 'true' : undefined],
    ['limit', limit?.toString() ?? (all ? String(QUERY_ROWS_MAX) : undefined)],
  ]
  const table = new RowTable()
  let cursor: string | undefined
  let printed = 0
  if (json) io.stdout.write('{"rows":[')
  try {
    do {
      const page: RowsAnswer = await get(target, pathOf(name), [...search, ['cursor', cursor]])
      if (json) {
        const rows = page.rows.map((row) => JSON.stringify(row)).join(',\n')
        io.stdout.write(printed > 0 && rows !== '' ? `,\n${rows}` : rows)
      } else io.stdout.write(table.page(page.rows))
      printed += page.rows.length
      cursor = page.cursor
    } while (all && cursor !== undefined)
  } finally {
    if (json) io.stdout.write(`]${cursor === undefined ? '' : `,"cursor":${JSON.stringify(cursor)}`}}\n`)
  }
  if (!json && cursor !== undefined) io.stderr.write(`there are more rows: --all prints them\n`)
  return 0
}
