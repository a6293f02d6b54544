// The name that someone probably meant.

const SHOWN_MAX = 64

/**
 * The candidate that is closest to `name`, or undefined when none is close: a third of the letters wrong at most,
 * at least one, letter case and `_` or `-` not counted.
 */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > SHOWN_MAX) return undefined
  const letters = plain(name)
  let best: string | undefined
  let fewest = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const other = plain(candidate)
    const changes = distance(letters, other)
    const most = Math.max(1, Math.floor(Math.max(letters.length, other.length) / 3))
    // A name of one or two letters is close to everything short; it has to begin alike.
    const alike = other.length > 2 || letters[0] === other[0]
    if (changes <= most && changes < fewest && alike) {
      best = candidate
      fewest = changes
    }
  }
  return best
}

/** The end of a message: `; did you mean X?`, or nothing. */
export function didYouMean(name: string, candidates: readonly string[]): string {
  const near = nearest(name, candidates)
  return near === undefined ? '' : `; did you mean ${near}?`
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, '')
}

/**
 * Letters to insert, drop, replace or swap with their neighbour (the restricted form of Damerau's distance, 1964:
 * no letter is touched twice).
 */
function distance(a: string, b: string): number {
  let above: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let least = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + cost)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) least = Math.min(least, above[j - 2] + 1)
      next.push(least)
    }
    above = row
    row = next
  }
  return row[b.length]
}
