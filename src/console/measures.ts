// Measures: which keys come first, and one key over its windows.

import type { Measure, Row, Rows, Stat } from './answers.ts'
import { byId, element, say } from './dom.ts'
import { get, Refusal, wordsOf } from './door.ts'
import { count, keyText, measured } from './format.ts'
import { KeyChart } from './key-chart.ts'
import { type Poll, poll } from './poll.ts'
import { statsOf } from './rows.ts'

const orders = ['count', 'sum', 'mean', 'max', 'min'] as const
/** After so long the daemon is asked again which measures there are, milliseconds: a reload may have changed them. */
const LISTED_MS_MAX = 60_000
/** Of a table, as far as there is room. */
const columns: readonly Stat[] = ['count', 'sum', 'mean', 'min', 'max', 'p95']

export function measuresPanel(): void {
  new MeasuresPanel()
}

class MeasuresPanel {
  readonly #measure = byId<HTMLSelectElement>('measure')
  readonly #order = byId<HTMLSelectElement>('order')
  readonly #rows = byId<HTMLSelectElement>('rows')
  readonly #span = byId<HTMLSelectElement>('span')
  readonly #told = byId('measure-told')
  readonly #table = byId<HTMLTableElement>('top')
  readonly #poll: Poll
  readonly #chart = new KeyChart()
  #measures: Measure[] = []
  #listedAt = Number.NEGATIVE_INFINITY
  /** The first one's name, until somebody chooses; where a reload takes it away, it is chosen again once it is back. */
  #wanted: string | undefined
  /** Undefined while none is known. */
  #chosen: Measure | undefined
  /** The first parts of the keys that are listed; empty for those that come first. */
  #beginning: string[] = []
  #key: string[] | undefined

