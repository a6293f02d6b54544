// The greatest few of many, in little memory.

import { Heap } from './heap.ts'

/** Keeps the first `limit` of all that is offered, in the order of `compare`: the last of them is at hand. */
export class Top<T> {
  readonly #limit: number
  readonly #compare: (a: T, b: T) => number
  readonly #heap: Heap<T>

  /** `compare` as for Array.sort: below 0 when `a` comes before `b`. `limit` is at least 1. */
  constructor(limit: number, compare: (a: T, b: T) => number) {
    this.#limit = limit
    this.#compare = compare
    this.#heap = new Heap((a, b) => compare(b, a))
  }

  offer(item: T): void {
    const heap = this.#heap
    if (heap.size < this.#limit) heap.add(item)
    else if (this.#compare(item, heap.first as T) < 0) heap.replaceFirst(item)
  }

  /** What was kept, in order. */
  sorted(): T[] {
    return [...this.#heap.items].sort(this.#compare)
  }
}
