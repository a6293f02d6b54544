// Query/*: what was counted, with the meaning that the queries over HTTP have.

import type { handleUnaryCall } from '@grpc/grpc-js'
import { type google, millrace } from '#service'
import type { status } from '../api/status.ts'
import { Problem } from '../errors.ts'
import { type AnswerRow, type Query, topBy } from '../results/query.ts'
import type { Calls } from './calls.ts'

const v1 = millrace.v1

export interface QueryParts {
  calls: Calls
  /** Resolves when what was committed before can be read. */
  fresh(): Promise<void>
  query: Query
  status(): Promise<ReturnType<typeof status>>
}

type Handler<Answer> = handleUnaryCall<Buffer, Answer>

export function queryHandlers(parts: QueryParts) {
  const { calls, query } = parts
  const unary = <Request, Answer>(
    decode: (bytes: Buffer) => Request,
    ask: (request: Request, signal: AbortSignal) => Answer | Promise<Answer>,
  ): Handler<Answer> => {
    return (call, answer) => {
      const gone = new AbortController()
      call.on('cancelled', () => gone.abort())
      const run = async () => {
        const request = decoded(decode, call.request)
        await parts.fresh()
        return ask(request, gone.signal)
      }
      run().then(
        (found) => answer(null, found),
        (error: Error) => {
          if (!gone.signal.aborted) answer(calls.refusal(error, calls.of(call.metadata)))
        },
      )
    }
  }

  return {
    Measures: unary(
      (bytes) => v1.MeasuresRequest.decode(bytes),
      (): millrace.v1.MeasuresResponse.$Properties => ({
        measures: query.measures().map(({ window, ...measure }) => ({
          ...measure,
          windowMs: window === 'all' ? 0 : window,
        })),
      }),
    ),
    Rows: unary(
      (bytes) => v1.RowsRequest.decode(bytes),
      async (request, signal): Promise<millrace.v1.RowsResponse.$Properties> => {
        const { measure, key, from, to, merge, limit, cursor } = request
        const asked = {
          ...{ key, merge, from: millisecondsOf(from), to: millisecondsOf(to) },
          limit: limit || undefined,
          cursor: cursor || undefined,
        }
        const found = await query.rows(measure, asked, signal)
        return { rows: found.rows.map(row), cursor: found.cursor ?? '' }
      },
    ),
    Top: unary(
      (bytes) => v1.TopRequest.decode(bytes),
      async (request, signal): Promise<millrace.v1.TopResponse.$Properties> => {
        const { measure, by, from, to, limit } = request
        const order = topBy[by]
        if (order === undefined) throw new Problem('malformed', `by=${by}: 0 to ${topBy.length - 1}`)
        const asked = { by: order, from: millisecondsOf(from), to: millisecondsOf(to) }
        const { rows } = await query.top(measure, { ...asked, limit: limit || undefined }, signal)
        return { rows: rows.map(row) }
      },
    ),
    Status: unary(
      (bytes) => v1.StatusRequest.decode(bytes),
      async (): Promise<millrace.v1.StatusResponse.$Properties> => {
        const { processed, log, ...rest } = await parts.status()
        const { redelivered, damaged, ...counted } = processed
        const { away = {}, missing = {}, ...kept } = log
        return {
          ...rest,
          processed: {
            ...counted,
            redeliveredEvents: redelivered.events,
            damagedEvents: damaged.events,
            lostSegments: damaged.segments,
          },
          log: { ...kept, away, missing },
        }
      },
    ),
  }
}

function decoded<T>(decode: (bytes: Buffer) => T, bytes: Buffer): T {
  try {
    return decode(bytes)
  } catch (error) {
    throw new Problem('malformed', `the request cannot be read: ${(error as Error).message}`)
  }
}

function row({ windowStart, windowEnd, ...rest }: AnswerRow): millrace.v1.Row.$Properties {
  const { key, count, ...numbers } = rest
  // Infinity and NaN, which JSON has as text, are numbers here.
  const doubles = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]))
  return { key, count, ...doubles, windowStart: timestamp(windowStart), windowEnd: timestamp(windowEnd) }
}

function timestamp(rfc3339: string | null): google.protobuf.Timestamp.$Properties | null {
  if (rfc3339 === null) return null
  const time = Date.parse(rfc3339)
  const seconds = Math.floor(time / 1000)
  return { seconds, nanos: (time - seconds * 1000) * 1e6 }
}

function millisecondsOf(time: google.protobuf.Timestamp.$Properties | null | undefined): number | undefined {
  if (time === null || time === undefined) return undefined
  return Number(time.seconds ?? 0) * 1000 + Math.floor((time.nanos ?? 0) / 1e6)
}
