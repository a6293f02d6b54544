// /debug/pprof: where the time and the memory of all processes and threads go, for `go tool pprof` and its like.

import type { ServerResponse } from 'node:http'
import { PROFILE_SECONDS_DEFAULT, PROFILE_SECONDS_MAX } from '../limits.ts'
import { allLeftOut, type Taken } from '../profile/taken.ts'
import type { ProfileKind, ProfileOrder } from '../profile/thread-profile.ts'
import type { AdminRoute } from './admin.ts'
import { parameters } from './parameters.ts'

/** Takes a profile of the whole daemon; rejects when `signal` is aborted. */
export type TakeProfile = (order: ProfileOrder, signal: AbortSignal) => Promise<Taken>

export function pprofRoutes(take: TakeProfile): Record<string, AdminRoute> {
  const route = (kind: ProfileKind, byDefault: number, most: number): AdminRoute => ({
    methods: ['GET'],
    async answer(_, response, url) {
      const seconds = parameters.seconds(url.searchParams, byDefault, most)
      const taken = await whileOpen(response, (signal) => take({ kind, seconds }, signal))
      if (taken === undefined) return
      const { encodePprof } = await import('../profile/pprof.ts') // only who asks for a profile pays for it
      const bytes = await encodePprof(taken)
      response
        .writeHead(200, {
          'content-type': 'application/octet-stream',
          'content-disposition': `attachment; filename="millrace-${kind}.pb.gz"`,
          'content-length': bytes.length,
          'cache-control': 'no-store',
          ...leftOutHeader(taken),
        })
        .end(bytes)
    },
  })
  const profile = (kind: ProfileKind) => route(kind, PROFILE_SECONDS_DEFAULT, PROFILE_SECONDS_MAX)
  return {
    '/debug/pprof/profile': profile('cpu'),
    '/debug/pprof/heap': profile('heap'),
    '/debug/pprof/allocs': profile('allocs'),
  }
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
