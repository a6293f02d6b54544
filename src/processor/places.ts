// Where events are in frames, for those who have to take them apart.

import { EVENT_TAG } from '../frame/tags.ts'
import { ended, skip, varint } from '../frame/wire.ts'

/** `at` is where what belongs to an event starts, `from` where its content does; both end at `to`. */
export interface EventPlace {
  at: number
  from: number
  to: number
}

/** The events of frames[from, to), which were checked before. */
export function eventsOf(frames: Uint8Array, from: number, to: number): EventPlace[] {
  const events: EventPlace[] = []
  for (let at = from; at < to; ) {
    const tag = varint(frames, at)
    const inside = ended
    const end = skip(frames, inside, tag)
    if (tag === EVENT_TAG) {
      varint(frames, inside)
      events.push({ at, from: ended, to: end })
    }
    at = end
  }
  return events
}
