// Medians with the least and the greatest: machines are noisy, and a figure without its spread hides that.

/** The lesser middle one of an even number. NaN of none. */
export function median(numbers: readonly number[]): number {
  if (numbers.length === 0) return Number.NaN
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]
}

export function short(n: number, digits = 1): string {
  if (!Number.isFinite(n)) return '-'
  if (n >= 1e6) return `${(n / 1e6).toFixed(2)}M`
  if (n >= 10_000) return `${(n / 1000).toFixed(n >= 100_000 ? 0 : 1)}k`
  return n.toFixed(n >= 100 ? 0 : digits)
}

/** "median (least-greatest)". */
export function spread(numbers: readonly number[], digits = 1): string {
  if (numbers.length === 0) return '-'
  const show = (n: number) => short(n, digits)
  if (numbers.length === 1) return show(numbers[0])
  return `${show(median(numbers))} (${show(Math.min(...numbers))}-${show(Math.max(...numbers))})`
}

/** Of rounds that ran one after the other: each round against its neighbour, so that the machine's moods cancel out. */
export function ratios(of: readonly number[], to: readonly number[]): number[] {
  return of.slice(0, to.length).map((n, round) => n / to[round])
}

/** A table in markdown. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
