// Taps across processes: whoever reads at one listener sees the events of all of them.
//
//   reader ─ WorkerTaps ──tap──► PrimaryTaps ──tap──► WorkerTaps of every worker ─ TapSource
//                      ◄─tapped─            ◄─tapped─
//
// Every step holds little: a source sends one batch of a tap at a time, the primary passes on a few, the last one
// samples again, so that the rate holds for all of them together.

import type { News } from '../api/tail.ts'
import { makeCorrelationId } from '../ingest/correlation.ts'
import { type TapBatch, TapSource } from '../ingest/tap.ts'
import type { TapFilter } from '../ingest/tap-filter.ts'
import { Sample } from '../ingest/tap-sample.ts'
import { TAP_BATCHES_MAX, TAP_INTERVAL_MS, TAP_OPEN_MS_MAX } from '../limits.ts'
import type { Link, Message } from './link.ts'

export interface OpenTap {
  /** Resolves when every process looks: what is accepted from then on is seen. */
  readonly ready: Promise<void>
  close(): void
}

interface Reading {
  sample: Sample<string>
  unread: number
  read(news: News): void
  ready(): void
}

/** A worker's end: its own events for everyone's taps, and the taps of those who read here. */
export class WorkerTaps {
  /** To be shown what this process makes durable. */
  readonly source: TapSource
  readonly #link: Link
  readonly #readings = new Map<string, Reading>()
  #timer: NodeJS.Timeout | undefined

  constructor(link: Link) {
    this.#link = link
    this.source = new TapSource((id, batch, sent) => link.send({ type: 'tapped', id, batch }, sent))
    link.onMessage((message) => this.#message(message))
  }

  /** `rate`: events a second; `read` is called with what was found, at most every TAP_INTERVAL_MS. */
  open(filter: TapFilter, rate: number, read: (news: News) => void): OpenTap {
    const id = makeCorrelationId()
    const ready = new Promise<void>((resolve) => {
      const sample = new Sample<string>(rate, performance.now())
      this.#readings.set(id, { sample, unread: 0, read, ready: resolve })
      setTimeout(resolve, TAP_OPEN_MS_MAX).unref()
    })
    this.#timer ??= setInterval(this.#tell, TAP_INTERVAL_MS)
    this.#link.send({ type: 'tap', id, filter, rate })
    return { ready, close: () => this.#close(id) }
  }

  #close(id: string): void {
    if (!this.#readings.delete(id)) return
    this.#link.send({ type: 'untap', id })
    if (this.#readings.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #message(message: Message): void {
    switch (message.type) {
      case 'tap':
        this.source.open(message.id, message.filter, message.rate)
        this.#link.send({ type: 'tapping', id: message.id })
        break
      case 'untap':
        this.source.close(message.id)
        break
      case 'tapping':
        this.#readings.get(message.id)?.ready()
        break
      case 'tapped':
        this.#take(message.id, message.batch)
    }
  }

  #take(id: string, { events, sampled, missed, unread }: TapBatch): void {
    const reading = this.#readings.get(id)
    if (reading === undefined) return
    const { sample } = reading
    reading.unread += unread
    sample.count(sampled, missed)
    for (const { key, text } of events) if (sample.wants(key)) sample.add(key, text.length, text)
  }

  #tell = (): void => {
    const now = performance.now()
    for (const reading of this.#readings.values()) {
      const taken = reading.sample.take(now)
      if (taken === undefined && reading.unread === 0) continue
      const { unread } = reading
      reading.unread = 0
      const events = (taken?.kept ?? []).map(({ item }) => item)
      reading.read({ events, sampled: taken?.left ?? 0, missed: taken?.missed ?? 0, unread })
    }
  }
}

interface Tap {
  owner: Link
  filter: TapFilter
  rate: number
  /** Workers that have not said yet that they look. */
  waiting: Set<Link>
  inFlight: number
  /** Lost here since the last batch was passed on. */
  lost: { sampled: number; missed: number; unread: number }
}

/** The primary's end: tells every worker of every tap, also those that start later, and passes on what they find. */
export class PrimaryTaps {
  readonly #taps = new Map<string, Tap>()
  readonly #workers = new Set<Link>()
  /** Events that matched and were lost on their way to a reader, ever. */
  missed = 0

  get open(): number {
    return this.#taps.size
  }

  attach(link: Link): void {
    link.onMessage((message) => this.#message(link, message))
  }

  /** Its process is over, and with it whoever read there. */
  detach(link: Link): void {
    this.#workers.delete(link)
    for (const [id, tap] of this.#taps) {
      if (tap.owner === link) this.#close(id)
      else this.#looks(link, id)
    }
  }

  #message(link: Link, message: Message): void {
    switch (message.type) {
      case 'hello':
        this.#workers.add(link)
        for (const [id, { filter, rate }] of this.#taps) link.send({ type: 'tap', id, filter, rate })
        break
      case 'tap': {
        const { id, filter, rate } = message
        const lost = { sampled: 0, missed: 0, unread: 0 }
        const waiting = new Set(this.#workers)
        this.#taps.set(id, { owner: link, filter, rate, waiting, inFlight: 0, lost })
        for (const worker of this.#workers) worker.send(message)
        break
      }
      case 'tapping':
        this.#looks(link, message.id)
        break
      case 'untap':
        this.#close(message.id)
        break
      case 'tapped':
        this.#pass(message.id, message.batch)
    }
  }

  #looks(link: Link, id: string): void {
    const tap = this.#taps.get(id)
    if (tap === undefined || !tap.waiting.delete(link) || tap.waiting.size > 0) return
    tap.owner.send({ type: 'tapping', id })
  }

  #close(id: string): void {
    if (!this.#taps.delete(id)) return
    for (const worker of this.#workers) worker.send({ type: 'untap', id })
  }

  #pass(id: string, batch: TapBatch): void {
    const tap = this.#taps.get(id)
    if (tap === undefined) return
    const { lost } = tap
    this.missed += batch.missed
    if (tap.inFlight >= TAP_BATCHES_MAX) {
      lost.sampled += batch.sampled
      lost.missed += batch.missed + batch.events.length
      this.missed += batch.events.length
      lost.unread += batch.unread
      return
    }
    tap.inFlight++
    const sampled = batch.sampled + lost.sampled
    const missed = batch.missed + lost.missed
    const unread = batch.unread + lost.unread
    tap.lost = { sampled: 0, missed: 0, unread: 0 }
    tap.owner.send({ type: 'tapped', id, batch: { events: batch.events, sampled, missed, unread } }, () => {
      tap.inFlight--
    })
  }
}
