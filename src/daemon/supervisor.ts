// Keeps each role running: starts it, starts it again when it dies, and gives up when it keeps dying by itself.

import type { Config } from '../config/config.ts'
import {
  CRASH_WINDOW_MS,
  CRASHES_MAX,
  FAILED_MS_MAX,
  REPLACE_MS_MAX,
  RESTART_MS_MAX,
  RESTART_MS_MIN,
} from '../limits.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Link, RoleName } from './link.ts'

const INTERRUPTED = 'interrupted'

/** One run of a role: a forked process, or a part of this one. */
export interface Child {
  readonly pid: number
  readonly link: Link
  kill(): void
  /** Called once, when it is over: by an exit code, or by a signal from outside. */
  onExit(listener: (code: number | null, signal: string | null) => void): void
}

/** Signals by which a process ends through its own fault; others come from outside and are no crash. */
const crashSignals: ReadonlySet<string> = new Set([
  'SIGSEGV',
  'SIGABRT',
  'SIGBUS',
  'SIGILL',
  'SIGFPE',
  'SIGTRAP',
])

/**
 * How a role is replaced: `beside`, the successor serves before the other one leaves; `after`, it waits, its process
 * made, until the other one has let go of what only one can hold.
 */
const replacement: Record<RoleName, 'beside' | 'after'> = {
  listener: 'beside',
  gateway: 'beside',
  processor: 'after',
}

export interface SlotParts {
  role: RoleName
  /** Number among the slots of its role, from 0: metrics know it by that, whichever process is in it. */
  worker: number
  /** With which the first child is started. */
  config: Config
  /** No listener of this daemon has the data port: a gateway opens it. */
  http: boolean
  logger: Logger
  spawn(role: RoleName): Child
  /** Called with each new child, before it has said anything. */
  started(child: Child): void
  /** The role cannot be kept running; called once. `exitCode`: with which the daemon should end. */
  gaveUp(reason: string, exitCode: number): void
}

/** How a replacement went. `interrupted`: everything ends. */
export type Replaced = { pid: number } | { failed: string } | 'interrupted'

/** A child, and what it has said. */
class Run {
  readonly child: Child
  readonly config: Config
  readonly http: boolean
  #begin = false
  #heard = false
  #ending: NodeJS.Timeout | undefined
  ready = false
  readyAt = 0
  failure: { reason: string; exitCode?: number } | undefined
  /** How it ended. */
  over: { code: number | null; signal: string | null } | undefined

