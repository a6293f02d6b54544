// A pool whose threads call handlers, which may hang, end their thread or use up its memory. The thread says where it is
// before each call (handling.ts), so it is known which call it was.
//
//   a call takes too long, or the thread ends  ->  the thread is replaced, and the task is done again, in fresh threads:
//     the event that was being handled alone: it does it again           -> it becomes a dead letter, and is left out
//                                             it does not: it was innocent -> the task is split before it; where it
//                                               is the only one by then, it becomes a dead letter all the same
//   the same after the last call, in what was left for later  ->  the task is halved until one event is left
//   what is left of the task is done in a fresh thread each time: a leak of many events dies of no event alone
//
// Tasks that have to be done again take turns: there is one such thread at a time.

import type { Piscina } from 'piscina'
import type { HandlerPlan } from '../config/config.ts'
import { formatDuration } from '../config/units.ts'
import { HANDLER_LOAD_MS_MAX } from '../limits.ts'
import { AT_BYTES, AT_EVENT, AT_HANDLER, LEAVING, LOADING, type Skip } from './handling.ts'
import { type EventPlace, eventsOf } from './places.ts'
import type { Done, Task } from './runner.ts'

/** Lines of a stack that the log is told. */
const FRAMES_TOLD_MAX = 10
const LOOK_MS_MIN = 5
const LOOK_MS_MAX = 250

interface WatchedParts {
  pool: Piscina
  /** A pool of one thread in which nothing has run yet. */
  fresh(): Piscina
  plans: HandlerPlan[]
  onNote(note: string, about: Record<string, unknown>): void
  /** Told of each thread that is replaced. */
  replaced(): void
}

/** How a thread ended with a task. */
class Ended extends Error {
  /** The message but for what the handler has said, which may quote an event: for the log. */
  readonly told: string
  /** The handler that was being called, or undefined, and for which event of the task. */
  readonly handler: number | undefined
  readonly event: number
  /** Where that was thrown. */
  readonly frames: string[]

  constructor({ reason, told }: { reason: string; told: string }, at: Int32Array, error: Error) {
    super(reason)
    this.told = told
    this.frames = framesOf(error).map((frame) => frame.trim())
    this.handler = at[AT_HANDLER] > 0 ? at[AT_HANDLER] - 1 : undefined
    this.event = at[AT_EVENT]
  }
}

/** A task in a thread. */
interface Call {
  at: Int32Array
  /** Where it was when it was last looked at, and for how long by then, milliseconds. */
  handler: number
  event: number
  ms: number
  abort: AbortController
  /** Why it was aborted. */
  overdue: string | undefined
}

