// Gathers events into frames, keeps some of them in flight, and says when there is room.
//
//   calls in line ──► the open frame ──► frames in flight ──► acks
//                     └──── `concurrency` of them at most ────┘
//
// A call finds its place at once while a frame is open or may be opened; otherwise it waits in line. So the client
// holds `concurrency` times `batch.bytes`, and what the callers in line hold anyway.

import { CLIENT_CALLS_WAITING_MAX } from '../limits.ts'
import type { Ack, Body, Door } from './door.ts'
import { EventEncoder } from './encoder.ts'
import { MillraceError, ownError } from './error.ts'
import type { Event } from './event.ts'

export interface OutboxOptions {
  door: Door
  /** A frame is closed at so many events or bytes, or when it was opened so many milliseconds ago. */
  batch: { events: number; bytes: number; delay: number }
  concurrency: number
}

interface Frame {
  ack: Promise<Ack>
  resolve(ack: Ack): void
  reject(error: Error): void
}

/** A call that did not find its place at once. */
interface Call {
  events: readonly Event[]
  /** The next one of them to find its place. */
  at: number
  /** Ready to go, instead of events. */
  body: Body | undefined
  /** Those that took its events. */
  frames: Frame[]
  takenBack: boolean
  ack: Promise<Ack>
  resolve(ack: Ack): void
  reject(error: Error): void
}

const READY = Promise.resolve()
const NO_EVENTS: readonly Event[] = []

export class Outbox {
  readonly #options: OutboxOptions
  readonly #encoder = new EventEncoder()
  #open: Frame | undefined
  /** Closes the open frame: at the end of this turn, or later. */
  #soon: NodeJS.Immediate | undefined
  #later: NodeJS.Timeout | undefined
  readonly #inFlight = new Set<Frame>()
  /** In order, from #lineAt on. */
  #line: Call[] = []
  #lineAt = 0
  #roomWaiters: (() => void)[] = []
  /** The first failure that flush has not told. */
  #failure: Error | undefined

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  publish(events: readonly Event[], signal: AbortSignal | undefined): Promise<Ack> {
    try {
      if (events.length === 1 && signal === undefined && this.#lineAt === this.#line.length) {
        // The short way: calls share the promise of their frame.
        const frame = this.#place(events[0], 1)
        if (frame !== undefined) return frame.ack
      } else this.#check(events)
    } catch (error) {
      return this.#refuse(error as Error)
    }
    return this.#lineUp(events, undefined, signal)
  }

  post(body: Body, signal: AbortSignal | undefined): Promise<Ack> {
    return this.#lineUp(NO_EVENTS, body, signal)
  }

