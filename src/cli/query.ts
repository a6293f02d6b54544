// `millrace query`: rows of a measure, or the list of measures.

import { orders, type Page } from '../client/answers.ts'
import type { Client } from '../client/client.ts'
import { formatDuration } from '../config/units.ts'
import { QUERY_ROWS_MAX } from '../limits.ts'
import { asking, daemonOptions } from './client.ts'
import { type Command, type Io, UsageError, type Words } from './command.ts'
import { RowTable } from './row-table.ts'
import { Table } from './table.ts'
import { printTop } from './top.ts'

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
    const [name] = words.operands
    const limit = words.flag('limit') ? words.count('limit', 0, 1, QUERY_ROWS_MAX) : undefined
    const by = words.choice('top', orders)
    const meant = ['key', 'from', 'to', 'merge', 'limit', 'all', 'top'].find((option) => words.flag(option))
    if (name === undefined && meant !== undefined) throw new UsageError(`--${meant}: of which MEASURE?`)
    if (name === undefined) return asking(words, io, (client) => listMeasures(words, io, client))
    if (by !== undefined) {
      for (const option of ['key', 'merge', 'all']) {
        if (words.flag(option)) throw new UsageError(`--top and --${option} do not go together`)
      }
      return asking(words, io, (client) => printTop(words, io, client, name, by, limit))
    }
    return asking(words, io, (client) => printRows(words, io, client, name, limit))
  },
}

async function listMeasures(words: Words, io: Io, client: Client): Promise<number> {
  const measures = await client.measures()
  if (words.flag('json')) {
    io.stdout.write(`${JSON.stringify({ measures })}\n`)
    return 0
  }
  const rows = measures.map(({ name, by, value, window, where, quantiles }) => [
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
  client: Client,
  name: string,
  limit: number | undefined,
): Promise<number> {
  const all = words.flag('all')
  const json = words.flag('json')
  const search = {
    key: words.all('key'),
    from: words.text('from'),
    to: words.text('to'),
    merge: words.flag('merge'),
    limit: limit ?? (all ? QUERY_ROWS_MAX : undefined),
  }
  const table = new RowTable()
  let cursor: string | undefined
  let printed = 0
  if (json) io.stdout.write('{"rows":[')
  try {
    do {
      const page: Page = await client.page(name, { ...search, cursor })
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