export class Watched {
  readonly #parts: WatchedParts
  readonly #calls = new Set<Call>()
  readonly #lookMs: number
  /** For what is left for later: whichever handler has left it, it has its time. */
  readonly #leavingMs: number
  #timer: NodeJS.Timeout | undefined
  #again: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(parts: WatchedParts) {
    this.#parts = parts
    const limits = parts.plans.map(({ timeLimit }) => timeLimit)
    this.#leavingMs = Math.max(...limits)
    this.#lookMs = Math.min(Math.max(Math.min(...limits) / 4, LOOK_MS_MIN), LOOK_MS_MAX)
    // A thread that ends between two tasks is replaced like any other.
    parts.pool.on('error', (error: Error) => {
      parts.replaced()
      parts.onNote('a thread ended between two tasks', { at: framesOf(error) })
    })
  }

  async *run(task: Task): AsyncIterable<Done> {
    let from = task.from ?? 0
    let room = task.room
    try {
      do {
        const done = await this.#once(this.#parts.pool, { ...task, from, room })
        room = undefined
        from = done.to
        yield done
      } while (from < task.bytes)
      return
    } catch (error) {
      if (!(error instanceof Ended)) throw error
      this.#tell(error)
    }
    yield* this.#doAgain({ ...task, from })
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#parts.pool.close({ force: true })
  }

  /** All of a task, in pieces where it has to be. */
  async *#doAgain(task: Task): AsyncIterable<Done> {
    const frames = new Uint8Array(task.frames)
    const skips: Skip[] = [...(task.skips ?? [])]
    const pieces = [{ from: task.from ?? 0, to: task.bytes }]
    while (pieces.length > 0) {
      const piece = pieces.pop()!
      const tried = await this.#inFreshThread({ ...task, skips }, piece)
      if (!(tried instanceof Ended)) {
        yield tried
        if (tried.to < piece.to) pieces.push({ from: tried.to, to: piece.to })
        continue
      }
      const events = eventsOf(frames, piece.from, piece.to)
      const guilty = await this.#guiltyOf(task, tried, events, skips)
      if (guilty.length > 0) {
        skips.push(...guilty)
        pieces.push(piece)
        continue
      }
      // It has died of something else than a handler.
      if (events.length < 2) throw new Error(`${tried.told} ${tried.frames.join(' ')}`.trimEnd())
      const innocent = tried.handler !== undefined && tried.event > 0
      const middle = events[innocent ? tried.event : Math.ceil(events.length / 2)].at
      pieces.push({ from: middle, to: piece.to }, { from: piece.from, to: middle })
    }
  }

  /**
   * The handlers that end their thread for one event alone: that at which a thread has ended, or the only one. If it is
   * the only one and none does, they do so together, or now and then: all that were to be called for it are meant.
   */
  async #guiltyOf(
    task: Task,
    { handler, event: number, message, told: why }: Ended,
    events: EventPlace[],
    skips: readonly Skip[],
  ): Promise<Skip[]> {
    const { plans, onNote } = this.#parts
    const isOnly = events.length === 1
    if (events.length === 0 || (handler === undefined && !isOnly)) return []
    const { at, from, to } = events[handler === undefined ? 0 : number]
    const suspects = (handler === undefined ? plans.map((_, i) => i) : [handler]).filter(
      (one) => !skips.some((skip) => skip.handler === one && skip.from === from),
    )
    const guilty: { skip: Skip; told: string }[] = []
    for (const suspect of suspects) {
      const alone = await this.#inFreshThread({ ...task, only: plans[suspect].name }, { from: at, to })
      if (!(alone instanceof Ended)) continue
      guilty.push({ skip: { handler: suspect, from, reason: alone.message }, told: alone.told })
    }
    if (isOnly && guilty.length === 0)
      guilty.push(...suspects.map((one) => ({ skip: { handler: one, from, reason: message }, told: why })))
    for (const one of guilty) {
      onNote(`an event becomes a dead letter: ${one.told}`, { handler: plans[one.skip.handler].name })
    }
    return guilty.map(({ skip }) => skip)
  }

  /** One at a time; not for as long as a task is done again, whose parts may wait for a task that waits here. */
  #inFreshThread(task: Task, place: { from: number; to: number }): Promise<Done | Ended> {
    const tried = this.#again.then(() => this.#tryInFreshThread(task, place))
    this.#again = tried.catch(() => {})
    return tried
  }

  async #tryInFreshThread(task: Task, { from, to }: { from: number; to: number }): Promise<Done | Ended> {
    const pool = this.#parts.fresh()
    pool.on('error', () => {})
    try {
      return await this.#once(pool, { ...task, from, bytes: to, room: undefined })
    } catch (error) {
      if (error instanceof Ended && !this.#closed) return error
      throw error
    } finally {
      await pool.destroy()
    }
  }

  /** Throws Ended. */
  async #once(pool: Piscina, task: Task): Promise<Done> {
    const at = new Int32Array(new SharedArrayBuffer(AT_BYTES))
    const abort = new AbortController()
    const call: Call = { at, handler: 0, event: 0, ms: 0, abort, overdue: undefined }
    this.#calls.add(call)
    this.#timer ??= setInterval(() => this.#look(), this.#lookMs).unref()
    try {
      return await pool.run({ ...task, at: at.buffer as SharedArrayBuffer }, { signal: abort.signal })
    } catch (error) {
      if (at[AT_HANDLER] === LOADING || this.#closed) throw call.overdue ? new Error(call.overdue) : error
      const { overdue } = call
      throw new Ended(overdue === undefined ? whyOf(error as Error) : told(overdue), at, error as Error)
    } finally {
      this.#calls.delete(call)
    }
  }

  /** In looks, not by the clock: a machine that stood still is no handler's fault. */
  #look(): void {
    for (const call of this.#calls) {
      const handler = call.at[AT_HANDLER]
      const event = call.at[AT_EVENT]
      if (handler === 0 || handler !== call.handler || event !== call.event) {
        call.handler = handler
        call.event = event
        call.ms = 0
        continue
      }
      call.ms += this.#lookMs
      const [what, limit] = this.#limitOf(handler)
      if (call.ms < limit || call.overdue !== undefined) continue
      call.overdue = `${what} took longer than ${formatDuration(limit)}`
      call.abort.abort() // ends the thread
    }
  }

  #limitOf(handler: number): [what: string, ms: number] {
    if (handler === LOADING) return ['loading the modules of handlers', HANDLER_LOAD_MS_MAX]
    if (handler === LEAVING) return ['what it left for later', this.#leavingMs]
    return ['it', this.#parts.plans[handler - 1].timeLimit]
  }

  #tell(ended: Ended): void {
    this.#parts.replaced()
    const handler = ended.handler === undefined ? undefined : this.#parts.plans[ended.handler].name
    this.#parts.onNote(`a handler has cost a thread: ${ended.told}; its task is done again`, { handler })
  }
}

const exited = /^worker exited with code: (\d+)$/

/** `reason` is kept with the dead letter; `told` is for the log. */
function whyOf(error: Error & { code?: string }): { reason: string; told: string } {
  if (error.code === 'ERR_WORKER_OUT_OF_MEMORY')
    return told('it used up the memory of its thread (pool.heap)')
  const code = exited.exec(error.message)?.[1]
  if (code !== undefined) return told(`it ended its thread with exit code ${code}`)
  const what = 'it threw where nobody could catch it'
  return { reason: `${what}: ${error.message}`, told: what }
}

function told(reason: string): { reason: string; told: string } {
  return { reason, told: reason }
}

/** Where an error was thrown, without its message. */
function framesOf({ stack = '', message }: Error): string[] {
  const below = stack.slice(stack.indexOf(message) + message.length)
  return below
    .split('\n')
    .filter((line) => /^ {4}at /.test(line))
    .slice(0, FRAMES_TOLD_MAX)
}
