// A binary heap: the first of all that it holds, in the order of `compare`, is at hand.

export class Heap<T> {
  readonly #compare: (a: T, b: T) => number
  readonly #items: T[] = []

  /** `compare` as for Array.sort: below 0 when `a` comes before `b`. */
  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  get size(): number {
    return this.#items.length
  }

  /** Undefined when there is none. */
  get first(): T | undefined {
    return this.#items[0]
  }

  /** In no order. */
  get items(): readonly T[] {
    return this.#items
  }

  add(item: T): void {
    const items = this.#items
    let at = items.length
    for (; at > 0; ) {
      const parent = (at - 1) >> 1
      if (this.#compare(items[parent], item) <= 0) break
      items[at] = items[parent]
      at = parent
    }
    items[at] = item
  }

  /** Puts another item in place of the first, or the first itself when its order has changed. */
  replaceFirst(item: T): void {
    const items = this.#items
    const size = items.length
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= size) break
      if (child + 1 < size && this.#compare(items[child + 1], items[child]) < 0) child++
      if (this.#compare(item, items[child]) <= 0) break
      items[at] = items[child]
      at = child
    }
    items[at] = item
  }

  removeFirst(): void {
    const last = this.#items.pop()
    if (last !== undefined && this.#items.length > 0) this.replaceFirst(last)
  }
}
