// The source of taps: looks at the events that this process has made durable, and hands on a sample of those that
// somebody wants. Without taps it costs one question for each segment. It knows nothing of who reads.

import { TAP_INTERVAL_MS, TAP_WALKED_PER_SECOND_MAX } from '../limits.ts'
import type { Segment } from '../log/segment.ts'
import { type Receipt, toCloudEvent } from './cloudevents-text.ts'
import { Matcher, type TapFilter, walk } from './tap-filter.ts'
import { Sample } from './tap-sample.ts'

/** What was found since the last batch. */
export interface TapBatch {
  /** CloudEvents in JSON, each with the number that it drew in the sample. */
  events: { key: number; text: string }[]
  /** Events that matched, and were left out by the rate, of events or of bytes. */
  sampled: number
  /** Events that matched, and were lost since somebody on the way was slow, or since they are too large. */
  missed: number
  /** Events that nobody looked at, since there were too many. */
  unread: number
}

interface Tap {
  matcher: Matcher
  sample: Sample<{ bytes: Buffer; receipt: Receipt }>
  unread: number
  /** The last batch is still on its way. */
  busy: boolean
}

export class TapSource {
  readonly #taps = new Map<string, Tap>()
  readonly #found: (id: string, batch: TapBatch, sent: () => void) => void
  #timer: NodeJS.Timeout | undefined
  /** Events that may still be looked at, and since when it is so. */
  #tokens = TAP_WALKED_PER_SECOND_MAX
  #filledAt = 0

  /** `found`: takes a batch, and calls `sent` when the next one may come. */
  constructor(found: (id: string, batch: TapBatch, sent: () => void) => void) {
    this.#found = found
  }

  get active(): boolean {
    return this.#taps.size > 0
  }

  open(id: string, filter: TapFilter, rate: number): void {
    const sample = new Sample<{ bytes: Buffer; receipt: Receipt }>(rate, performance.now())
    this.#taps.set(id, { matcher: new Matcher(filter), sample, unread: 0, busy: false })
    this.#timer ??= setInterval(this.#handOn, TAP_INTERVAL_MS)
  }

  close(id: string): void {
    this.#taps.delete(id)
    if (this.active) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** A segment is durable. `correlationIdOf`: of its bodies, by their place; none of its memory is kept. */
  durable(segment: Segment, correlationIdOf: (body: number) => string | undefined): void {
    const { frames, receivedAt, writer, sequence } = segment
    const now = performance.now()
    let body = 0
    let number = 0
    for (const { start, end, events, correlation } of segment.table()) {
      if (!this.#allows(events * this.#taps.size, now)) {
        for (const tap of this.#taps.values()) tap.unread += events
        body++
        number += events
        continue
      }
      let correlationId: string | undefined
      const place = body++
      walk(frames, start, end, (from, to) => {
        number++
        for (const { matcher, sample } of this.#taps.values()) {
          if (!matcher.matches(frames, from, to)) continue
          const key = Math.random()
          if (!sample.wants(key)) continue
          correlationId ??= correlationIdOf(place) ?? correlation
          const receipt = { correlationId, receivedAt, place: `${writer}-${sequence}-${number}` }
          sample.add(key, to - from, { bytes: Buffer.from(frames.subarray(from, to)), receipt })
        }
      })
    }
  }

  /** Takes tokens for so many looks; false where they are used up: a tap must not slow down what it looks at. */
  #allows(looks: number, now: number): boolean {
    const filled = this.#tokens + ((now - this.#filledAt) * TAP_WALKED_PER_SECOND_MAX) / 1000
    this.#tokens = Math.min(TAP_WALKED_PER_SECOND_MAX, filled)
    this.#filledAt = now
    if (this.#tokens < looks) return false
    this.#tokens -= looks
    return true
  }

  #handOn = (): void => {
    const now = performance.now()
    for (const [id, tap] of this.#taps) {
      if (tap.busy) continue
      const taken = tap.sample.take(now)
      if (taken === undefined && tap.unread === 0) continue
      const events = (taken?.kept ?? []).map(({ key, item: { bytes, receipt } }) => ({
        key,
        text: toCloudEvent(bytes, 0, bytes.length, receipt),
      }))
      const batch = { events, sampled: taken?.left ?? 0, missed: taken?.missed ?? 0, unread: tap.unread }
      tap.unread = 0
      tap.busy = true
      this.#found(id, batch, () => {
        tap.busy = false
      })
    }
  }
}
