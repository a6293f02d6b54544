// A timer for limits on someone else's silence. Where this process itself was held up, what came meanwhile has not been
// read yet when the timer fires: such a turn is left out, so that the other end is not blamed for it.

/** Calls `act` about every `ms` milliseconds with the time of performance.now(). Returns how to end that. */
export function every(ms: number, act: (now: number) => void): () => void {
  let last = performance.now()
  let leftOut = false
  const timer = setInterval(() => {
    const now = performance.now()
    leftOut = !leftOut && now - last > 1.5 * ms + 50
    last = now
    if (!leftOut) act(now)
  }, ms)
  return () => clearInterval(timer)
}
