// Which messages of a stream are durable. They become so in any order (several partitions), and clients are told one
// number, below which all are.
//
//        base                                next             base + size
//   durable | waiting or durable, one byte each | not come yet     | beyond the credit
//
// One that is refused stays waiting: the base never passes it.

export class Window {
  /** Below it all is durable. */
  base: number
  /** The sequence of the next message. */
  next: number
  readonly size: number
  readonly #durable: Uint8Array
  /** Where the base stands in it. A sequence may have 53 bits, which are slow to divide. */
  #slot = 0

  /** `size`: messages between base and next, at most; a power of two. */
  constructor(first: number, size: number) {
    this.base = first
    this.next = first
    this.size = size
    this.#durable = new Uint8Array(size)
  }

  /** Takes a message in. Returns its sequence. */
  take(): number {
    return this.next++
  }

  durable(sequence: number): void {
    const durable = this.#durable
    const mask = durable.length - 1
    let slot = this.#slot
    durable[(slot + (sequence - this.base)) & mask] = 1
    while (durable[slot] === 1) {
      durable[slot] = 0
      slot = (slot + 1) & mask
      this.base++
    }
    this.#slot = slot
  }
}
