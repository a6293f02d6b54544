// A set of whole numbers below 2^53, held as sorted, disjoint intervals that do not touch: a contiguous run of any
// length is one pair of numbers.

export class IntervalSet {
  /** starts[i] <= n < ends[i] for every n in the set. */
  readonly #starts: number[] = []
  readonly #ends: number[] = []

  get size(): number {
    return this.#starts.length
  }

  has(n: number): boolean {
    const i = this.#before(n)
    return i >= 0 && n < this.#ends[i]
  }

  /** Adds n. Adding what is there already changes nothing. */
  add(n: number): void {
    const starts = this.#starts
    const ends = this.#ends
    const i = this.#before(n)
    if (i >= 0 && n < ends[i]) return
    const joinsLeft = i >= 0 && ends[i] === n
    const joinsRight = i + 1 < starts.length && starts[i + 1] === n + 1
    if (joinsLeft && joinsRight) {
      ends[i] = ends[i + 1]
      starts.splice(i + 1, 1)
      ends.splice(i + 1, 1)
    } else if (joinsLeft) ends[i] = n + 1
    else if (joinsRight) starts[i + 1] = n
    else {
      starts.splice(i + 1, 0, n)
      ends.splice(i + 1, 0, n + 1)
    }
  }

  /** Adds 0 to n - 1 to a set that is empty. */
  addBelow(n: number): void {
    if (n === 0) return
    this.#starts.push(0)
    this.#ends.push(n)
  }

  /** Index of the last interval that starts at or before n, or -1. The newest is asked for most. */
  #before(n: number): number {
    const starts = this.#starts
    let high = starts.length - 1
    if (high < 0 || starts[high] <= n) return high
    let low = 0
    while (low < high) {
      const middle = (low + high) >>> 1
      if (starts[middle] <= n) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** LEB128 numbers: for each interval the gap since the last one's end, and its length. */
  encode(): Buffer {
    const bytes: number[] = []
    let last = 0
    for (let i = 0; i < this.#starts.length; i++) {
      pushVarint(bytes, this.#starts[i] - last)
      pushVarint(bytes, this.#ends[i] - this.#starts[i])
      last = this.#ends[i]
    }
    return Buffer.from(bytes)
  }

  static decode(bytes: Uint8Array): IntervalSet {
    const set = new IntervalSet()
    let last = 0
    for (let at = 0; at < bytes.length; ) {
      const pair = [0, 0]
      for (let k = 0; k < 2; k++) {
        let scale = 1
        let byte: number
        do {
          byte = bytes[at++]
          pair[k] += (byte & 127) * scale
          scale *= 128
        } while (byte > 127)
      }
      set.#starts.push(last + pair[0])
      last += pair[0] + pair[1]
      set.#ends.push(last)
    }
    return set
  }
}

function pushVarint(bytes: number[], n: number): void {
  let rest = n
  while (rest > 127) {
    bytes.push((rest % 128) | 128)
    rest = Math.floor(rest / 128)
  }
  bytes.push(rest)
}
