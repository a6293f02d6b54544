// The time as of this turn of the event loop: asking the system for it costs as much as scanning a small event, and a
// busy turn has hundreds of requests. What is measured with it is off by the length of a turn at the most.

let at = 0
let isFresh = false

const outdate = (): void => {
  isFresh = false
}

/** Milliseconds, as performance.now(), at the first call of this turn. */
export function turnTime(): number {
  return isFresh ? at : newTurnTime()
}

/** The same at this very moment, also for those who ask later in this turn. */
export function newTurnTime(): number {
  at = performance.now()
  if (!isFresh) {
    isFresh = true
    setImmediate(outdate)
  }
  return at
}
