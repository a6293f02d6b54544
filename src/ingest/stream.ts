// One WebSocket of /v1/stream: from a binary message to the ack that it is durable.
//
//   message -> credit -> admission -> scan -> rate -> batcher -> durable -> window -> one ack for many
//
// A stream ends with the first message that is refused. What comes behind it is not looked at, so nothing overtakes
// it; what came before it gets its answer first. Then the client hears which message that was, and why.

import type { Caller } from '../auth.ts'
import { Problem } from '../errors.ts'
import { STREAM_CREDIT_MESSAGES } from '../limits.ts'
import { turnTime } from '../telemetry/clock.ts'
import type { Door } from '../telemetry/doors.ts'
import type { Counter } from '../telemetry/metrics.ts'
import type { Admission } from './admission.ts'
import type { Waiting } from './batcher.ts'
import type { Intake } from './intake.ts'
import { scan } from './scan.ts'
import { ackMessage, type Credit, closeCode, errorMessage, helloMessage } from './stream-messages.ts'
import { Window } from './stream-window.ts'

/** The part of a uWebSockets.js WebSocket that a stream uses. Not to be touched once it is closed. */
export interface Socket {
  send(message: string | Uint8Array, isBinary: boolean): unknown
  getBufferedAmount(): number
  /** Says goodbye. */
  end(code: number, reason: string): void
  /** Cuts. */
  close(): void
}

export interface StreamParts {
  intake: Intake
  admission: Admission
  /** Bytes of the largest message. */
  maxMessage: number
  durability: string
  /** Told of every refusal, for the log and the counters. */
  refused(problem: Problem, correlationId: string): void
  door: Door
  /** Of messages. */
  bytes: Counter
  /** Bytes that one stream may have waiting, as things are. */
  creditBytes(): number
  /** Some of its messages are durable: `tell` is called when all that became so at once are. */
  settled(stream: Stream): void
  /** It is closed, and nothing of it waits any longer. */
  over(stream: Stream): void
}

/** Who sends, from the handshake. */
export interface Sender {
  caller: Caller | undefined
  /** Empty for none. */
  producer: string
  /** Of the first message. */
  sequence: number
  /** What the client sent, or empty: only this is carried through the log. */
  correlation: string
  /** What the client is told. */
  correlationId: string
}

export class Stream {
  readonly #parts: StreamParts
  readonly #sender: Sender
  readonly #window: Window
  /** Undefined before it is open and after it is closed. */
  #socket: Socket | undefined
  #waiting = 0
  #waitingBytes = 0
  #receivedBytes = 0
  readonly #credit: Credit
  /** An ack that the socket had no room for; the next one says it too. */
  #owed = false
  #tellScheduled = false
  /** Why it ends, and which message that is about. */
  #refusal: { problem: Problem; sequence: number } | undefined
  #over = false

  constructor(parts: StreamParts, sender: Sender) {
    this.#parts = parts
    this.#sender = sender
    this.#window = new Window(sender.sequence, STREAM_CREDIT_MESSAGES)
    this.#credit = { messages: sender.sequence, bytes: 0 }
  }

