// /debug/pprof: where the time and the memory of all processes and threads go, for `go tool pprof` and its like.

import type { ServerResponse } from 'node:http'
import { Problem } from '../errors.ts'
import {
  PROFILE_SECONDS_DEFAULT,
  PROFILE_SECONDS_MAX,
  TRACE_SECONDS_DEFAULT,
  TRACE_SECONDS_MAX,
} from '../limits.ts'
import { allLeftOut, type Taken } from '../profile/taken.ts'
import { type ProfileKind, type ProfileOrder, titles } from '../profile/thread-profile.ts'
import type { AdminRoute } from './admin.ts'
import { parameters } from './parameters.ts'

/** Takes a profile of the whole daemon; rejects when `signal` is aborted. */
export type TakeProfile = (order: ProfileOrder, signal: AbortSignal) => Promise<Taken>

export function pprofRoutes(take: TakeProfile): Record<string, AdminRoute> {
  /** For the flame graph: gzipped pprof, some 100 kB. */
  let last: { kind: ProfileKind; bytes: Buffer } | undefined
  const profile = (kind: ProfileKind): AdminRoute => ({
    methods: ['GET'],
    async answer(_, response, url) {
      const seconds = parameters.seconds(url.searchParams, PROFILE_SECONDS_DEFAULT, PROFILE_SECONDS_MAX)
      const taken = await whileOpen(response, (signal) => take({ kind, seconds }, signal))
      if (taken === undefined) return
      const { encodePprof } = await import('../profile/pprof.ts') // only who asks for a profile pays for it
      const bytes = await encodePprof(taken)
      last = { kind, bytes }
      send(response, 'application/octet-stream', bytes, {
        'content-disposition': `attachment; filename="millrace-${kind}.pb.gz"`,
        ...leftOutHeader(taken),
      })
    },
  })
  return {
    '/debug/pprof/profile': profile('cpu'),
    '/debug/pprof/heap': profile('heap'),
    '/debug/pprof/allocs': profile('allocs'),
    '/debug/pprof/trace': {
      methods: ['GET'],
      async answer(_, response, url) {
        const seconds = parameters.seconds(url.searchParams, TRACE_SECONDS_DEFAULT, TRACE_SECONDS_MAX)
        const taken = await whileOpen(response, (signal) => take({ kind: 'trace', seconds }, signal))
        if (taken === undefined) return
        const { encodeTrace } = await import('../profile/trace.ts')
        send(response, 'application/json', Buffer.from(encodeTrace(taken)), leftOutHeader(taken))
      },
    },
    '/debug/pprof/flame.svg': {
      async answer(_, response) {
        if (last === undefined)
          throw new Problem('not-found', 'no profile was taken yet: get /debug/pprof/profile')
        const [{ stacksOf }, { drawFlame }] = await Promise.all([
          import('../profile/stacks.ts'),
          import('../profile/flame.ts'),
        ])
        send(response, 'image/svg+xml', Buffer.from(drawFlame(stacksOf(last.bytes), titles[last.kind])))
      },
    },
  }
}

function send(
  response: ServerResponse,
  type: string,
  bytes: Buffer,
  headers: Record<string, string> = {},
): void {
  const common = { 'content-type': type, 'content-length': bytes.length, 'cache-control': 'no-store' }
  response.writeHead(200, { ...common, ...headers }).end(bytes)
}

/** Undefined where the client has gone meanwhile: then nobody is to be answered. */
async function whileOpen(
  response: ServerResponse,
  take: (signal: AbortSignal) => Promise<Taken>,
): Promise<Taken | undefined> {
  const gone = new AbortController()
  const close = () => gone.abort()
  response.once('close', close)
  try {
    return await take(gone.signal)
  } catch (error) {
    if (gone.signal.aborted) return undefined
    throw error
  } finally {
    response.off('close', close)
  }
}

/** Whoever reads by program sees there that the profile is not of everything. */
function leftOutHeader(taken: Taken): Record<string, string> {
  const leftOut = allLeftOut(taken)
  if (leftOut.length === 0) return {}
  return { 'millrace-left-out': leftOut.join('; ').replace(/[^\x20-\x7e]/g, '?') }
}