  constructor() {
    this.#measure.addEventListener('change', () => {
      this.#wanted = this.#measure.value
      this.#choose()
    })
    for (const select of [this.#order, this.#rows]) {
      select.addEventListener('change', () => this.#poll.now())
    }
    this.#span.addEventListener('change', () => this.#showKey(this.#key))
    const search = byId<HTMLFormElement>('search')
    search.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#find()
    })
    search.addEventListener('reset', () => {
      this.#beginning = []
      this.#showKey(undefined)
    })
    this.#poll = poll(byId('measures'), (signal) => this.#ask(signal))
    this.#poll.now()
  }

  /** Asks which measures there are, unless that is known. */
  async #list(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#listedAt < LISTED_MS_MAX) return
    const { measures } = await get<{ measures: Measure[] }>('/v1/measures', { signal })
    if (signal.aborted) return
    this.#listedAt = performance.now()
    if (JSON.stringify(measures) === JSON.stringify(this.#measures)) return
    this.#measures = measures
    this.#measure.replaceChildren(...measures.map(({ name }) => element('option', {}, name)))
    this.#choose()
  }

  /** The one that is wanted, or else the first. Where it is the same as before, everything stays as it is. */
  #choose(): void {
    const measure = this.#measures.find(({ name }) => name === this.#wanted) ?? this.#measures[0]
    this.#wanted ??= measure?.name
    if (measure !== undefined) this.#measure.value = measure.name
    if (JSON.stringify(measure) === JSON.stringify(this.#chosen)) return
    this.#chosen = measure
    this.#table.tBodies[0].replaceChildren()
    this.#beginning = []
    if (measure !== undefined) this.#lay(measure)
    this.#showKey(undefined)
  }

  /** What there is to choose and to see of a measure. */
  #lay(measure: Measure): void {
    const possible = orders.filter((order) => order === 'count' || measure.value === 'value')
    const order = this.#order.value
    this.#order.replaceChildren(...possible.map((one) => element('option', {}, one)))
    if (possible.some((one) => one === order)) this.#order.value = order
    this.#span.disabled = measure.window === 'all'
    byId('parts').replaceChildren(
      ...measure.by.map((part) => {
        const input = element('input', { 'data-part': '', autocomplete: 'off', spellcheck: 'false' })
        return element('label', {}, [part, ' ', input])
      }),
    )
    const heads = columns.filter((stat) => statsOf(measure).includes(stat))
    this.#table.tHead?.rows[0].replaceChildren(
      element('th', { scope: 'col', class: 'number wide' }, '#'),
      element('th', { scope: 'col' }, measure.by.join(' · ')),
      ...heads.map((stat) => element('th', { scope: 'col', class: `number ${wide(stat)}` }, stat)),
    )
  }

  /** Asks for all of a key as soon as all its parts are given, and else for the keys that begin so. */
  #find(): void {
    const parts = [...document.querySelectorAll<HTMLInputElement>('#parts input')].map(({ value }) => value)
    while (parts.at(-1) === '') parts.pop()
    const whole = parts.length === this.#chosen?.by.length
    this.#beginning = whole ? [] : parts
    this.#showKey(whole ? parts : undefined)
  }

  #showKey(key: string[] | undefined): void {
    this.#key = key
    if (this.#chosen !== undefined) this.#chart.choose(this.#chosen, key, this.#from())
    this.#poll.now()
  }

  /** Windows from here on, as a parameter of queries. */
  #from(): string | undefined {
    const seconds = Number(this.#span.value)
    if (seconds === 0 || this.#chosen?.window === 'all') return undefined
    return new Date(Date.now() - seconds * 1000).toISOString()
  }

  async #ask(signal: AbortSignal): Promise<void> {
    try {
      await this.#list(signal)
      if (signal.aborted) return
      if (this.#chosen === undefined) say(this.#told, 'No measures are configured.')
      else await this.#askFor(this.#chosen, signal)
    } catch (error) {
      if (signal.aborted) return
      const isUnknown = error instanceof Refusal && error.status === 404
      if (isUnknown) this.#listedAt = Number.NEGATIVE_INFINITY // they are others now
      say(this.#told, `No answer: ${wordsOf(error)}.`)
    }
  }

  async #askFor(measure: Measure, signal: AbortSignal): Promise<void> {
    const search = new URLSearchParams({ limit: this.#rows.value })
    const from = this.#from()
    if (from !== undefined) search.set('from', from)
    const begins = this.#beginning
    if (begins.length === 0) search.set('by', this.#order.value)
    else search.set('merge', 'true')
    for (const part of begins) search.append('key', part)
    const path = `/v1/measures/${encodeURIComponent(measure.name)}${begins.length === 0 ? '/top' : ''}`
    const [{ rows, cursor }] = await Promise.all([
      get<Rows>(`${path}?${search}`, { signal }),
      this.#chart.refresh(signal),
    ])
    if (signal.aborted) return
    this.#fill(measure, rows)
    if (begins.length > 0) say(this.#told, `${count(rows.length)}${cursor ? ' of more' : ''} keys begin so.`)
    else say(this.#told, rows.length === 0 ? 'Nothing has been counted yet.' : '')
  }

  /** Lines change in place, so that the focus stays where it is. */
  #fill(measure: Measure, rows: Row[]): void {
    const body = this.#table.tBodies[0]
    const shown = columns.filter((stat) => statsOf(measure).includes(stat))
    while (body.rows.length > rows.length) body.deleteRow(-1)
    rows.forEach((row, i) => {
      const line = body.rows[i] ?? body.appendChild(this.#newLine(shown))
      const [place, head, ...numbers] = line.children
      const button = head.firstElementChild as HTMLButtonElement
      line.dataset.key = JSON.stringify(row.key)
      const chosen = this.#key !== undefined && line.dataset.key === JSON.stringify(this.#key)
      button.setAttribute('aria-pressed', String(chosen))
      say(place, String(i + 1))
      say(button, keyText(row.key))
      shown.forEach((stat, n) => {
        say(numbers[n], measured(row[stat]))
      })
    })
  }

  #newLine(shown: Stat[]): HTMLTableRowElement {
    const button = element('button', { type: 'button', class: 'key', 'aria-pressed': 'false' })
    const line = element('tr', {}, [
      element('td', { class: 'number wide' }),
      element('th', { scope: 'row' }, button),
      ...shown.map((stat) => element('td', { class: `number ${wide(stat)}`, 'data-stat': stat })),
    ])
    button.addEventListener('click', () => {
      const key = JSON.parse(line.dataset.key ?? '[]') as string[]
      document.querySelectorAll<HTMLInputElement>('#parts input').forEach((input, i) => {
        input.value = key[i]
      })
      this.#showKey(key)
    })
    return line
  }
}

/** What is left out where there is little room. */
function wide(stat: Stat): string {
  return stat === 'count' || stat === 'mean' ? '' : 'wide'
}