  constructor(child: Child, config: Config, http: boolean, role: RoleName, changed: () => void) {
    this.child = child
    this.config = config
    this.http = http
    child.link.onMessage((message) => {
      if (message.type === 'hello') {
        this.#heard = true
        if (this.#begin) child.link.send({ type: 'start', role, config, http })
      } else if (message.type === 'ready') {
        this.ready = true
        this.readyAt = Date.now()
      } else if (message.type === 'failed') {
        this.failure = message
        // Its exit may wait for a commit that waits for it.
        if (this.over === undefined) this.#ending ??= setTimeout(() => child.kill(), FAILED_MS_MAX)
      } else return
      changed()
    })
    child.onExit((code, signal) => {
      clearTimeout(this.#ending)
      this.over = { code, signal }
      this.ready = false
      changed()
    })
  }

  /** True when it listens for what to do. */
  get heard(): boolean {
    return this.#heard
  }

  /** Has it take its role, now or as soon as it listens. */
  begin(role: RoleName): void {
    const { config, http } = this
    if (this.#heard) this.child.link.send({ type: 'start', role, config, http })
    this.#begin = true
  }

  get how(): string {
    if (this.failure !== undefined) return this.failure.reason
    const { code, signal } = this.over ?? { code: null, signal: null }
    return signal !== null ? `killed by ${signal}` : `exit code ${code}`
  }

  /** Ended by someone else's signal, and no fault of its own. */
  get wasKilled(): boolean {
    const signal = this.over?.signal ?? null
    return this.failure === undefined && signal !== null && !crashSignals.has(signal)
  }
}

/** The place of one role in the daemon: one child at a time, and in a moment of change its successor beside it. */
export class Slot {
  readonly role: RoleName
  readonly worker: number
  readonly #parts: SlotParts
  #config: Config
  #run: Run | undefined
  /** The successor that is starting, and the one that is leaving. */
  readonly #beside = new Set<Run>()
  restarts = 0
  replacing = false
  /** By the successor, in the last replacement. */
  #taken = false
  #crashes: number[] = []
  #waitMs = RESTART_MS_MIN
  #timer: NodeJS.Timeout | undefined
  #draining = false
  #changed: (() => void)[] = []

  constructor(parts: SlotParts) {
    this.role = parts.role
    this.worker = parts.worker
    this.#config = parts.config
    this.#parts = parts
  }

  get child(): Child | undefined {
    return this.#run?.child
  }

  get ready(): boolean {
    return this.#run?.ready ?? false
  }

  /** All that live. */
  get children(): Child[] {
    return this.#runs.map(({ child }) => child)
  }

  /** Those that listen: what is asked of others is lost. */
  get listening(): Child[] {
    return this.#runs.filter(({ heard }) => heard).map(({ child }) => child)
  }

  get #runs(): Run[] {
    return this.#run === undefined ? [...this.#beside] : [this.#run, ...this.#beside]
  }

  start(): void {
    const run = this.#spawn(this.#config)
    this.#run = run
    run.begin(this.role)
  }

  /** Resolves when the role is ready; never, when it gives up first. */
  async untilReady(): Promise<void> {
    while (!this.ready) await this.#change()
  }

  /**
   * Puts a new child with this configuration in the place of the one that is there. Resolves when the new one is ready
   * and the old one is gone; or with what was wrong, and then things are as before.
   */
  async replace(config: Config): Promise<Replaced> {
    if (this.#draining) return INTERRUPTED
    this.replacing = true
    this.#taken = false
    clearTimeout(this.#timer)
    try {
      const next = await this.#successor(config)
      if (typeof next === 'string') return next === INTERRUPTED ? INTERRUPTED : { failed: next }
      return { pid: next.child.pid }
    } finally {
      this.replacing = false
      if (this.#run === undefined && !this.#draining && !this.#taken) this.start()
    }
  }

  /** Tells all children to finish, and resolves when they are gone. */
  async drain(): Promise<void> {
    this.#draining = true
    clearTimeout(this.#timer)
    this.#notify() // a replacement is given up
    for (const run of [this.#run, ...this.#beside]) if (run !== undefined) this.#finish(run)
    while (this.#run !== undefined || this.#beside.size > 0) await this.#change()
  }

  /** Ends the children without asking. */
  kill(): void {
    for (const child of this.children) child.kill()
  }

  #spawn(config: Config): Run {
    const child = this.#parts.spawn(this.role)
    const run = new Run(child, config, this.#parts.http, this.role, () => {
      if (run.over !== undefined) this.#ended(run)
      this.#notify()
    })
    this.#parts.started(child)
    return run
  }

  async #successor(config: Config): Promise<Run | string> {
    for (let attempt = 1; ; attempt++) {
      const next = this.#spawn(config)
      this.#beside.add(next)
      const wrong =
        replacement[this.role] === 'beside' ? await this.#beginBeside(next) : await this.#beginAfter(next)
      if (wrong === undefined) return next
      if (this.#draining) {
        this.#finish(next) // it may have come after all others were told
        return INTERRUPTED
      }
      next.child.kill() // it may only be slow
      if (!next.wasKilled || attempt === CRASHES_MAX) return wrong
    }
  }

  async #beginBeside(next: Run): Promise<string | undefined> {
    next.begin(this.role)
    const wrong = await this.#until(next, () => next.ready)
    if (wrong !== undefined) return wrong
    const former = this.#run
    this.#take(next)
    if (former === undefined) return undefined
    this.#beside.add(former)
    former.child.link.send({ type: 'drain', successor: true })
    await this.#gone(former)
    return undefined
  }

  async #beginAfter(next: Run): Promise<string | undefined> {
    const wrong = await this.#until(next, () => next.heard)
    if (wrong !== undefined) return wrong
    const former = this.#run
    if (former !== undefined) {
      this.#finish(former)
      await this.#gone(former)
    }
    if (this.#draining) return INTERRUPTED
    next.begin(this.role)
    const late = await this.#until(next, () => next.ready)
    if (late === undefined) this.#take(next)
    return late
  }

  #take(next: Run): void {
    this.#beside.delete(next)
    this.#run = next
    this.#taken = true
    this.#config = next.config
  }

  /** Resolves with undefined when the condition holds, or with why it will not. */
  async #until(next: Run, holds: () => boolean): Promise<string | undefined> {
    const deadline = Date.now() + REPLACE_MS_MAX
    const timer = setTimeout(() => this.#notify(), REPLACE_MS_MAX)
    try {
      while (!holds()) {
        if (next.over !== undefined) return next.how
        if (this.#draining) return INTERRUPTED
        if (Date.now() >= deadline) return `not ready within ${REPLACE_MS_MAX / 1000} s`
        await this.#change()
      }
      return undefined
    } finally {
      clearTimeout(timer)
    }
  }

  /** Resolves when it has ended, at last by force. */
  async #gone(run: Run): Promise<void> {
    const timer = setTimeout(() => run.child.kill(), REPLACE_MS_MAX)
    while (run.over === undefined) await this.#change()
    clearTimeout(timer)
  }

  /** One that has not begun has nothing to finish, and may not even listen yet. */
  #finish(run: Run): void {
    if (run.heard) run.child.link.send({ type: 'drain' })
    else run.child.kill()
  }

  #ended(run: Run): void {
    this.#beside.delete(run)
    if (run !== this.#run) return
    this.#run = undefined
    // Whoever took the place is started again as any other, also while the one before it is still leaving.
    if (this.#draining || (this.replacing && !this.#taken)) return
    const { logger, role } = this.#parts
    const readyMs = run.readyAt > 0 ? Date.now() - run.readyAt : 0
    const how = run.how
    const final = run.failure?.exitCode
    if (this.#isCrashLoop(run)) {
      this.#parts.gaveUp(
        final !== undefined
          ? how
          : `the ${role} ended ${this.#crashes.length} times within ${CRASH_WINDOW_MS / 1000} s, last: ${how}`,
        final ?? 1,
      )
      return
    }
    if (readyMs > CRASH_WINDOW_MS) this.#waitMs = RESTART_MS_MIN
    logger.warn(
      { ended: run.child.pid, how, restartMs: this.#waitMs },
      `the ${role} ended and is started again`,
    )
    this.#timer = setTimeout(() => {
      this.restarts++
      this.start()
    }, this.#waitMs)
    this.#waitMs = Math.min(this.#waitMs * 2, RESTART_MS_MAX)
  }

  #isCrashLoop(run: Run): boolean {
    if (run.failure?.exitCode !== undefined) return true
    if (run.wasKilled && run.readyAt > 0) return false
    const now = Date.now()
    this.#crashes = this.#crashes.filter((at) => now - at < CRASH_WINDOW_MS)
    this.#crashes.push(now)
    return this.#crashes.length >= CRASHES_MAX
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve))
  }

  #notify(): void {
    for (const resolve of this.#changed.splice(0)) resolve()
  }
}
