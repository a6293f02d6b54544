// A line for each request, at level debug and at a bounded rate. One log for a process, which the doors look at with every
// answer: at any other level it costs them that look.

import { LineRate, type Logger } from './logger.ts'

const REQUESTS_LOGGED_PER_SECOND = 10

/** What is known of every request, whichever door it came through. */
interface Request {
  correlationId: string
  /** A template of HTTP, or a method of gRPC: never what a client has made up. */
  route: string
  /** Of HTTP, or of gRPC; `aborted` where the client left first. */
  status: number | string
  /** From its headers to its answer. */
  ms: number
}

class AccessLog {
  enabled = false
  #logger: Logger | undefined
  readonly #rate = new LineRate(REQUESTS_LOGGED_PER_SECOND)

  /** Into this log from now on, whenever its level is debug or below. */
  open(logger: Logger): void {
    this.#logger = logger
    const look = () => {
      this.enabled = logger.isLevelEnabled('debug')
    }
    logger.on('level-change', look)
    look()
  }

  tell({ correlationId, route, status, ms }: Request): void {
    const withheld = this.#rate.next(Date.now())
    if (withheld === undefined) return
    const rounded = Math.round(ms * 1000) / 1000
    this.#logger?.debug({ correlationId, route, status, ms: rounded, withheld }, 'request answered')
  }
}

export const access = new AccessLog()
