// Profiles of the whole daemon: each process takes one of its threads, and the primary puts them together.

import { Problem } from '../errors.ts'
import { PROFILE_PATIENCE_MS } from '../limits.ts'
import { type ProcessProfile, takeProfile } from '../profile/take.ts'
import type { Labelled, Taken } from '../profile/taken.ts'
import type { ProfileOrder } from '../profile/thread-profile.ts'
import type { Conversation } from './link.ts'

/** A process that is to be profiled, beside the primary; without `conversation` where it is not running. */
export interface Profiled {
  role: string
  worker: number
  pid?: number
  conversation?: Conversation | undefined
}

/** Takes the profile of this process when the primary asks for it. */
export class WorkerProfiles {
  #running = new AbortController()

  async take(order: ProfileOrder): Promise<ProcessProfile | undefined> {
    this.stop() // whoever asked before does not wait any longer
    const running = new AbortController()
    this.#running = running
    return takeProfile(order, running.signal).catch((error: Error) => {
      if (running.signal.aborted) return undefined
      return { threads: [], leftOut: [`all threads: ${error.message}`], memory: NO_MEMORY }
    })
  }

  stop(): void {
    this.#running.abort()
  }
}

const NO_MEMORY = { rss: 0, heapUsed: 0, external: 0 }

export class PrimaryProfiles {
  readonly #others: () => Profiled[]
  readonly #role: string
  #running = false

  /** `role`: what the process of the primary is called, which may be all roles in one. */
  constructor(role: string, others: () => Profiled[]) {
    this.#role = role
    this.#others = others
  }

  /**
   * Resolves with what all processes have seen; those that die or stall meanwhile are left out. Throws `overloaded`
   * while another one is taken, and rejects when `signal` is aborted, which ends it everywhere.
   */
  async take(order: ProfileOrder, signal: AbortSignal): Promise<Taken> {
    if (this.#running) throw new Problem('overloaded', 'another profile is being taken: one at a time')
    this.#running = true
    const began = Date.now()
    const others = this.#others()
    const leftOut: string[] = []
    const stop = () => {
      for (const { conversation } of others) {
        conversation?.ask('unprofile', PROFILE_PATIENCE_MS).catch(() => {}) // it is gone, or stalled
      }
    }
    signal.addEventListener('abort', stop)
    try {
      const own = takeProfile(order, signal).then((profile): Labelled => {
        return { role: this.#role, worker: 0, pid: process.pid, ...profile }
      })
      const asked = others.map(async ({ conversation, role, worker, pid = 0 }) => {
        try {
          if (conversation === undefined) throw new Error('not running')
          const profile = await conversation.ask('profile', order.seconds * 1000 + PROFILE_PATIENCE_MS, order)
          return profile && { role, worker, pid, ...profile }
        } catch (error) {
          leftOut.push(`${role} ${worker}: ${(error as Error).message}`)
          return undefined
        }
      })
      const processes = (await Promise.all([own, ...asked])).filter((one) => one !== undefined)
      return { order, began, processes, leftOut }
    } finally {
      signal.removeEventListener('abort', stop)
      this.#running = false
    }
  }
}
