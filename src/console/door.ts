// All that the page asks for goes through here: to its own origin, with the key where one is needed.

import { byId, say, show } from './dom.ts'

/** For the life of the tab; nowhere else. */
const KEPT = 'millrace-key'

/** An answer that is none: RFC 9457, as far as it was one. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, detail: string) {
    super(detail)
    this.status = status
    this.code = code
  }
}

let key = sessionStorage.getItem(KEPT)
/** The dialog that is open: all who need a key wait for the same one. */
let asked: Promise<boolean> | undefined
/** Somebody closed the dialog: it does not come again by itself. */
let declined = false

export interface Asking {
  method?: string
  accept?: string
  signal?: AbortSignal
}

/** The response of an answer that is one; asks for a key where one is missing or wrong. Throws Refusal. */
export async function ask(
  path: string,
  { method = 'GET', accept = '*/*', signal }: Asking = {},
): Promise<Response> {
  for (;;) {
    const sent = key
    if (declined) throw new Refusal(401, 'unauthenticated', 'no key was given')
    const headers: Record<string, string> = { accept }
    if (sent !== null) headers.authorization = `Bearer ${sent}`
    const response = await fetch(path, { method, headers, ...(signal === undefined ? {} : { signal }) })
    if (response.ok) return response
    const refusal = await refusalOf(response)
    const helps = refusal.code === 'unauthenticated' || (refusal.code === 'out-of-scope' && sent !== null)
    if (!helps) throw refusal
    if (sent !== key) continue // another one was given meanwhile
    if (!(await askKey(sent === null ? '' : refusal.message))) throw refusal
  }
}

/** The JSON of an answer. */
export async function get<T>(path: string, asking?: Asking): Promise<T> {
  return (await (await ask(path, { accept: 'application/json', ...asking })).json()) as T
}

async function refusalOf(response: Response): Promise<Refusal> {
  const text = await response.text()
  try {
    const { code, detail } = JSON.parse(text) as { code: string; detail: string }
    return new Refusal(response.status, code, detail)
  } catch {
    return new Refusal(response.status, '', `${response.status} ${response.statusText}`)
  }
}

/** What went wrong, in a sentence. */
export function wordsOf(error: unknown): string {
  if (error instanceof Refusal) return error.message
  return error instanceof TypeError ? 'the daemon does not answer' : (error as Error).message
}

/** Resolves with false when the dialog is closed without a key. `problem`: of the one before. */
function askKey(problem: string): Promise<boolean> {
  asked ??= new Promise<boolean>((resolve) => {
    const dialog = byId<HTMLDialogElement>('key-dialog')
    const input = byId<HTMLInputElement>('key-input')
    input.value = ''
    say(byId('key-problem'), problem === '' ? '' : `Not this one: ${problem}.`)
    input.setAttribute('aria-invalid', String(problem !== ''))
    dialog.returnValue = ''
    dialog.showModal()
    dialog.addEventListener(
      'close',
      () => {
        asked = undefined
        keep(dialog.returnValue === 'given' ? input.value.trim() : key)
        declined = dialog.returnValue !== 'given'
        resolve(!declined)
      },
      { once: true },
    )
  })
  return asked
}

function keep(given: string | null): void {
  key = given
  if (given === null) sessionStorage.removeItem(KEPT)
  else sessionStorage.setItem(KEPT, given)
  const button = byId('key-button')
  show(button, true)
  say(button, key === null ? 'Enter a key' : 'Forget key')
}

export function openDoor(): void {
  if (key !== null) keep(key)
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault()
    byId<HTMLDialogElement>('key-dialog').close('given')
  })
  byId('key-button').addEventListener('click', () => {
    sessionStorage.removeItem(KEPT)
    location.reload()
  })
}

export function hasKey(): boolean {
  return key !== null
}
