// The greatest few of many, in little memory.

/** Keeps the first `limit` of all that is offered, in the order of `compare`: a binary heap, its last on top. */
export class Top<T> {
  readonly #limit: number
  readonly #compare: (a: T, b: T) => number
  readonly #heap: T[] = []

  /** `compare` as for Array.sort: below 0 when `a` comes before `b`. `limit` is at least 1. */
  constructor(limit: number, compare: (a: T, b: T) => number) {
    this.#limit = limit
    this.#compare = compare
  }

  offer(item: T): void {
    const heap = this.#heap
    if (heap.length < this.#limit) {
      heap.push(item)
      this.#up(heap.length - 1)
    } else if (this.#compare(item, heap[0]) < 0) {
      heap[0] = item
      this.#down()
    }
  }

  /** What was kept, in order. */
  sorted(): T[] {
    return [...this.#heap].sort(this.#compare)
  }

  #up(from: number): void {
    const heap = this.#heap
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1
      if (this.#compare(heap[at], heap[parent]) <= 0) return
      swap(heap, at, parent)
      at = parent
    }
  }

  #down(): void {
    const heap = this.#heap
    for (let at = 0; ; ) {
      let last = at
      for (const child of [at * 2 + 1, at * 2 + 2]) {
        if (child < heap.length && this.#compare(heap[child], heap[last]) > 0) last = child
      }
      if (last === at) return
      swap(heap, at, last)
      at = last
    }
  }
}

function swap<T>(heap: T[], a: number, b: number): void {
  const item = heap[a]
  heap[a] = heap[b]
  heap[b] = item
}
