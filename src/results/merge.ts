// Several ranges of one order as one.

import { Heap } from './heap.ts'

export interface Item {
  key: Buffer
  value: Buffer
}

interface Head {
  item: Item
  /** Its range's place among them. */
  place: number
  rest: Iterator<Item>
}

/** Items of ranges, each in the order of its keys, in that order. Those of one key are folded into one, given in the order of the ranges. */
export function* merged(
  ranges: readonly Iterable<Item>[],
  fold: (values: Buffer[]) => Buffer,
): Iterable<Item> {
  const heads = new Heap<Head>((a, b) => a.item.key.compare(b.item.key) || a.place - b.place)
  const begun = ranges.map((range) => range[Symbol.iterator]())
  const open = new Set(begun)
  const go = (head: Head) => {
    const { done, value } = head.rest.next()
    if (done) {
      open.delete(head.rest)
      heads.removeFirst()
      return
    }
    head.item = value
    heads.replaceFirst(head)
  }
  try {
    for (const [place, rest] of begun.entries()) {
      const { done, value } = rest.next()
      if (done) open.delete(rest)
      else heads.add({ item: value, place, rest })
    }
    for (let head = heads.first; head !== undefined; head = heads.first) {
      const { item } = head
      go(head)
      let values: Buffer[] | undefined
      for (let next = heads.first; next?.item.key.equals(item.key); next = heads.first) {
        values ??= [item.value]
        values.push(next.item.value)
        go(next)
      }
      yield values === undefined ? item : { key: item.key, value: fold(values) }
    }
  } finally {
    for (const rest of open) rest.return?.()
  }
}
