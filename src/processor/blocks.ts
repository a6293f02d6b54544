// Blocks of 2^k cells in one array that grows; those that were given back are used again.
//
// The first cell of a block is its head, which holds size << 5 | k: the size is of what its user has put behind the head.

const CELLS_MIN = 4096
const SIZES = 27
const SIZE_SHIFT = 5
const LOG2_MASK = 31
/** Where no block is: cell 0 reads as the head of an empty one. */
export const NO_BLOCK = 0
/** Cells before are never used: so far that small blocks lie within a line of the processor's cache. */
const FIRST = 16

/** Of the least block that has a head and so many cells more. */
export function blockLog2(size: number): number {
  return 32 - Math.clz32(size)
}

export class Blocks {
  /** Another array after `take`. */
  cells = new Int32Array(CELLS_MIN)
  /** Cells in use, free blocks among them. */
  used = FIRST
  /** For each k, the first free block; its head tells the next. */
  readonly #free = new Int32Array(SIZES)

  /** How much is in a block. */
  size(block: number): number {
    return this.cells[block] >> SIZE_SHIFT
  }

  setSize(block: number, size: number): void {
    this.cells[block] = (size << SIZE_SHIFT) | (this.cells[block] & LOG2_MASK)
  }

  /** Of its cells, with the head. */
  log2(block: number): number {
    return this.cells[block] & LOG2_MASK
  }

  /** A block of 2^log2 cells with nothing in it: behind the head stands what stood there. */
  take(log2: number): number {
    let block = this.#free[log2]
    if (block !== NO_BLOCK) this.#free[log2] = this.cells[block]
    else {
      block = this.used
      this.used += 1 << log2
      if (this.used > this.cells.length) this.#grow()
    }
    this.cells[block] = log2
    return block
  }

  give(block: number): void {
    const log2 = this.log2(block)
    this.cells[block] = this.#free[log2]
    this.#free[log2] = block
  }

  #grow(): void {
    const cells = new Int32Array(Math.max(this.cells.length * 2, this.used))
    cells.set(this.cells)
    this.cells = cells
  }
}
