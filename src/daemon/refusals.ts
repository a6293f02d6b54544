import type { Problem } from '../errors.ts'
import { LineRate, type Logger } from '../telemetry/logger.ts'

const REFUSALS_LOGGED_PER_SECOND = 10

/** A line for each refused request, at a bounded rate. Never an event's data: what quotes it is for its sender alone. */
export function refusalLog(logger: Logger): (problem: Problem, correlationId: string) => void {
  const rate = new LineRate(REFUSALS_LOGGED_PER_SECOND)
  return (problem, correlationId) => {
    const withheld = rate.next(Date.now())
    if (withheld === undefined) return
    const line = { correlationId, code: problem.code, detail: problem.logged, withheld }
    if (problem.code === 'internal') logger.error({ ...line, err: problem.cause }, 'request failed')
    else logger.info(line, 'request refused')
  }
}
