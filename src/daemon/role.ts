// What a role is given, and what it gives back.

import type { Config } from '../config/config.ts'
import type { Order, Outcome } from '../results/dead-letters.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Conversation, Questions } from './link.ts'
import type { WorkerTaps } from './taps.ts'

export interface RoleParts {
  config: Config
  logger: Logger
  /** All roles run in this one process, so that a profiler sees them. */
  profiled: boolean
  /** A gateway has the data port too: no listener of this daemon does. */
  http: boolean
  /** To ask the primary. */
  conversation: Conversation
  /** Live taps: what this process shows, and who reads here. */
  taps: WorkerTaps
  /** Called when the role cannot go on; its process ends. */
  failed(error: Error): void
}

export interface Role {
  /**
   * Stops taking work, finishes what was begun, and lets go of everything. Called once. `leisure` is given where a
   * successor serves already: until it is aborted, there is time to turn no client away.
   */
  drain(leisure?: AbortSignal): Promise<void>
  /** What a listener or a gateway answers when the primary asks. */
  report?(): Questions['report']
  /** How far writers are processed, as a listener or a gateway reads it in the stores. */
  progress?(writers: string[]): Questions['progress']
  /** What a processor does to the letters in its partitions. */
  letters?(order: Order): Promise<Outcome[]>
}

/** An error that starting again would not mend: it ends the daemon with its message. */
export class FinalError extends Error {
  override name = 'FinalError'
}
