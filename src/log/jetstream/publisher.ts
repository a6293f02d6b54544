// Sends segments to the stream and waits for its word on each, many at a time.
//
// Requests of the client cost a promise, a timer and a random name each. Here there is one subject for all answers, with
// the number of the message in it, and one timer for all.

import { crc32 } from 'node:zlib'
import { createInbox, headers, type Msg, type MsgHdrs, type NatsConnection } from 'nats'
import type { Config } from '../../config/config.ts'
import {
  CONFIRM_MS_MAX,
  RECONNECT_MS_MIN,
  RESEND_MS,
  STALL_MS_MAX,
  UNCONFIRMED_BYTES_MAX,
  UNCONFIRMED_SEGMENTS_MAX,
} from '../../limits.ts'
import type { BrokerHooks, Publisher } from '../broker.ts'
import { LogFull, LogUnavailable, LogUnconfirmed } from '../log.ts'
import type { Segment } from '../segment.ts'
import { type Ack, parseAck } from './ack.ts'
import { Link } from './connection.ts'
import { every } from './every.ts'
import { checkPayload, ensureStream, findStream, managerOf, subjectOf } from './stream.ts'

const SWEEP_INTERVAL_MS = 50
/** What was refused for the moment is sent again after this time. */
const LATER_MS = 4 * RECONNECT_MS_MIN

/** Shorter ones make tests quick. Milliseconds. */
export interface PublisherLimits {
  confirmMsMax?: number
  resendMs?: number
}

interface Sending {
  readonly id: number
  readonly subject: string
  readonly bytes: Buffer
  readonly headers: MsgHdrs
  readonly calledAt: number
  /** When it is sent again, if nothing is heard until then. */
  dueAt: number
  /** Times it was sent and not answered: where there is none at the end, it surely is not in the log. */
  open: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class JetStreamPublisher implements Publisher {
  readonly kind = 'jetstream'
  readonly #stream: string
  readonly #confirmMsMax: number
  readonly #resendMs: number
  #link: Link | undefined
  #inbox = ''
  #ids = 0
  /** Sent and not confirmed, in the order of the calls. */
  readonly #sent = new Map<number, Sending>()
  #sentBytes = 0
  /** Not sent yet, from `#head` on: what would go beyond the bounds waits here. */
  #waiting: Sending[] = []
  #head = 0
  /** When the last word came, or when there began to be something to wait for. */
  #heardAt = 0
  #stopSweeping: (() => void) | undefined
  #stopAsking: (() => void) | undefined
  /** The stream does not exist any more, in words. */
  #gone: string | undefined
  #asking = false
  #closed = false
  #idle: () => void = () => {}

  private constructor(
    stream: string,
    { confirmMsMax = CONFIRM_MS_MAX, resendMs = RESEND_MS }: PublisherLimits,
  ) {
    this.#stream = stream
    this.#confirmMsMax = confirmMsMax
    this.#resendMs = resendMs
  }

  /** Resolves once the server is reached and the stream is as it has to be; see Link.open. */
  static async open(
    config: Config,
    hooks: BrokerHooks,
    signal?: AbortSignal,
    limits: PublisherLimits = {},
  ): Promise<JetStreamPublisher> {
    const publisher = new JetStreamPublisher(config.log.jetstream.stream, limits)
    let made = false
    publisher.#link = await Link.open(
      {
        config: config.log.jetstream,
        hooks,
        // A stream that goes later is not made again: what was in it is lost, and somebody has to know.
        prepare: async (connection) => {
          if (made) checkPayload(connection, config)
          else await ensureStream(connection, config, (text) => hooks.onNotice(text))
          made = true
          publisher.#begin(connection)
        },
      },
      signal,
    )
    return publisher
  }

  get away(): string | undefined {
    return this.#link!.presence.reason
  }

