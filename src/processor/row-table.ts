// How rows lie in memory: 64 bytes each, and their keys one behind the other.
//
// Six doubles as in a delta (count, sum, carry, min, max, window), then four 32-bit numbers.

/** Numbers of a row: counted in doubles, and in 32-bit numbers, over the same bytes. */
export const DOUBLES = 8
export const INTS = 16
/** Places among a row's 32-bit numbers: those behind the six doubles. */
export const HASH = 12
export const KEY_AT = 13
export const KEY_BYTES = 14
/** The run of its buckets. */
export const BUCKETS = 15

export interface RowTable {
  readonly doubles: Float64Array
  /** The same memory. */
  readonly ints: Int32Array
  /** Key parts, encoded. */
  readonly keys: Uint8Array
}
