// Asking again and again, and never more than the daemon has leisure for.

/** Between two answers at least, milliseconds; and so many times as long as the last one took. */
export const PAUSE_MS_MIN = 2_000
const PAUSE_TIMES = 10
/** What comes into view next is asked for before. */
const NEAR = '200px'

export interface Poll {
  /** Asks at once; what was asked before is given up. */
  now(): void
}

/**
 * Calls `ask` while `place` is in view of somebody. It hands errors on to its own reader; one that is aborted is to
 * leave things as they are.
 */
export function poll(place: Element, ask: (signal: AbortSignal) => Promise<void>): Poll {
  let inView = false
  let running: AbortController | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const run = async () => {
    clearTimeout(timer)
    running?.abort()
    const mine = new AbortController()
    running = mine
    const begun = performance.now()
    await ask(mine.signal)
    if (running !== mine) return
    running = undefined
    timer = setTimeout(look, Math.max(PAUSE_MS_MIN, PAUSE_TIMES * (performance.now() - begun)))
  }
  const look = () => {
    timer = undefined
    if (inView && document.visibilityState === 'visible') void run()
  }
  const wake = () => {
    if (timer === undefined && running === undefined) look()
  }
  const observer = new IntersectionObserver(
    (entries) => {
      inView = entries.at(-1)?.isIntersecting === true
      wake()
    },
    { rootMargin: NEAR },
  )
  observer.observe(place)
  document.addEventListener('visibilitychange', wake)
  return { now: () => void run() }
}
