// Sums of doubles as unevaluated pairs: `sum` the rounded total, `carry` what rounding has lost so far. The order
// and the batching in which parts are added then all but never show in `sum + carry`.

/**
 * The rounding error of `a + b`, where `sum` is that rounded sum (TwoSum: D. E. Knuth, The Art of Computer
 * Programming, volume 2, 4.2.2, theorem B). Zero where the sum is not finite: once a total has overflowed to an
 * infinity it stays there.
 */
export function lost(a: number, b: number, sum: number): number {
  const part = sum - a
  const error = a - (sum - part) + (b - part)
  return Number.isNaN(error) ? 0 : error
}
