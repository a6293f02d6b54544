// GET /live on the admin port: how the daemon does, sampled once a second.
//
//   accept: text/event-stream   first the samples that are kept, the oldest first, then each as it comes: `data: {…}`
//   else                        {"samples":[…]}, the newest last; ?samples=N of them, 1 by default
//
// A reader that is slow costs what one write needs: while its socket has no room it is told nothing, and goes on with
// the newest sample then. One that takes nothing at all for long is closed: its place is for another one.

import type { ServerResponse } from 'node:http'
import { Problem } from '../errors.ts'
import { LIVE_READER_STALLED_MS_MAX, LIVE_READERS_MAX, LIVE_SAMPLES_MAX } from '../limits.ts'
import type { Role } from '../telemetry/catalogue.ts'
import type { AdminRoute } from './admin.ts'
import { parameters } from './parameters.ts'

/** Seconds, interpolated within the buckets of a histogram: what was observed since the sample before. */
export interface Latency {
  p50: number
  p95: number
  p99: number
}

/** Of one worker, or of the primary. */
export interface LiveRole {
  role: Role
  /** Number among those of its role, from 0. */
  worker: number
  /** 0 where there is none at this moment. */
  pid: number
  ready: boolean
  restarts: number
  /** Cores that it kept busy since the sample before. */
  cpu: number
  /** Resident; memory that processes share counts in each of them. */
  memoryBytes: number
  /** How late its event loop was, seconds: the 99th percentile of the worst of the last 15 seconds. */
  eventLoopP99: number
  /** Its numbers are those that it told last: it is stalled, starting or gone. */
  stale?: true
}

export interface Sample {
  /** RFC 3339. */
  at: string
  ready: boolean
  /** Why it is not. */
  reason?: string
  version: string
  log: { kind: string; durability: string }
  /** Events since the data directory was made. */
  totals: {
    accepted: number
    processed: number
    duplicates: number
    deadLetters: number
    dropped: number
    damaged: number
  }
  /** A second, since the sample before: events accepted and processed, requests, bytes received, bodies refused. */
  rates: { accepted: number; processed: number; requests: number; bytes: number; refused: number }
  lag: { events: number; bytes: number; seconds: number }
  /** From a body being complete to its answer, and from receipt to being visible to queries; null where there were none. */
  latency: { ack: Latency | null; queryable: Latency | null }
  pool: { threads: number; busy: number; queue: number }
  /** Why bodies were refused in the last seconds: log_full, log_unavailable, in_flight. */
  backpressure: string[]
  roles: LiveRole[]
}

/** Where samples come from. Each is a Sample as JSON. */
export interface Samples {
  /** Those that are kept, the oldest first; there is one at least, once this resolves. */
  history(): Promise<readonly string[]>
  /** Calls `told` with each new one. Returns what ends that. */
  watch(told: (sample: string) => void): () => void
}

/** `stalledMsMax`: how long a reader may take nothing. */
export function liveRoute(samples: Samples, stalledMsMax = LIVE_READER_STALLED_MS_MAX): AdminRoute {
  const readers = new Set<Reader>()
  return {
    async answer(request, response, { searchParams }) {
      const count = parameters.samples(searchParams)
      const streams = /\btext\/event-stream\b/.test(request.headers.accept ?? '')
      const headers = { 'cache-control': 'no-store', vary: 'accept' }
      if (!streams || request.method === 'HEAD') {
        const newest = (await samples.history()).slice(-(count ?? 1))
        response.writeHead(200, { ...headers, 'content-type': 'application/json' })
        response.end(`{"samples":[${newest.join(',')}]}`)
        return
      }
      if (readers.size >= LIVE_READERS_MAX) {
        throw new Problem('overloaded', `${LIVE_READERS_MAX} look on already`)
      }
      const reader = new Reader(response, stalledMsMax)
      readers.add(reader)
      const unwatch = samples.watch((sample) => reader.tell(sample))
      response.once('close', () => {
        unwatch()
        readers.delete(reader)
      })
      response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' })
      response.flushHeaders()
      reader.begin((await samples.history()).slice(-(count ?? LIVE_SAMPLES_MAX)))
    },
  }
}

/** One who looks on. */
class Reader {
  readonly #response: ServerResponse
  #begun = false
  #full = false

  constructor(response: ServerResponse, stalledMsMax: number) {
    this.#response = response
    // Where a part of what waits has gone out meanwhile, Node begins to wait anew by itself.
    response.setTimeout(stalledMsMax, () => {
      if (this.#full) response.destroy()
    })
    response.on('drain', () => {
      this.#full = false
    })
  }

  begin(history: readonly string[]): void {
    this.#begun = true
    this.#write(history.map((sample) => `data: ${sample}\n\n`).join(''))
  }

  /** A sample that comes before the history is in it. */
  tell(sample: string): void {
    if (this.#begun && !this.#full) this.#write(`data: ${sample}\n\n`)
  }

  #write(text: string): void {
    this.#full = !this.#response.write(text)
  }
}
