// The seed of the hash of keys. Drawn at random, so that nobody can make keys that collide.

import { randomBytes } from 'node:crypto'

export interface Seed {
  start: number
  /** Odd. */
  multiplier: number
}

/** Of this process. Its threads are handed it: deltas carry hashes, and whoever merges them looks rows up by those. */
export const processSeed: Seed = {
  start: randomBytes(4).readInt32LE(),
  multiplier: randomBytes(4).readInt32LE() | 0x10000001,
}