  open(socket: Socket): void {
    this.#socket = socket
    const { durability, maxMessage } = this.#parts
    const { sequence, correlationId } = this.#sender
    this.#raiseCredit()
    const hello = { sequence, durability, maxMessage, credit: this.#credit, correlationId }
    socket.send(helloMessage(hello), false)
  }

  /** A message. Its memory is only ours during this call. */
  message(bytes: Uint8Array, isBinary: boolean): void {
    if (this.#refusal !== undefined || this.#socket === undefined) return
    try {
      this.#take(bytes, isBinary)
    } catch (error) {
      this.end(asProblem(error as Error))
    }
  }

  /** The socket has room again. */
  drained(): void {
    if (this.#owed) this.#tell()
  }

  /** The socket is gone. What is on its way to the log stays there, nobody is told. */
  closed(): void {
    this.#socket = undefined
    this.#endIfSettled()
  }

  /** The server behind the socket has cut it off for what the client did. */
  cut(detail: string): void {
    this.#parts.refused(new Problem('too-large', detail), this.#sender.correlationId)
    this.#parts.door.refused('too-large')
  }

  /** Takes nothing more, and closes when all that was taken has its answer. */
  end(problem: Problem): void {
    if (this.#socket === undefined) return
    this.#refuse(problem, this.#window.next)
    this.#endIfSettled()
  }

  /** Sends the newest ack. */
  tell(): void {
    this.#tellScheduled = false
    if (this.#refusal === undefined) this.#tell()
    else this.#endIfSettled()
  }

  get correlationId(): string {
    return this.#sender.correlationId
  }

  /** Whether a message before this one is refused. */
  overtaking(sequence: number): boolean {
    return this.#refusal !== undefined && this.#refusal.sequence < sequence
  }

  durable(sequence: number, bytes: number, events: number, since: number): void {
    this.#parts.door.durable(events, since)
    this.#settled(bytes)
    this.#window.durable(sequence)
  }

  refused(sequence: number, bytes: number, error: Error): void {
    this.#settled(bytes)
    this.#refuse(asProblem(error), sequence)
  }

  #take(bytes: Uint8Array, isBinary: boolean): void {
    const { intake, admission, maxMessage, bytes: received } = this.#parts
    const { caller, producer, correlation } = this.#sender
    const window = this.#window
    const size = bytes.length
    received.add(size)
    if (window.next >= this.#credit.messages || this.#receivedBytes >= this.#credit.bytes) {
      throw overCredit(this.#credit)
    }
    if (!isBinary) throw new Problem('unsupported-media-type', 'a text message: frames are binary')
    if (size > maxMessage) {
      throw new Problem('too-large', `the message has ${size} bytes, ${maxMessage} at most`)
    }
    if (window.next > Number.MAX_SAFE_INTEGER) throw new Problem('malformed', 'the sequence is past 2^53 - 1')
    const events = scan(bytes, 0, size)
    caller?.take(events, Date.now())
    admission.take(size)
    const { next } = window
    try {
      intake.add(
        bytes,
        events,
        producer,
        producer === '' ? 0 : next,
        correlation,
        new Message(this, next, size, events),
      )
    } catch (error) {
      admission.give(size)
      throw error
    }
    window.take()
    this.#receivedBytes += size
    this.#waiting++
    this.#waitingBytes += size
  }

  #settled(bytes: number): void {
    this.#parts.admission.give(bytes)
    this.#waiting--
    this.#waitingBytes -= bytes
    if (this.#tellScheduled) return
    this.#tellScheduled = true
    this.#parts.settled(this)
  }

  /** The first message that is refused counts, whichever is heard of first. */
  #refuse(problem: Problem, sequence: number): void {
    if (this.#refusal === undefined || sequence < this.#refusal.sequence)
      this.#refusal = { problem, sequence }
  }

  #tell(): void {
    const socket = this.#socket
    if (socket === undefined) {
      this.#endIfSettled()
      return
    }
    this.#owed = socket.getBufferedAmount() > 0
    if (this.#owed) return // one that does not read gets no further credit
    this.#raiseCredit()
    socket.send(ackMessage(this.#window.base, this.#credit), true)
  }

  #raiseCredit(): void {
    const { base, size } = this.#window
    const credit = this.#credit
    credit.messages = base + size
    const bytes = this.#receivedBytes - this.#waitingBytes + this.#parts.creditBytes()
    if (bytes > credit.bytes) credit.bytes = bytes
  }

  #endIfSettled(): void {
    if (this.#waiting > 0 || this.#over) return
    const socket = this.#socket
    const refusal = this.#refusal
    if (socket === undefined) {
      this.#over = true
      this.#parts.over(this)
    } else if (refusal !== undefined) this.#goodbye(socket, refusal.problem) // which calls `closed`
  }

  #goodbye(socket: Socket, problem: Problem): void {
    const { correlationId } = this.#sender
    this.#parts.refused(problem, correlationId)
    this.#parts.door.refused(problem.code)
    if (socket.getBufferedAmount() > 0) {
      socket.close() // it does not read: it would not read this either
      return
    }
    const { base } = this.#window
    socket.send(ackMessage(base, this.#credit), true)
    socket.send(errorMessage(problem, base, correlationId), false)
    socket.end(closeCode(problem), problem.code)
  }
}

/** One message on its way to the log. */
class Message implements Waiting {
  readonly #stream: Stream
  readonly #sequence: number
  readonly #bytes: number
  readonly #events: number
  readonly #since = turnTime()

  constructor(stream: Stream, sequence: number, bytes: number, events: number) {
    this.#stream = stream
    this.#sequence = sequence
    this.#bytes = bytes
    this.#events = events
  }

  get overtaking(): boolean {
    return this.#stream.overtaking(this.#sequence)
  }

  get correlationId(): string {
    return this.#stream.correlationId
  }

  durable(): void {
    this.#stream.durable(this.#sequence, this.#bytes, this.#events, this.#since)
  }

  refused(problem: Problem): void {
    this.#stream.refused(this.#sequence, this.#bytes, problem)
  }
}

function asProblem(error: Error): Problem {
  if (error instanceof Problem) return error
  return new Problem('internal', 'this message failed', { cause: error })
}

function overCredit({ messages, bytes }: Credit): Problem {
  return new Problem(
    'over-credit',
    `messages with sequences below ${messages} may be sent, while fewer than ${bytes} bytes are: wait for acks`,
  )
}
