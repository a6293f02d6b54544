// What rows of a measure say.

import { type Measure, type Row, type Stat, stats } from './answers.ts'
import { terms } from './dom.ts'
import { measured, time } from './format.ts'

/** The members that rows of a measure have. */
export function statsOf({ value, quantiles }: Measure): Stat[] {
  return stats.filter(
    (stat) => stat === 'count' || (value === 'value' && (quantiles || !stat.startsWith('p'))),
  )
}

/** The numbers of a row, one beside the other. */
export function rowTerms(list: Element, measure: Measure, row: Row): void {
  const span = row.windowStart === null ? [] : [['from', time(row.windowStart)] as const]
  terms(list, [...statsOf(measure).map((stat) => [stat, measured(row[stat])] as const), ...span])
}
