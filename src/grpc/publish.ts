// Ingest/Publish: one frame, answered when it is durable. Its bytes are scanned and copied, never decoded.

import type { handleUnaryCall } from '@grpc/grpc-js'
import type { millrace } from '#service'
import type { Problem } from '../errors.ts'
import type { Admission } from '../ingest/admission.ts'
import type { Waiting } from '../ingest/batcher.ts'
import type { Intake } from '../ingest/intake.ts'
import { scan } from '../ingest/scan.ts'
import { turnTime } from '../telemetry/clock.ts'
import type { Calls } from './calls.ts'
import { asProblem } from './problem.ts'

export interface PublishParts {
  calls: Calls
  intake: Intake
  admission: Admission
  /** What the log declares. */
  durability: string
}

export function publish(
  parts: PublishParts,
): handleUnaryCall<Buffer, millrace.v1.PublishResponse.$Properties> {
  const { calls, intake, admission, durability } = parts
  return ({ request, metadata }, answer) => {
    const call = calls.of(metadata)
    const { caller, producer, sequence, correlation } = call
    const size = request.length
    const since = turnTime()
    const refuse = (error: Error) => {
      const refusal = calls.refusal(error, call)
      calls.door.refused(asProblem(error).code)
      answer(refusal)
    }
    try {
      const events = scan(request, 0, size)
      caller?.take(events, Date.now())
      admission.take(size)
      // A call whose deadline passes meanwhile is ended by the server itself; this answer then goes nowhere.
      const waiting: Waiting = {
        correlationId: call.correlationId,
        durable() {
          admission.give(size)
          calls.door.durable(events, since)
          answer(null, { accepted: events, durability })
        },
        refused(problem: Problem) {
          admission.give(size)
          refuse(problem)
        },
      }
      try {
        intake.add(request, events, producer, sequence, correlation, waiting)
      } catch (error) {
        admission.give(size)
        throw error
      }
    } catch (error) {
      refuse(error as Error)
    }
  }
}
