// Times as programs have them.

/** A point in time: seconds since 1970 and nanoseconds of that second. */
export interface Instant {
  seconds: number
  nanos: number
}

/** Milliseconds since 1970. */
export function timeOfDate(date: Date): Instant {
  const milliseconds = date.getTime()
  if (!(milliseconds > 0)) throw new RangeError('time is not after 1970-01-01T00:00:00Z')
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1e6 }
}

/** Nanoseconds since 1970. */
export function timeOfNanoseconds(nanoseconds: bigint): Instant {
  if (nanoseconds <= 0n) throw new RangeError('time is not after 1970-01-01T00:00:00Z')
  return { seconds: Number(nanoseconds / 1_000_000_000n), nanos: Number(nanoseconds % 1_000_000_000n) }
}
