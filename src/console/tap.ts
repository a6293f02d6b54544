// A live tap: events as they come, a bounded number of them.

import { byId, element, field, say } from './dom.ts'
import { ask, wordsOf } from './door.ts'
import { serverSent } from './event-stream.ts'
import { count, measured, time } from './format.ts'

/** Events that are shown; the oldest leave. */
const LINES_MAX = 200
/** Characters of an event's data that stand in its line. */
const DATA_CHARACTERS_MAX = 160

type Shown = Record<string, unknown>
type Missed = Record<'missed' | 'sampled' | 'unread', number>

export function tapPanel(): void {
  const form = byId<HTMLFormElement>('tap-form')
  const button = byId('tap-button')
  let running: AbortController | undefined
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    if (running !== undefined) {
      running.abort()
      return
    }
    const mine = new AbortController()
    running = mine
    say(button, 'Stop')
    await run(form, mine.signal)
    running = undefined
    say(button, 'Start')
  })
}

/** Until it is stopped, or ends by itself. */
async function run(form: HTMLFormElement, signal: AbortSignal): Promise<void> {
  const told = byId('tap-told')
  const search = new URLSearchParams({ rate: field(form, 'rate') })
  for (const name of ['type', 'subject']) {
    const value = field(form, name)
    if (value !== '') search.set(name, value)
  }
  const list = new TapList()
  say(told, 'Opening the tap …')
  try {
    const { body } = await ask(`/v1/events/tail?${search}`, { accept: 'text/event-stream', signal })
    say(told, 'The tap is open.')
    for await (const { event, data } of serverSent(body!)) {
      if (event === 'missed') list.miss(JSON.parse(data) as Missed)
      else list.add(JSON.parse(data) as Shown)
    }
    say(told, 'The daemon has closed the tap.')
  } catch (error) {
    say(told, signal.aborted ? 'The tap is closed.' : `The tap is closed: ${wordsOf(error)}.`)
  }
}

/** Draws what has come a frame at a time, however much that is. */
class TapList {
  readonly #body = byId<HTMLTableElement>('tap-table').tBodies[0]
  readonly #missed: Missed = { missed: 0, sampled: 0, unread: 0 }
  #waiting: Shown[] = []
  #drawing = false

  constructor() {
    this.#body.replaceChildren()
    say(byId('tap-missed'), '')
  }

  add(event: Shown): void {
    this.#waiting.push(event)
    if (this.#waiting.length > LINES_MAX) this.#waiting.shift()
    if (this.#drawing) return
    this.#drawing = true
    requestAnimationFrame(() => this.#draw())
  }

  miss(told: Missed): void {
    for (const kind of ['missed', 'sampled', 'unread'] as const) this.#missed[kind] += told[kind]
    const { missed, sampled, unread } = this.#missed
    const parts = [
      sampled > 0 ? `${count(sampled)} above the rate` : '',
      missed > 0 ? `${count(missed)} since somebody was slow` : '',
      unread > 0 ? `${count(unread)} not looked at` : '',
    ].filter((part) => part !== '')
    say(byId('tap-missed'), `Not shown so far: ${parts.join(', ')}.`)
  }

  #draw(): void {
    this.#drawing = false
    this.#body.prepend(...this.#waiting.reverse().map(line))
    this.#waiting = []
    while (this.#body.rows.length > LINES_MAX) this.#body.deleteRow(-1)
  }
}

function line(event: Shown): HTMLTableRowElement {
  const { type, source, subject, value, millracereceived, millracecorrelation } = event
  return element('tr', {}, [
    element('td', { class: 'nowrap' }, time(String(millracereceived))),
    element('td', {}, String(type)),
    element('td', { class: 'text' }, subject === undefined ? '–' : String(subject)),
    element('td', { class: 'number' }, measured(value as number | string | undefined)),
    element('td', { class: 'text' }, dataOf(event)),
    element('td', { class: 'wide text' }, String(source)),
    element('td', { class: 'wide' }, millracecorrelation === undefined ? '–' : String(millracecorrelation)),
  ])
}

function dataOf({ data, data_base64: base64 }: Shown): string {
  if (data === undefined && base64 === undefined) return '–'
  const written = typeof data === 'string' ? data : JSON.stringify(data)
  const text = base64 === undefined ? written : `base64:${base64}`
  return text.length > DATA_CHARACTERS_MAX ? `${text.slice(0, DATA_CHARACTERS_MAX)}…` : text
}
