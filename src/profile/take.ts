// Takes a profile of all threads of this process, with the inspector that is in Node. While none is taken, no session is
// open and nothing of it costs anything.
//
// Other threads are reached through the inspector too: its commands interrupt a thread that computes, and one that waits
// for work in Atomics.wait, which no message could reach.

import type { Profiler, Session } from 'node:inspector/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { PROFILE_THREAD_MS_MAX } from '../limits.ts'
import {
  cpuThread,
  type HeapSamples,
  heapThread,
  type ProfileOrder,
  type ThreadProfile,
} from './thread-profile.ts'

/** How often a running function is noted, microseconds. */
export const CPU_INTERVAL_US = 1_000
/** Of all bytes that are allocated, after how many an object is noted, on average. */
export const HEAP_INTERVAL_BYTES = 16_384

export interface ProcessProfile {
  threads: ThreadProfile[]
  /** Threads that have ended or did not answer, and why: `thread 3: has ended`. */
  leftOut: string[]
  /** Bytes of the process at the end: what is in no heap of JavaScript is in none of its profiles. */
  memory: { rss: number; heapUsed: number; external: number }
}

interface Thread {
  name: string
  post(method: string, params?: object): Promise<unknown>
}

/** Resolves after so many seconds. Rejects as soon as `signal` is aborted; nothing goes on then. */
export async function takeProfile(order: ProfileOrder, signal: AbortSignal): Promise<ProcessProfile> {
  const { Session } = await import('node:inspector/promises') // there are builds of Node that have none
  const session = new Session()
  session.connect()
  try {
    const leftOut: string[] = []
    const threads: Thread[] = []
    const beginnings: Promise<void>[] = []
    const leave = (thread: Thread) => (error: Error) =>
      void leftOut.push(`thread ${thread.name}: ${error.message}`)
    const begun = (thread: Thread) => {
      const began = begin(thread, order).then(() => void threads.push(thread))
      beginnings.push(began.catch(leave(thread)))
    }
    const others = new OtherThreads(session, begun)
    const main = { name: 'main', post: (method: string, params?: object) => postTo(session, method, params) }
    begun(main)
    await others.attach()
    await pause(order.seconds * 1000, undefined, { signal })
    await Promise.all(beginnings)
    const ends = threads.map((thread) => end(thread, order).catch(leave(thread)))
    const profiles = (await Promise.all(ends)).filter((profile) => profile !== undefined)
    await others.detach()
    const { rss, heapUsed, external } = process.memoryUsage()
    return { threads: profiles, leftOut, memory: { rss, heapUsed, external } }
  } finally {
    session.disconnect()
  }
}

async function begin({ post }: Thread, { kind }: ProfileOrder): Promise<void> {
  if (kind === 'cpu' || kind === 'trace') {
    await post('Profiler.enable')
    await post('Profiler.setSamplingInterval', { interval: CPU_INTERVAL_US })
    await post('Profiler.start')
    return
  }
  const collected = kind === 'allocs'
  await post('HeapProfiler.startSampling', {
    samplingInterval: HEAP_INTERVAL_BYTES,
    includeObjectsCollectedByMajorGC: collected,
    includeObjectsCollectedByMinorGC: collected,
  })
}

async function end({ name, post }: Thread, { kind }: ProfileOrder): Promise<ThreadProfile> {
  if (kind === 'cpu' || kind === 'trace') {
    const { profile } = (await post('Profiler.stop')) as { profile: Profiler.Profile }
    return cpuThread(name, profile, kind)
  }
  // It collects garbage first.
  const { profile } = (await post('HeapProfiler.stopSampling')) as { profile: HeapSamples }
  return heapThread(name, profile)
}

function postTo(session: Session, method: string, params?: object): Promise<unknown> {
  return (session.post as (method: string, params?: object) => Promise<unknown>).call(session, method, params)
}

interface Waiting {
  sessionId: string
  resolve(result: unknown): void
  reject(error: Error): void
}

/** The threads of this process that are not the main one, also those that begin meanwhile. */
class OtherThreads {
  readonly #session: Session
  readonly #waiting = new Map<number, Waiting>()
  readonly #ended = new Set<string>()
  #asked = 0

  constructor(session: Session, attached: (thread: Thread) => void) {
    this.#session = session
    session.on('NodeWorker.attachedToWorker', ({ params: { sessionId, workerInfo } }) =>
      attached({
        name: workerInfo.workerId,
        post: (method, params) => this.#post(sessionId, method, params),
      }),
    )
    session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
      const { id, result, error } = JSON.parse(params.message)
      const waiting = this.#waiting.get(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error.message))
    })
    session.on('NodeWorker.detachedFromWorker', ({ params: { sessionId } }) => {
      this.#ended.add(sessionId)
      for (const waiting of this.#waiting.values()) {
        if (waiting.sessionId === sessionId) waiting.reject(new Error('has ended'))
      }
    })
  }

  async attach(): Promise<void> {
    await postTo(this.#session, 'NodeWorker.enable', { waitForDebuggerOnStart: false })
  }

  async detach(): Promise<void> {
    await postTo(this.#session, 'NodeWorker.disable')
  }

  async #post(sessionId: string, method: string, params?: object): Promise<unknown> {
    if (this.#ended.has(sessionId)) throw new Error('has ended')
    const id = ++this.#asked
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise((resolve, reject) => {
        const overdue = () => reject(new Error(`no answer within ${PROFILE_THREAD_MS_MAX} ms`))
        timer = setTimeout(overdue, PROFILE_THREAD_MS_MAX)
        this.#waiting.set(id, { sessionId, resolve, reject })
        const message = JSON.stringify({ id, method, params })
        postTo(this.#session, 'NodeWorker.sendMessageToWorker', { sessionId, message }).catch(reject)
      })
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
    }
  }
}
