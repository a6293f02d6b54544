// Finds the columns that were named on the command line.

import { didYouMean } from '../../config/nearest.ts'
import { UsageError } from '../command.ts'

const SHOWN_MAX = 20

/** The place of each column; undefined for those that are not used. Throws UsageError for one that there is not. */
export function findColumns(wanted: (string | undefined)[], header: string[]): (number | undefined)[] {
  return wanted.map((name) => {
    if (name === undefined) return undefined
    const place = header.indexOf(name)
    if (place < 0) {
      const listed = header.slice(0, SHOWN_MAX).join(', ') + (header.length > SHOWN_MAX ? ' …' : '')
      throw new UsageError(`there is no column ${name}${didYouMean(name, header) || `: there are ${listed}`}`)
    }
    if (header.indexOf(name, place + 1) >= 0) throw new UsageError(`there are two columns ${name}`)
    return place
  })
}