  publish(partition: number, segment: Segment): Promise<void> {
    if (this.#closed) return Promise.reject(new LogUnavailable('the log was closed'))
    const { away } = this
    if (away !== undefined) return Promise.reject(new LogUnavailable(`JetStream is away: ${away}`))
    return new Promise((resolve, reject) => {
      const now = performance.now()
      const sending: Sending = {
        id: this.#ids++,
        subject: subjectOf(this.#stream, partition),
        bytes: segment.bytes,
        headers: headersOf(segment),
        calledAt: now,
        dueAt: 0,
        open: 0,
        resolve,
        reject,
      }
      if (this.#head < this.#waiting.length || !this.#fits(sending)) this.#waiting.push(sending)
      else this.#admit(sending, now)
      this.#stopSweeping ??= every(SWEEP_INTERVAL_MS, (at) => this.#sweep(at))
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#sent.size > 0 || this.#head < this.#waiting.length) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
      })
    }
    this.#stopAsking?.()
    await this.#link!.close()
  }

  /** On a new connection all that waits for a word is sent again. */
  #begin(connection: NatsConnection): void {
    this.#inbox = createInbox()
    const prefix = this.#inbox.length + 1
    connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#heard(Number(message.subject.slice(prefix)), message)
      },
    })
    const now = performance.now()
    this.#heardAt = now
    this.#gone = undefined // a server that came back may have it again
    for (const sending of this.#sent.values()) this.#send(connection, sending, now)
  }

  #fits(sending: Sending): boolean {
    if (this.#sent.size === 0) return true
    return (
      this.#sent.size < UNCONFIRMED_SEGMENTS_MAX &&
      this.#sentBytes + sending.bytes.length <= UNCONFIRMED_BYTES_MAX
    )
  }

  #admit(sending: Sending, now: number): void {
    if (this.#sent.size === 0) this.#heardAt = now
    this.#sent.set(sending.id, sending)
    this.#sentBytes += sending.bytes.length
    const connection = this.#link!.connection
    if (connection !== undefined) this.#send(connection, sending, now)
  }

  #send(connection: NatsConnection, sending: Sending, now: number): void {
    if (connection.isClosed()) return // it is sent again on the next one
    const { subject, bytes, headers, id } = sending
    try {
      connection.publish(subject, bytes, { headers, reply: `${this.#inbox}.${id}` })
    } catch (error) {
      if (connection.isClosed()) return
      this.#settle(sending, new LogUnavailable(`${subject}: ${(error as Error).message}`))
      return
    }
    sending.open++
    sending.dueAt = now + this.#resendMs
  }

  #heard(id: number, message: Msg): void {
    const sending = this.#sent.get(id)
    if (sending === undefined) return // a second word on it, or one that came too late
    const ack = parseAck(message)
    if (ack.kind === 'stored') {
      this.#present()
      this.#settle(sending)
      this.#admitWaiting()
      return
    }
    this.#declined(sending, ack)
  }

  #declined(sending: Sending, { kind, reason }: Exclude<Ack, { kind: 'stored' }>): void {
    const now = performance.now()
    if (kind !== 'later') sending.open-- // of `later` nobody can say whether the segment is in the log
    if (kind === 'nobody') {
      if (this.#gone !== undefined && sending.open <= 0) this.#settle(sending, new LogUnavailable(this.#gone))
      else void this.#ask()
    } else {
      this.#present() // it answers
    }
    // While an earlier sending is not answered, that one may be in the log: only time can tell.
    if (kind === 'full' && sending.open <= 0) {
      this.#settle(sending, new LogFull(`the stream ${this.#stream} is full: ${reason}`))
    } else if (kind === 'refused' && sending.open <= 0) {
      this.#settle(sending, new LogUnavailable(`the stream ${this.#stream} refuses a segment: ${reason}`))
    } else {
      sending.dueAt = now + LATER_MS
    }
    this.#admitWaiting()
  }

  #present(): void {
    this.#heardAt = performance.now()
    this.#gone = undefined
    if (this.#link?.connection !== undefined) this.#link.presence.back()
  }

  #settle(sending: Sending, error?: Error): void {
    if (this.#sent.delete(sending.id)) this.#sentBytes -= sending.bytes.length
    if (error === undefined) sending.resolve()
    else sending.reject(error)
    if (this.#sent.size === 0 && this.#head >= this.#waiting.length) {
      this.#stopSweeping?.()
      this.#stopSweeping = undefined
      this.#idle()
    }
  }

  /** What waits is not sent to a broker that is away: it would only be in doubt. The sweep comes back to it. */
  #admitWaiting(): void {
    if (this.#head >= this.#waiting.length || this.away !== undefined) return
    const now = performance.now()
    while (this.#head < this.#waiting.length && this.#fits(this.#waiting[this.#head])) {
      this.#admit(this.#waiting[this.#head++], now)
    }
    if (this.#head >= this.#waiting.length) {
      this.#waiting = []
      this.#head = 0
    } else if (this.#head > UNCONFIRMED_SEGMENTS_MAX) {
      this.#waiting.splice(0, this.#head)
      this.#head = 0
    }
  }

  /** Gives up what has waited too long, sends again what may be lost, and notices a broker that says nothing. */
  #sweep(now: number): void {
    const connection = this.#link?.connection
    for (const sending of this.#sent.values()) {
      if (now - sending.calledAt >= this.#confirmMsMax) this.#giveUp(sending)
      else if (connection !== undefined && now >= sending.dueAt) this.#send(connection, sending, now)
    }
    while (
      this.#head < this.#waiting.length &&
      now - this.#waiting[this.#head].calledAt >= this.#confirmMsMax
    ) {
      this.#giveUp(this.#waiting[this.#head++])
    }
    this.#admitWaiting()
    const silent = this.#sent.size > 0 && now - this.#heardAt >= STALL_MS_MAX
    if (silent && connection !== undefined && this.away === undefined) {
      const denied = this.#link?.denied
      const reason = denied === undefined ? '' : `: ${denied}`
      this.#awayUntilAnswered(
        `the stream ${this.#stream} has confirmed nothing for ${STALL_MS_MAX} ms${reason}`,
      )
    }
  }

  #giveUp(sending: Sending): void {
    const waited = `for ${this.#confirmMsMax} ms`
    const error =
      sending.open > 0
        ? new LogUnconfirmed(`the stream ${this.#stream} has not said ${waited} whether it has the segment`)
        : new LogUnavailable(this.#gone ?? `the stream ${this.#stream} could not take the segment ${waited}`)
    this.#settle(sending, error)
  }

  /** With nothing on its way no word would come that ends it: the stream is asked for now and then. */
  #awayUntilAnswered(reason: string): void {
    this.#link!.presence.away(reason)
    this.#stopAsking ??= every(LATER_MS, () => {
      if (this.away === undefined) {
        this.#stopAsking?.()
        this.#stopAsking = undefined
      } else if (this.#sent.size === 0 || this.#gone !== undefined) {
        void this.#ask()
      }
    })
  }

  /** Is the stream there? One question at a time. */
  async #ask(): Promise<void> {
    const connection = this.#link?.connection
    if (this.#asking || connection === undefined) return
    this.#asking = true
    try {
      const found = await findStream(await managerOf(connection), this.#stream)
      if (found !== undefined) this.#present()
      else this.#isGone()
    } catch {
      // JetStream cannot say: what waits is sent again until it can, or is given up in time
    } finally {
      this.#asking = false
    }
  }

  #isGone(): void {
    this.#gone = `the stream ${this.#stream} does not exist any more: it was removed, and is made anew at the next start`
    this.#awayUntilAnswered(this.#gone)
    for (const sending of this.#sent.values()) {
      if (sending.open <= 0) this.#settle(sending, new LogUnavailable(this.#gone))
    }
  }
}

/** The identity, by which the stream knows a segment that is sent again, and a checksum for those who read it. */
function headersOf({ writer, sequence, bytes }: Segment): MsgHdrs {
  const made = headers()
  made.set('Nats-Msg-Id', `${writer}.${sequence}`)
  made.set('Millrace-Crc', crc32(bytes).toString(16).padStart(8, '0'))
  return made
}
