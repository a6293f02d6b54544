// A random run that can be repeated: the seed is printed, and read from MILLRACE_INTERNAL_SEED.

import type { TestContext } from 'node:test'

export interface Random {
  seed: number
  /** A whole number, both ends included. */
  between(low: number, high: number): number
  pick<T>(choices: readonly T[]): T
}

export function random(t: TestContext): Random {
  const seed = Number(process.env.MILLRACE_INTERNAL_SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.diagnostic(`seed ${seed}`)
  console.log(`# seed ${seed} (MILLRACE_INTERNAL_SEED=${seed} repeats it)`)
  return { seed, ...generator(seed) }
}

/** Mulberry32, by Tommy Ettinger (public domain): 32 bits of state are plenty here. */
export function generator(seed: number): Omit<Random, 'seed'> {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (low: number, high: number) => low + Math.floor(next() * (high - low + 1))
  return { between, pick: (choices) => choices[between(0, choices.length - 1)] }
}
