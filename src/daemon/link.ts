// How the primary and its workers talk: typed messages over the channel of node:cluster, or over a pair of emitters
// when all roles run in one process. A role does not know which.

import { EventEmitter } from 'node:events'
import type { LaneReport } from '../api/status.ts'
import type { Config } from '../config/config.ts'
import type { TapBatch } from '../ingest/tap.ts'
import type { TapFilter } from '../ingest/tap-filter.ts'
import type { BrokerName, Writers } from '../log/open.ts'
import type { ProcessProfile } from '../profile/take.ts'
import type { ProfileOrder } from '../profile/thread-profile.ts'
import type { Order, Outcome } from '../results/dead-letters.ts'
import type { Role } from '../telemetry/catalogue.ts'
import type { Snapshot } from '../telemetry/metrics.ts'

/** What a worker may be. */
export type RoleName = Exclude<Role, 'primary'>

/** What a listener or a gateway says of itself. */
export interface ListenerReport {
  /** One for each partition. */
  lanes: LaneReport[]
  away: Partial<Record<BrokerName, string>>
  missing: ReturnType<Writers['missing']>
}

/** What a worker counts, and how the lanes of a listener or a gateway stand. */
export interface WorkerMetrics {
  series: Snapshot
  report: ListenerReport | undefined
}

/** What became of a reload. */
export interface Receipt {
  /** When it began, ISO 8601. */
  at: string
  outcome:
    | 'running'
    /** Every worker runs with the new configuration. */
    | 'applied'
    /** The new configuration is wrong: the problems tell where. The workers were left alone. */
    | 'invalid'
    /** A worker could not run with it: those that were replaced before it have the former configuration again. */
    | 'rolled-back'
    /** The daemon was told to end meanwhile. */
    | 'interrupted'
  /** Keys that differ from what runs and are applied. */
  changed: string[]
  /** Keys that differ and were not applied: they need the daemon to be stopped and started. */
  needsRestart: string[]
  /** With file, line and column where they have one. */
  problems: string[]
  /** The workers that were replaced. */
  restarted: { role: RoleName; pid: number }[]
  seconds: number
}

/** What the primary knows of everyone. */
export interface DaemonReport {
  roles: { role: Role; pid: number; ready: boolean; restarts: number }[]
  /** The last one stands for those that are gone, where some of what they wrote is not processed. */
  listeners: ListenerReport[]
  /** The last time that the configuration was read again. */
  reload?: Receipt
}

export interface Questions {
  /** Asked of listeners and gateways. */
  /** undefined while one starts. */
  report: ListenerReport | undefined
  /** Asked of every worker. */
  metrics: WorkerMetrics
  /** Asked of the primary. */
  daemon: DaemonReport
  /** Asked of the primary, which asks the processors: each tells of the letters in its partitions, and of no others. */
  letters: Outcome[]
  /** Asked of all workers: a profile of their threads. undefined when another one was asked for meanwhile. */
  profile: ProcessProfile | undefined
  /** Asked of all workers: nobody waits for the profile any longer. */
  unprofile: undefined
}
/** What is told with a question; nothing with others. */
export interface Told {
  letters: Order
  profile: ProfileOrder
}
export type Question = keyof Questions

export type Message =
  /** A worker listens now: what was sent before would be lost. */
  | { type: 'hello' }
  | { type: 'start'; role: RoleName; config: Config; http: boolean }
  | { type: 'ready' }
  /** A worker cannot go on. `exitCode`: starting it again would not help, and the daemon ends with it. */
  | { type: 'failed'; reason: string; exitCode?: number }
  /** `successor`: another one serves in its place already, so there is time to turn no client away. */
  | { type: 'drain'; successor?: true }
  /** How much to log from now on. */
  | { type: 'level'; level: Config['logging']['level'] }
  | { type: 'ask'; id: number; question: Question; told?: unknown }
  | { type: 'reply'; id: number; answer: unknown }
  /** To the primary, without being asked: what it knows of one that dies is not older than the time between two. */
  | { type: 'metrics'; metrics: WorkerMetrics }
  /** To the primary: somebody reads there. From it: look for this. Answered by `tapping` when all do so. */
  | { type: 'tap'; id: string; filter: TapFilter; rate: number }
  | { type: 'tapping'; id: string }
  | { type: 'untap'; id: string }
  /** To the primary, and on to where somebody reads. */
  | { type: 'tapped'; id: string; batch: TapBatch }

export interface Link {
  /** `sent` is called when the message is out of this process, or can never be. */
  send(message: Message, sent?: () => void): void
  onMessage(listener: (message: Message) => void): void
  /** Called when the other side is gone. */
  onClose(listener: () => void): void
}

/** The worker's end of node:cluster's channel. */
export function linkToPrimary(): Link {
  return {
    // A send fails only when the primary is gone, with which this process ends.
    send: (message, sent) => void process.send?.(message, undefined, {}, () => sent?.()),
    onMessage: (listener) => void process.on('message', listener),
    onClose: (listener) => void process.on('disconnect', listener),
  }
}

/** Two ends in one process. */
export function linkPair(): [Link, Link] {
  const ends = [new EventEmitter(), new EventEmitter()]
  const link = (mine: EventEmitter, theirs: EventEmitter): Link => ({
    send: (message, sent) =>
      void setImmediate(() => {
        theirs.emit('message', message)
        sent?.()
      }),
    onMessage: (listener) => void mine.on('message', listener),
    onClose: () => {},
  })
  return [link(ends[0], ends[1]), link(ends[1], ends[0])]
}

type ToldWith<Q extends Question> = Q extends keyof Told ? [told: Told[Q]] : []
type Handlers = { [Q in Question]?: (...told: ToldWith<Q>) => Questions[Q] | Promise<Questions[Q]> }

/**
 * Questions and answers over a link. One that is not answered in time rejects, and so does one whose other side is gone:
 * nobody waits for a stalled process.
 */
export class Conversation {
  readonly #link: Link
  readonly #waiting = new Map<number, (answer: unknown) => void>()
  readonly #gone = new Set<() => void>()
  #asked = 0

  constructor(link: Link, handlers: Handlers) {
    this.#link = link
    link.onMessage((message) => {
      if (message.type === 'reply') this.#waiting.get(message.id)?.(message.answer)
      else if (message.type === 'ask') void this.#answer(message, handlers[message.question])
    })
    link.onClose(() => {
      for (const tell of this.#gone) tell()
    })
  }

  ask<Q extends Question>(question: Q, timeoutMs: number, ...told: ToldWith<Q>): Promise<Questions[Q]> {
    const id = this.#asked++
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer)
        this.#waiting.delete(id)
        this.#gone.delete(gone)
      }
      const fail = (why: string) => {
        done()
        reject(new Error(`no answer to "${question}"${why}`))
      }
      const timer = setTimeout(() => fail(` within ${timeoutMs} ms`), timeoutMs)
      const gone = () => fail(': the other side is gone')
      this.#gone.add(gone)
      this.#waiting.set(id, (answer) => {
        done()
        resolve(answer as Questions[Q])
      })
      this.#link.send({ type: 'ask', id, question, told: told[0] })
    })
  }

  async #answer({ id, told }: Extract<Message, { type: 'ask' }>, handler: unknown): Promise<void> {
    if (handler === undefined) return
    const answer = await (handler as (told: unknown) => unknown)(told)
    this.#link.send({ type: 'reply', id, answer })
  }
}
