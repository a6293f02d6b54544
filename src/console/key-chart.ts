// One key of a measure over its windows.

import type { Measure, Row, Rows, Stat } from './answers.ts'
import { Chart, type Data } from './chart.ts'
import { byId, element, say, show } from './dom.ts'
import { get, wordsOf } from './door.ts'
import { count, keyText, measured, short, time } from './format.ts'
import { rowTerms, statsOf } from './rows.ts'

/** Windows that are kept and drawn; the latest ones of them. */
const WINDOWS_MAX = 5_000
/** Windows that stand in the table. */
const LINES_MAX = 100

export class KeyChart {
  readonly #place = byId('key-chart')
  readonly #told = byId('key-told')
  readonly #stat = byId<HTMLSelectElement>('stat')
  readonly #details = byId<HTMLDetailsElement>('key-details')
  #chart: Chart | undefined
  #measure: Measure | undefined
  #key: string[] | undefined
  #from: string | undefined
  /** Windows of the key, the latest last. */
  #windows: Row[] = []

  constructor() {
    this.#stat.addEventListener('change', () => this.#draw())
    this.#details.addEventListener('toggle', () => this.#fillTable())
  }

  /** `from`: the first window's start, RFC 3339. */
  choose(measure: Measure, key: string[] | undefined, from: string | undefined): void {
    if (measure !== this.#measure) {
      const stat = this.#stat.value
      this.#stat.replaceChildren(...statsOf(measure).map((one) => element('option', {}, one)))
      if (statsOf(measure).includes(stat as Stat)) this.#stat.value = stat
    }
    this.#measure = measure
    this.#key = key
    this.#from = from
    this.#windows = []
    say(byId('key-title'), key === undefined ? 'One key over its windows' : keyText(key))
    byId('key-row').replaceChildren()
    show(this.#place, false)
    show(this.#details, false)
    say(this.#told, key === undefined ? 'Choose a key in the table, or search for one.' : '')
  }

  /** Asks for the key's row and for the windows from the last known one on. */
  async refresh(signal: AbortSignal): Promise<void> {
    const measure = this.#measure
    const key = this.#key
    if (measure === undefined || key === undefined) return
    const path = `/v1/measures/${encodeURIComponent(measure.name)}`
    const search = (more: Record<string, string>, from: string | null | undefined) => {
      const words = new URLSearchParams(more)
      for (const part of key) words.append('key', part)
      if (typeof from === 'string') words.set('from', from)
      return `${path}?${words}`
    }
    try {
      const { rows } = await get<Rows>(search({ merge: 'true' }, this.#from), { signal })
      const known = this.#windows
      const latest = known.at(-1)?.windowStart ?? this.#from
      const fresh = measure.window === 'all' ? [] : await this.#read(search, latest, signal)
      if (signal.aborted) return
      const first = fresh[0]?.windowStart
      const rest = first === undefined ? known : known.filter(({ windowStart }) => windowStart !== first)
      this.#windows = [...rest, ...fresh].slice(-WINDOWS_MAX)
      if (rows.length === 0) say(this.#told, 'Nothing is counted under this key.')
      else rowTerms(byId('key-row'), measure, rows[0])
      if (rows.length > 0)
        say(this.#told, measure.window === 'all' ? 'This measure has one window without end.' : '')
      this.#draw()
    } catch (error) {
      if (!signal.aborted) say(this.#told, `No answer: ${wordsOf(error)}.`)
    }
  }

  /** All windows from `latest` on, page by page, and of these the latest. */
  async #read(
    search: (more: Record<string, string>, from: string | null | undefined) => string,
    latest: string | null | undefined,
    signal: AbortSignal,
  ): Promise<Row[]> {
    let windows: Row[] = []
    let cursor: string | undefined
    do {
      const more = { limit: '1000', ...(cursor === undefined ? {} : { cursor }) }
      const page = await get<Rows>(search(more, latest), { signal })
      windows = [...windows, ...page.rows].slice(-WINDOWS_MAX)
      cursor = page.cursor
    } while (cursor !== undefined)
    return windows
  }

  #draw(): void {
    const measure = this.#measure
    if (measure === undefined || measure.window === 'all' || this.#windows.length === 0) return
    show(this.#place, true)
    show(this.#details, true)
    this.#chart ??= new Chart(this.#place, {
      lines: [{ label: 'Value', colour: 'line-1', filled: true }],
      format: measured,
      axis: short,
      points: true,
    })
    const stat = this.#stat.value as Stat
    const [times, values] = drawn(this.#windows, stat, measure.window)
    const last = this.#windows.at(-1)!
    const about = `${stat} of ${keyText(this.#key ?? [])} in ${count(this.#windows.length)} windows; ${measured(last[stat])} in the one from ${time(last.windowStart ?? '')}`
    this.#chart.set([times, values] as Data, about)
    this.#fillTable()
  }

  #fillTable(): void {
    if (!this.#details.open || this.#measure === undefined) return
    const shown = statsOf(this.#measure)
    const table = byId<HTMLTableElement>('windows')
    const heads = ['from', ...shown].map((name, i) =>
      element('th', { scope: 'col', class: i === 0 ? undefined : 'number' }, name),
    )
    table.tHead?.rows[0].replaceChildren(...heads)
    const lines = this.#windows.slice(-LINES_MAX).reverse()
    table.tBodies[0].replaceChildren(
      ...lines.map((row) =>
        element('tr', {}, [
          element('th', { scope: 'row' }, time(row.windowStart ?? '')),
          ...shown.map((stat) => element('td', { class: 'number' }, measured(row[stat]))),
        ]),
      ),
    )
  }
}

/** Where windows are missing nothing was counted: 0 of it, and no line of anything else. */
function drawn(windows: Row[], stat: Stat, windowMs: number): [number[], (number | null)[]] {
  const times: number[] = []
  const values: (number | null)[] = []
  const step = windowMs / 1000
  const none = stat === 'count' ? 0 : null
  for (const row of windows) {
    const at = Date.parse(row.windowStart ?? '') / 1000
    const before = times.at(-1)
    if (before !== undefined && at - before > step * 1.5) {
      times.push(before + step)
      values.push(none)
      if (at - before > step * 2.5) {
        times.push(at - step)
        values.push(none)
      }
    }
    times.push(at)
    const value = row[stat]
    values.push(typeof value === 'number' ? value : null)
  }
  return [times, values]
}
