// Dead letters: which there are, what is in one, and what is to become of it.

import type { Letter, Letters, Outcome, Sample, WholeLetter } from './answers.ts'
import { byId, element, field, say, show, terms } from './dom.ts'
import { ask, get, Refusal, wordsOf } from './door.ts'
import { bytes, count, time } from './format.ts'
import { PAUSE_MS_MIN } from './poll.ts'

/** Letters of one page. */
const PAGE = 20

/** Returns what has to hear of samples: the list is asked for again when their number changes. */
export function lettersPanel(): (sample: Sample) => void {
  const panel = new LettersPanel()
  let total: number | undefined
  return ({ totals }) => {
    if (totals.deadLetters === total) return
    total = totals.deadLetters
    void panel.list()
  }
}

class LettersPanel {
  readonly #form = byId<HTMLFormElement>('letters-filter')
  readonly #told = byId('letters-told')
  readonly #body = byId<HTMLTableElement>('letters-table').tBodies[0]
  readonly #dialog = new LetterDialog(() => void this.list())
  /** Of the page that is shown; undefined for the first. */
  #cursor: string | undefined
  #next: string | undefined
  #asked = 0

  constructor() {
    const turn = (cursor: () => string | undefined) => () => {
      this.#cursor = cursor()
      void this.list()
    }
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      turn(() => undefined)()
    })
    byId('letters-first').addEventListener(
      'click',
      turn(() => undefined),
    )
    byId('letters-next').addEventListener(
      'click',
      turn(() => this.#next),
    )
    void this.list()
  }

  async list(): Promise<void> {
    const mine = ++this.#asked
    const search = new URLSearchParams({ limit: String(PAGE) })
    for (const name of ['handler', 'reason']) {
      const value = field(this.#form, name)
      if (value !== '') search.set(name, value)
    }
    if (this.#cursor !== undefined) search.set('cursor', this.#cursor)
    try {
      const page = await get<Letters>(`/v1/dead-letters?${search}`)
      if (mine !== this.#asked) return
      this.#next = page.cursor
      show(byId('letters-next'), page.cursor !== undefined)
      show(byId('letters-first'), this.#cursor !== undefined)
      const { kept, total, replayed, dropped, left } = page
      const gone = [`${count(replayed)} replayed`, `${count(dropped)} dropped`]
      if (left > 0) gone.push(`${count(left)} left, as there were too many`)
      say(byId('letters-count'), `${count(kept)} kept of ${count(total)} · ${gone.join(' · ')}`)
      const filtered = search.has('handler') || search.has('reason') ? ' that match' : ''
      say(this.#told, page.letters.length === 0 ? `There are no dead letters${filtered}.` : '')
      const focused = document.activeElement?.closest('tr')?.dataset.id
      this.#body.replaceChildren(...page.letters.map((letter) => this.#line(letter)))
      // Whoever was at a letter stays there.
      const line = [...this.#body.rows].find(({ dataset }) => dataset.id === focused)
      if (focused !== undefined) line?.querySelector('button')?.focus()
    } catch (error) {
      if (mine !== this.#asked) return
      say(this.#told, `No answer: ${wordsOf(error)}.`)
      const helps = !(error instanceof Refusal) || error.status >= 500
      if (helps) setTimeout(() => mine === this.#asked && this.list(), PAUSE_MS_MIN)
    }
  }

  #line(letter: Letter): HTMLTableRowElement {
    const about = `dead letter of ${letter.handler}, subject ${letter.subject ?? 'none'}`
    const open = element('button', { type: 'button', 'aria-label': `Show the ${about}` }, 'Show')
    open.addEventListener('click', () => void this.#dialog.open(letter.id))
    return element('tr', { 'data-id': letter.id }, [
      element('td', { class: 'nowrap' }, time(letter.diedAt)),
      element('td', { class: 'wide' }, letter.handler),
      element('td', { class: 'text' }, letter.reason),
      element('td', { class: 'wide' }, letter.type),
      element('td', { class: 'wide text' }, letter.subject ?? '–'),
      element('td', { class: 'number wide' }, count(letter.attempts)),
      element('td', { class: 'number' }, open),
    ])
  }
}

class LetterDialog {
  readonly #dialog = byId<HTMLDialogElement>('letter')
  readonly #told = byId('letter-told')
  readonly #replay = byId<HTMLButtonElement>('letter-replay')
  readonly #drop = byId<HTMLButtonElement>('letter-drop')
  readonly #changed: () => void
  #id = ''
  /** The button was pressed once, and asks whether that was meant. */
  #dropping = false

  constructor(changed: () => void) {
    this.#changed = changed
    byId('letter-close').addEventListener('click', () => this.#dialog.close())
    this.#replay.addEventListener('click', () => void this.#do('POST', `${this.#path}/replay`))
    this.#drop.addEventListener('click', () => {
      if (this.#dropping) void this.#do('DELETE', this.#path)
      else this.#ask(true)
    })
    this.#drop.addEventListener('blur', () => this.#ask(false))
  }

  get #path(): string {
    return `/v1/dead-letters/${encodeURIComponent(this.#id)}`
  }

  async open(id: string): Promise<void> {
    this.#id = id
    this.#ask(false)
    this.#enable(false)
    say(this.#told, '')
    terms(byId('letter-facts'), [])
    say(byId('letter-event'), '')
    show(byId('letter-data-part'), false)
    this.#dialog.showModal()
    try {
      const letter = await get<WholeLetter>(this.#path)
      if (this.#id !== id) return // another one was opened meanwhile
      this.#fill(letter)
      this.#enable(true)
    } catch (error) {
      if (this.#id === id) say(this.#told, `${wordsOf(error)}.`)
    }
  }

  #fill(letter: WholeLetter): void {
    terms(byId('letter-facts'), [
      ['Handler', letter.handler],
      ['Reason', letter.reason],
      ['Attempts', count(letter.attempts)],
      ['Received', time(letter.receivedAt)],
      ['Died', time(letter.diedAt)],
      ['Size', bytes(letter.bytes)],
      ['Correlation', letter.correlationId ?? '–'],
    ])
    say(byId('letter-event'), JSON.stringify(letter.event, null, 2))
    const data = letter.json === undefined ? letter.text : JSON.stringify(letter.json, null, 2)
    show(byId('letter-data-part'), data !== undefined)
    say(byId('letter-data'), data ?? '')
  }

  async #do(method: string, path: string): Promise<void> {
    this.#enable(false)
    this.#ask(false)
    try {
      const { outcome, reason } = (await (await ask(path, { method })).json()) as Outcome
      if (outcome === 'failed') {
        say(this.#told, `It was handled again, and failed again: ${reason}`)
        this.#enable(true)
      } else say(this.#told, `${outcome === 'replayed' ? 'Replayed: it is counted now' : 'Dropped'}.`)
    } catch (error) {
      say(this.#told, `${wordsOf(error)}.`)
      this.#enable(!(error instanceof Refusal && error.status === 404))
    }
    if (this.#dialog.open && this.#replay.disabled) byId('letter-close').focus()
    this.#changed()
  }

  #ask(dropping: boolean): void {
    this.#dropping = dropping
    say(this.#drop, dropping ? 'Drop it for good?' : 'Drop')
  }

  #enable(enabled: boolean): void {
    this.#replay.disabled = !enabled
    this.#drop.disabled = !enabled
  }
}