  ready(): Promise<void> {
    if (this.#hasRoom) return READY
    return new Promise((resolve) => this.#roomWaiters.push(resolve))
  }

  async flush(): Promise<void> {
    if (this.#open !== undefined) this.#dispatch()
    await Promise.allSettled([...this.#inFlight, ...this.#line.slice(this.#lineAt)].map(({ ack }) => ack))
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  /** Rejects all that was not acknowledged. */
  abort(error: MillraceError): void {
    this.#options.door.abort(error)
    if (this.#open !== undefined) {
      this.#failure ??= error
      this.#close().reject(error)
      this.#encoder.take()
    }
    for (const call of this.#line.slice(this.#lineAt)) {
      this.#failure ??= error
      call.takenBack = true
      call.reject(error)
    }
    this.#settled()
  }

  get #hasRoom(): boolean {
    const room = this.#open !== undefined || this.#inFlight.size < this.#options.concurrency
    return room && this.#lineAt === this.#line.length
  }

  /** The frame that took the event; undefined where there is no room. Throws where it cannot be taken. */
  #place(event: Event, number: number): Frame | undefined {
    const { batch, concurrency, door } = this.#options
    const encoder = this.#encoder
    if (this.#open === undefined && this.#inFlight.size >= concurrency) return undefined
    let fits: boolean
    try {
      fits = encoder.add(event, door.bodyBytesMax)
    } catch (error) {
      throw malformed(number, error as Error)
    }
    if (!fits) {
      if (encoder.events === 0) throw tooLarge(number, door.bodyBytesMax)
      this.#dispatch()
      return this.#place(event, number)
    }
    this.#open ??= this.#begin()
    const frame = this.#open
    if (encoder.events >= batch.events || encoder.bytes >= batch.bytes) this.#dispatch()
    return frame
  }

  /** All of a call are looked at first: none is sent where one is refused. */
  #check(events: readonly Event[]): void {
    if (events.length === 0) throw new MillraceError('malformed', 'malformed: no events', { refused: true })
    const { bodyBytesMax } = this.#options.door
    for (let i = 0; i < events.length; i++) {
      let bytes: number
      try {
        bytes = this.#encoder.measure(events[i])
      } catch (error) {
        throw malformed(i + 1, error as Error)
      }
      if (bytes > bodyBytesMax) throw tooLarge(i + 1, bodyBytesMax)
    }
  }

  /** A frame that nothing is in front of goes at the end of the turn; another one waits a little for more. */
  #begin(): Frame {
    const { delay } = this.#options.batch
    if (delay === 0 || this.#inFlight.size === 0) this.#soon = setImmediate(() => this.#dispatch())
    else this.#later = setTimeout(() => this.#dispatch(), delay)
    return newFrame()
  }

  #close(): Frame {
    const frame = this.#open!
    this.#open = undefined
    clearImmediate(this.#soon)
    clearTimeout(this.#later)
    this.#soon = undefined
    return frame
  }

  #dispatch(): void {
    const { events } = this.#encoder
    this.#fly(this.#close(), { bytes: this.#encoder.take(), events, type: 'application/x-protobuf' })
  }

  #fly(frame: Frame, body: Body): void {
    this.#inFlight.add(frame)
    const landed = () => {
      this.#inFlight.delete(frame)
      this.#settled()
    }
    this.#options.door.deliver(body).then(
      (ack) => {
        frame.resolve(ack)
        landed()
      },
      (error: Error) => {
        this.#failure ??= error
        frame.reject(error)
        landed()
      },
    )
  }

  /** A frame has come to its end: who waits has a turn. */
  #settled(): void {
    while (this.#lineAt < this.#line.length && this.#advance(this.#line[this.#lineAt])) {
      if (++this.#lineAt === this.#line.length || this.#lineAt === 1024) {
        this.#line = this.#line.slice(this.#lineAt)
        this.#lineAt = 0
      }
    }
    if (this.#inFlight.size === 0 && this.#open !== undefined) {
      this.#soon ??= setImmediate(() => this.#dispatch())
    }
    if (this.#hasRoom) for (const waiter of this.#roomWaiters.splice(0)) waiter()
  }

  #lineUp(events: readonly Event[], body: Body | undefined, signal: AbortSignal | undefined): Promise<Ack> {
    if (this.#line.length - this.#lineAt >= CLIENT_CALLS_WAITING_MAX)
      return this.#refuse(ownError('not-ready'))
    const call: Call = { events, at: 0, body, frames: [], takenBack: false, ...newFrame() }
    if (signal !== undefined) this.#listen(call, signal)
    if (this.#lineAt < this.#line.length || !this.#advance(call)) this.#line.push(call)
    return call.ack
  }

  /** True when all of the call has found its place. */
  #advance(call: Call): boolean {
    if (call.takenBack) return true
    const { frames, body } = call
    try {
      for (; call.at < call.events.length; call.at++) {
        const frame = this.#place(call.events[call.at], call.at + 1)
        if (frame === undefined) return false
        if (frame !== frames.at(-1)) frames.push(frame)
      }
    } catch (error) {
      // It was right when it was checked, and was changed since.
      call.reject(error as Error)
      return true
    }
    if (body !== undefined) {
      // What was published before goes first.
      if (this.#open !== undefined) this.#dispatch()
      if (this.#inFlight.size >= this.#options.concurrency) return false
      this.#fly(call, body)
    } else
      Promise.all(frames.map(({ ack }) => ack)).then(
        (acks) => call.resolve(acks[acks.length - 1]),
        call.reject,
      )
    return true
  }

  #listen(call: Call, signal: AbortSignal): void {
    const takeBack = () => {
      call.takenBack = true
      call.reject(ownError('aborted', undefined, signal.reason))
      this.#settled()
    }
    signal.addEventListener('abort', takeBack, { once: true })
    const forget = () => signal.removeEventListener('abort', takeBack)
    call.ack.then(forget, forget)
  }

  #refuse(error: Error): Promise<never> {
    this.#failure ??= error
    return rejected(error)
  }
}

/** Of a promise that may be left alone. */
export function rejected(error: Error): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}

/** A rejection that nobody listens to is no crash: flush tells of it. */
function newFrame(): Frame {
  let resolve!: (ack: Ack) => void
  let reject!: (error: Error) => void
  const ack = new Promise<Ack>((yes, no) => {
    resolve = yes
    reject = no
  })
  ack.catch(() => {})
  return { ack, resolve, reject }
}

function malformed(number: number, error: Error): MillraceError {
  const parts = { refused: true, cause: error }
  return new MillraceError('malformed', `malformed: event ${number}: ${error.message}`, parts)
}

function tooLarge(number: number, most: number): MillraceError {
  const message = `too-large: event ${number} has more than the ${most} bytes that a body may have`
  return new MillraceError('too-large', message, { refused: true })
}
