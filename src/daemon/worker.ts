// A worker process: runs the role that the primary names, until it is told to drain. It ends with the primary.

import type { Config } from '../config/config.ts'
import { METRICS_INTERVAL_MS } from '../limits.ts'
import { LogMisconfigured } from '../log/log.ts'
import { access } from '../telemetry/access.ts'
import { createLogger, type Logger } from '../telemetry/logger.ts'
import { Metrics } from '../telemetry/metrics.ts'
import type { ProcessMetrics } from '../telemetry/process.ts'
import { Conversation, type Link, linkToPrimary, type Message, type WorkerMetrics } from './link.ts'
import { WorkerProfiles } from './profiles.ts'
import { FinalError, type Role, type RoleParts } from './role.ts'
import { startRole } from './roles.ts'
import { WorkerTaps } from './taps.ts'

/** A role that is still starting when it is told to drain, waiting for a broker or for the store, has nothing to finish. */
const STARTING_MS_MAX = 1_000

/** Runs a role behind a link; used by worker processes and by the one process of a profiled run. */
export class RoleRunner {
  readonly #link: Link
  readonly #end: (code: number | undefined) => void
  readonly #profiled: boolean
  readonly #conversation: Conversation
  readonly #taps: WorkerTaps
  readonly #metrics = new Metrics()
  /** Undefined before the role is ready, and where the process is shared with the primary, which tells of it. */
  #process: ProcessMetrics | undefined
  #telling: NodeJS.Timeout | undefined
  /** When it was last asked what it counts. */
  #askedAt = Number.NEGATIVE_INFINITY
  #starting: Promise<Role> | undefined
  #role: Role | undefined
  #logger: Logger | undefined
  /** As told, where that is not as configured. */
  #level: Config['logging']['level'] | undefined
  #draining = false
  readonly #hurry = new AbortController()

  /** `end` is called when the role is over, with the exit code that says how; undefined: in the middle of its start. */
  constructor(link: Link, profiled: boolean, end: (code: number | undefined) => void) {
    this.#link = link
    this.#end = end
    this.#profiled = profiled
    const profiles = new WorkerProfiles()
    this.#conversation = new Conversation(link, {
      report: () => this.#role?.report?.(),
      letters: async (order) => (await this.#role?.letters?.(order)) ?? [],
      profile: (order) => profiles.take(order),
      unprofile: () => void profiles.stop(),
      metrics: () => {
        this.#askedAt = performance.now()
        return this.#measure()
      },
    })
    this.#taps = new WorkerTaps(link)
    link.onMessage((message) => {
      if (message.type === 'start') void this.#start(message)
      else if (message.type === 'level') this.#setLevel(message.level)
      else if (message.type === 'drain') void this.drain(message.successor)
    })
    link.send({ type: 'hello' })
  }

  /** Finishes what was begun, then ends. A second call, without a successor, hastens the first. */
  async drain(successor = false): Promise<void> {
    if (!successor) this.#hurry.abort()
    if (this.#draining) return
    this.#draining = true
    try {
      await Promise.race([this.#starting, pause(STARTING_MS_MAX)])
      await this.#role?.drain(successor ? this.#hurry.signal : undefined)
      clearInterval(this.#telling)
      const metrics = await this.#measure()
      const code = this.#starting !== undefined && this.#role === undefined ? undefined : 0
      this.#link.send({ type: 'metrics', metrics }, () => this.#end(code)) // what it counted last
    } catch (error) {
      this.fail(error as Error)
    }
  }

  #setLevel(level: Config['logging']['level']): void {
    this.#level = level
    if (this.#logger !== undefined) this.#logger.level = level
  }

  /** Tells the primary why, and ends. */
  fail(error: Error): void {
    const exitCode = exitCodeOf(error)
    const failed = { type: 'failed', reason: error.message } as const
    this.#logger?.error({ err: error }, exitCode === undefined ? 'this role cannot go on' : error.message)
    this.#link.send(exitCode === undefined ? failed : { ...failed, exitCode }, () => this.#end(1))
  }

  async #start({ role, config, http }: Extract<Message, { type: 'start' }>): Promise<void> {
    const logger = createLogger(role, this.#level ?? config.logging.level)
    this.#logger = logger
    access.open(logger)
    this.#telling = setInterval(() => void this.#tell(), METRICS_INTERVAL_MS).unref()
    const parts: RoleParts = {
      config,
      logger,
      profiled: this.#profiled,
      http,
      conversation: this.#conversation,
      taps: this.#taps,
      metrics: this.#metrics,
      failed: (error) => this.fail(error),
    }
    try {
      this.#starting = startRole(role, parts)
      this.#role = await this.#starting
      if (!this.#draining) this.#link.send({ type: 'ready' })
      // Its code is loaded when the role works: nothing waits for it.
      if (!this.#profiled)
        this.#process = new (await import('../telemetry/process.ts')).ProcessMetrics(this.#metrics)
    } catch (error) {
      if (!this.#draining) this.fail(error as Error)
    }
  }

  /** Its own numbers last: whatever is sent later has counted no less. */
  async #measure(): Promise<WorkerMetrics> {
    const ofProcess = await this.#process?.snapshot()
    return { series: { ...ofProcess, ...this.#metrics.snapshot() }, report: this.#role?.report?.() }
  }

  /** Unless it was asked just now. */
  async #tell(): Promise<void> {
    if (performance.now() - this.#askedAt < 1.5 * METRICS_INTERVAL_MS) return
    this.#link.send({ type: 'metrics', metrics: await this.#measure() })
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref())
}

/** Of an error that starting again would not mend. */
function exitCodeOf(error: Error): number | undefined {
  if (error instanceof LogMisconfigured) return 2
  return error instanceof FinalError ? 1 : undefined
}

/** The whole life of a forked worker process. */
export function worker(): void {
  const link = linkToPrimary()
  const runner = new RoleRunner(link, false, (code) => (code === undefined ? killSelf() : process.exit(code)))
  process.on('SIGINT', () => {}) // Ctrl-C reaches the whole group; the primary decides
  process.on('SIGTERM', () => void runner.drain())
  process.on('uncaughtException', (error) => runner.fail(error))
  endWithPrimary()
}

/** When the primary is gone, so is this process. node:cluster would have it exit, and that may never end. */
export function endWithPrimary(): void {
  process.prependListener('disconnect', killSelf)
}

/**
 * The end of a process at any moment. An exit waits for libuv's threads, and one of these may wait itself: in the middle of
 * a commit for a call of the main thread, or for the store while another process writes.
 */
export function killSelf(): void {
  process.kill(process.pid, 'SIGKILL')
}
