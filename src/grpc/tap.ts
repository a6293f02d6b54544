// Query/Tap: a live tap, what the tail is over HTTP. A reader that is slow costs what a few batches need: while its
// window has no room nothing is written, and what would have been is counted.

import type { ServerWritableStream } from '@grpc/grpc-js'
import { millrace } from '#service'
import { parameters } from '../api/parameters.ts'
import type { News, Taps } from '../api/tail.ts'
import { Problem } from '../errors.ts'
import type { Calls } from './calls.ts'

export interface TapParts {
  calls: Calls
  taps: Taps
}

type Writable = ServerWritableStream<Buffer, millrace.v1.TapResponse.$Properties>

export class TapCalls {
  readonly #parts: TapParts
  readonly #open = new Set<Writable>()

  constructor(parts: TapParts) {
    this.#parts = parts
  }

  readonly handler = (call: Writable): void => {
    const { calls, taps } = this.#parts
    const left = { missed: 0, sampled: 0, unread: 0 }
    const read = ({ events, missed, sampled, unread }: News) => {
      left.missed += missed
      left.sampled += sampled
      left.unread += unread
      if (call.writableNeedDrain || call.writableEnded) left.missed += events.length
      else {
        call.write({ events, ...left })
        Object.assign(left, { missed: 0, sampled: 0, unread: 0 })
      }
    }
    try {
      const { filter, rate } = parameters.tail(searchOf(call.request))
      const tap = taps.open(filter, rate, read)
      this.#open.add(call)
      call.on('cancelled', () => {
        tap.close()
        this.#open.delete(call)
      })
      // Headers alone: from now on events are seen.
      void tap.ready.then(() => call.sendMetadata(calls.headers(call.metadata)))
    } catch (error) {
      call.emit('error', calls.refusal(error as Error, calls.of(call.metadata)))
    }
  }

  /** Ends all of them. */
  drain(): void {
    const { calls } = this.#parts
    for (const call of this.#open) {
      const problem = new Problem('draining', 'this daemon is shutting down')
      call.emit('error', calls.refusal(problem, calls.of(call.metadata)))
    }
  }
}

/** The same checks as over HTTP, whose parameters have the same names. */
function searchOf(request: Buffer): URLSearchParams {
  const search = new URLSearchParams()
  let decoded: millrace.v1.TapRequest
  try {
    decoded = millrace.v1.TapRequest.decode(request)
  } catch (error) {
    throw new Problem('malformed', `the request cannot be read: ${(error as Error).message}`)
  }
  for (const name of ['type', 'source', 'subject'] as const) {
    const pattern = decoded[name]
    if (pattern !== null && pattern !== undefined) search.set(name, pattern)
  }
  if (decoded.rate > 0) search.set('rate', String(decoded.rate))
  return search
}
