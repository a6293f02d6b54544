// The flame graph of the last profile, and taking another one.

import { byId, field, say, show } from './dom.ts'
import { ask, hasKey, Refusal, wordsOf } from './door.ts'

export async function profilePanel(): Promise<void> {
  const form = byId<HTMLFormElement>('profile-form')
  const button = byId<HTMLButtonElement>('profile-button')
  const told = byId('profile-told')
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const seconds = field(form, 'seconds')
    button.disabled = true
    say(told, `Taking a profile of ${seconds} s over all processes …`)
    try {
      const answer = await ask(`/debug/pprof/profile?seconds=${encodeURIComponent(seconds)}`)
      offer(byId<HTMLAnchorElement>('profile-save'), await answer.blob())
      const leftOut = answer.headers.get('millrace-left-out')
      const without = leftOut === null ? '' : `, without ${leftOut}`
      say(told, `A profile of ${seconds} s, taken at ${new Date().toLocaleTimeString('en-GB')}${without}.`)
      await drawFlame(told)
    } catch (error) {
      say(told, missing(error) ? 'This daemon takes no profiles.' : `No profile: ${wordsOf(error)}.`)
    } finally {
      button.disabled = false
    }
  })
  await drawFlame(told).catch((error) => say(told, `No flame graph: ${wordsOf(error)}.`))
}

/** As an image: whatever is in it, nothing of it runs here. */
async function drawFlame(told: HTMLElement): Promise<void> {
  try {
    const svg = await (await ask('/debug/pprof/flame.svg')).blob()
    const image = byId<HTMLImageElement>('flame')
    if (image.src !== '') URL.revokeObjectURL(image.src)
    image.src = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }))
    await image.decode()
    show(byId('profile-graph'), true)
    // A link cannot carry a key.
    show(byId('profile-open'), !hasKey())
  } catch (error) {
    if (!missing(error)) throw error
    if (told.textContent === '') say(told, 'No profile has been taken since the daemon was started.')
  }
}

function missing(error: unknown): boolean {
  return error instanceof Refusal && error.status === 404
}

function offer(link: HTMLAnchorElement, what: Blob): void {
  if (link.href.startsWith('blob:')) URL.revokeObjectURL(link.href)
  link.href = URL.createObjectURL(what)
  show(link, true)
}
