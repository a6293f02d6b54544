// Keeps each role running: starts it, starts it again when it dies, and gives up when it keeps dying by itself.

import { CRASH_WINDOW_MS, CRASHES_MAX, RESTART_MS_MAX, RESTART_MS_MIN } from '../limits.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Link, RoleName } from './link.ts'

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

export interface SlotParts {
  role: RoleName
  logger: Logger
  spawn(role: RoleName): Child
  /** Called with each new child, before it has said anything. */
  started(child: Child): void
  /** The role cannot be kept running; called once. `exitCode`: with which the daemon should end. */
  gaveUp(reason: string, exitCode: number): void
}

/** The place of one role in the daemon: at most one child at a time. */
export class Slot {
  readonly role: RoleName
  readonly #parts: SlotParts
  child: Child | undefined
  ready = false
  restarts = 0
  #crashes: number[] = []
  #waitMs = RESTART_MS_MIN
  #readyAt = 0
  #failure: { reason: string; exitCode?: number } | undefined
  #timer: NodeJS.Timeout | undefined
  #draining = false
  #changed: (() => void)[] = []

  constructor(parts: SlotParts) {
    this.role = parts.role
    this.#parts = parts
  }

  start(): void {
    const child = this.#parts.spawn(this.role)
    this.child = child
    this.#failure = undefined
    child.link.onMessage((message) => {
      if (message.type === 'ready') this.#becameReady()
      else if (message.type === 'failed') this.#failure = message
    })
    child.onExit((code, signal) => this.#ended(code, signal))
    this.#parts.started(child)
  }

  /** Resolves when the role is ready; never, when it gives up first. */
  async untilReady(): Promise<void> {
    while (!this.ready) await this.#change()
  }

  /** Tells the child to finish, and resolves when it is gone. */
  async drain(): Promise<void> {
    this.#draining = true
    clearTimeout(this.#timer)
    this.child?.link.send({ type: 'drain' })
    while (this.child !== undefined) await this.#change()
  }

  /** Ends the child without asking. */
  kill(): void {
    this.child?.kill()
  }

  #becameReady(): void {
    this.ready = true
    this.#readyAt = Date.now()
    this.#notify()
  }

  #ended(code: number | null, signal: string | null): void {
    const pid = this.child?.pid
    this.child = undefined
    const wasReady = this.ready
    const readyMs = wasReady ? Date.now() - this.#readyAt : 0
    this.ready = false
    this.#notify()
    if (this.#draining) return
    const { logger, role } = this.#parts
    const how = this.#failure?.reason ?? (signal !== null ? `killed by ${signal}` : `exit code ${code}`)
    const final = this.#failure?.exitCode
    if (this.#isCrashLoop(wasReady, signal)) {
      this.#parts.gaveUp(
        final !== undefined
          ? how
          : `the ${role} ended ${this.#crashes.length} times within ${CRASH_WINDOW_MS / 1000} s, last: ${how}`,
        final ?? 1,
      )
      return
    }
    if (readyMs > CRASH_WINDOW_MS) this.#waitMs = RESTART_MS_MIN
    logger.warn({ ended: pid, how, restartMs: this.#waitMs }, `the ${role} ended and is started again`)
    this.#timer = setTimeout(() => {
      this.restarts++
      this.start()
    }, this.#waitMs)
    this.#waitMs = Math.min(this.#waitMs * 2, RESTART_MS_MAX)
  }

  #isCrashLoop(wasReady: boolean, signal: string | null): boolean {
    if (this.#failure?.exitCode !== undefined) return true
    const fromOutside = signal !== null && !crashSignals.has(signal) && wasReady
    if (fromOutside) return false
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
