// Ingest/PublishStream: frames in, acks back.
//
//   message -> scan -> rate -> admission -> batcher -> durable -> window -> one ack for many
//
// Flow control is HTTP/2's. The next message is asked for only while the stream has room, so what is sent beyond stays
// with the client. Acks are cumulative: of those that a client has not read only a few are kept, and then the newest.
//
// A stream ends with the first frame that is refused. What comes behind it is not looked at, so nothing overtakes it;
// what came before it gets its ack first.

import type { ServerDuplexStream } from '@grpc/grpc-js'
import type { millrace } from '#service'
import { Problem } from '../errors.ts'
import type { Waiting } from '../ingest/batcher.ts'
import { scan } from '../ingest/scan.ts'
import { Window } from '../ingest/stream-window.ts'
import * as limits from '../limits.ts'
import { turnTime } from '../telemetry/clock.ts'
import type { Call } from './calls.ts'
import { asProblem } from './problem.ts'
import type { PublishParts } from './publish.ts'

type Duplex = ServerDuplexStream<Buffer, millrace.v1.PublishAck.$Properties>

export class PublishStreams {
  readonly #parts: PublishParts
  readonly #open = new Set<PublishStream>()

  constructor(parts: PublishParts) {
    this.#parts = parts
  }

  readonly handler = (duplex: Duplex): void => {
    const call = this.#parts.calls.of(duplex.metadata)
    const over = () => this.#open.delete(stream)
    const stream = new PublishStream({ ...this.#parts, bytesMax: this.#bytesMax, over }, duplex, call)
    this.#open.add(stream)
  }

  /** Bytes of one stream that may wait for the log, as things are; a frame of any size may begin below it. */
  #bytesMax = (): number => {
    const share = Math.floor(limits.STREAMS_CREDIT_BYTES / this.#open.size)
    return Math.max(limits.STREAM_CREDIT_BYTES_MIN, Math.min(limits.STREAM_CREDIT_BYTES_MAX, share))
  }

  /** Takes nothing more; each stream ends when all that it had sent has its answer. */
  drain(): void {
    for (const stream of this.#open) stream.refuse(new Problem('draining', 'this daemon is shutting down'))
  }
}

interface StreamParts extends PublishParts {
  bytesMax(): number
  over(): void
}

class PublishStream {
  readonly #parts: StreamParts
  readonly #duplex: Duplex
  readonly #call: Call
  readonly #window: Window
  readonly #first: number
  /** Asks for a message that did not have room. */
  #read: (() => void) | undefined
  #waiting = 0
  #waitingBytes = 0
  #accepted = 0
  /** What the client was told last. */
  #told: number
  #tellScheduled = false
  /** The client has said that it sends nothing more. */
  #ended = false
  #over = false
  /** Why it ends, and which frame that is about. */
  #refusal: { problem: Problem; sequence: number } | undefined

  constructor(parts: StreamParts, duplex: Duplex, call: Call) {
    this.#parts = parts
    this.#duplex = duplex
    this.#call = call
    this.#first = call.sequence
    this.#told = call.sequence
    this.#window = new Window(call.sequence, limits.GRPC_STREAM_MESSAGES_MAX)
    this.#gate()
    duplex.on('data', (frame: Buffer) => this.#message(frame))
    duplex.on('end', () => {
      this.#ended = true
      this.#endIfSettled()
    })
    duplex.on('drain', () => this.#tell())
    duplex.on('cancelled', () => {
      this.#over = true
      parts.over()
    })
    duplex.write({ sequence: this.#first, accepted: 0 }) // headers and a first ack: the stream is taken
  }

  /** Takes nothing more, and ends when all that was taken has its answer. */
  refuse(problem: Problem): void {
    this.#refuse(problem, this.#window.next)
    this.#endIfSettled()
  }

  /** A message of its own that waits for the log. */
  message(sequence: number, bytes: number, events: number): Waiting {
    const stream = this
    const since = turnTime()
    return {
      correlationId: this.#call.correlationId,
      get overtaking() {
        return stream.#refusal !== undefined && stream.#refusal.sequence < sequence
      },
      durable() {
        stream.#accepted += events
        stream.#parts.calls.door.durable(events, since)
        stream.#window.durable(sequence)
        stream.#settled(bytes)
      },
      refused(problem) {
        stream.#refuse(problem, sequence)
        stream.#settled(bytes)
      },
    }
  }

  /**
   * Readable streams read ahead; this one asks for a message only while there is room for it. `_read` is how a stream
   * asks its source.
   */
  #gate(): void {
    const duplex = this.#duplex
    const read = duplex._read.bind(duplex)
    duplex._read = (size) => {
      if (this.#hasRoom) read(size)
      else this.#read = () => read(size)
    }
  }

  get #hasRoom(): boolean {
    return this.#waiting < limits.GRPC_STREAM_MESSAGES_MAX && this.#waitingBytes < this.#parts.bytesMax()
  }

  #message(frame: Buffer): void {
    if (this.#refusal !== undefined || this.#over) return
    try {
      this.#take(frame)
    } catch (error) {
      this.refuse(asProblem(error as Error))
    }
  }

  #take(frame: Buffer): void {
    const { intake, admission } = this.#parts
    const { caller, producer, correlation } = this.#call
    const { next } = this.#window
    const size = frame.length
    if (next > Number.MAX_SAFE_INTEGER) throw new Problem('malformed', 'the sequence is past 2^53 - 1')
    const events = scan(frame, 0, size)
    caller?.take(events, Date.now())
    admission.take(size)
    try {
      const sequence = producer === '' ? 0 : next
      intake.add(frame, events, producer, sequence, correlation, this.message(next, size, events))
    } catch (error) {
      admission.give(size)
      throw error
    }
    this.#window.take()
    this.#waiting++
    this.#waitingBytes += size
  }

  #settled(bytes: number): void {
    this.#parts.admission.give(bytes)
    this.#waiting--
    this.#waitingBytes -= bytes
    if (this.#tellScheduled) return
    this.#tellScheduled = true
    queueMicrotask(() => {
      this.#tellScheduled = false
      this.#tell()
      this.#readOn()
      this.#endIfSettled()
    })
  }

  #readOn(): void {
    const read = this.#read
    if (read === undefined || !this.#hasRoom) return
    this.#read = undefined
    read()
  }

  /** The first frame that is refused counts, whichever is heard of first. */
  #refuse(problem: Problem, sequence: number): void {
    if (this.#refusal === undefined || sequence < this.#refusal.sequence)
      this.#refusal = { problem, sequence }
  }

  /** Sends the newest ack, unless the client is behind with reading: then it comes with the drain. */
  #tell(): void {
    const { base } = this.#window
    if (this.#over || base === this.#told || this.#duplex.writableNeedDrain) return
    this.#told = base
    this.#duplex.write({ sequence: base, accepted: this.#accepted })
  }

  #endIfSettled(): void {
    const refusal = this.#refusal
    if (this.#over || this.#waiting > 0 || !(this.#ended || refusal !== undefined)) return
    this.#over = true
    const { base } = this.#window
    if (base !== this.#told) this.#duplex.write({ sequence: base, accepted: this.#accepted })
    if (refusal === undefined) {
      this.#duplex.end()
      return
    }
    const end = this.#parts.calls.refusal(refusal.problem, this.#call)
    this.#parts.calls.door.refused(refusal.problem.code)
    end.metadata.set('millrace-sequence', String(base)) // of the first frame that was not taken
    this.#duplex.emit('error', end)
  }
}
