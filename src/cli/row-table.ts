// Rows of a measure as a table: only the columns that they have.

import type { Row } from '../client/answers.ts'
import { type Cell, Table } from './table.ts'

const numbers = ['count', 'sum', 'min', 'max', 'mean', 'p50', 'p95', 'p99'] as const

export class RowTable {
  #table: Table | undefined
  #columns: readonly (typeof numbers)[number][] = numbers

  /** The text of these rows; the first page decides on the columns. */
  page(rows: readonly Row[]): string {
    if (this.#table === undefined) {
      if (rows.length === 0) return 'no rows\n'
      const [first] = rows
      const parts = first.key.length === 1 ? ['key'] : first.key.map((_, i) => `key ${i + 1}`)
      this.#columns = numbers.filter((name) => rows.some((row) => row[name] !== undefined))
      this.#table = new Table([...parts, 'from', 'to', ...this.#columns])
    }
    return this.#table.page(
      rows.map((row): Cell[] => [
        ...row.key.map((part) => (part === '' ? '""' : part)),
        row.windowStart,
        row.windowEnd,
        ...this.#columns.map((name) => row[name]),
      ]),
    )
  }
}
