// The phases of many requests in a table, and one of them as a waterfall.

import { type Phase, phases, type Timings } from '../client/trace.ts'
import { TRACES_KEPT_MAX } from '../limits.ts'
import { Histogram } from './histogram.ts'
import { type Cell, Table } from './table.ts'

const BAR_CHARACTERS = 48
const names: Record<Phase | 'total', string> = {
  queue: 'queue',
  dns: 'dns',
  tcp: 'tcp',
  tls: 'tls',
  send: 'send',
  firstByte: 'first byte',
  rest: 'rest',
  total: 'total',
}
const rows = [...phases, 'total'] as const
/** Phases that only a request has that opened its connection. */
const connecting: readonly string[] = ['dns', 'tcp', 'tls']

export class Trace {
  readonly #histograms = new Map(rows.map((row) => [row, new Histogram()]))
  readonly #kept: Timings[] = []
  #seen = 0

  add(timings: Timings): void {
    for (const [row, histogram] of this.#histograms) {
      if (timings.connected || !connecting.includes(row)) histogram.record(timings[row])
    }
    // Algorithm R (Vitter 1985): each of those seen is kept with the same probability.
    const place = this.#seen < TRACES_KEPT_MAX ? this.#seen : Math.floor(Math.random() * (this.#seen + 1))
    if (place < TRACES_KEPT_MAX) this.#kept[place] = timings
    this.#seen++
  }

  describe(): string {
    const table = new Table(['phase', 'requests', 'p50 ms', 'p99 ms', 'max ms'])
    const cells = [...this.#histograms].map(([row, histogram]): Cell[] => [
      names[row],
      histogram.count,
      ...[histogram.quantile(0.5), histogram.quantile(0.99), histogram.max].map(rounded),
    ])
    const drawn = [
      ['a request of median length', median(this.#kept)],
      ['one that opened its connection', median(this.#kept.filter(({ connected }) => connected))],
    ] as const
    return [
      table.page(cells),
      ...drawn.map(([title, one]) => (one === undefined ? '' : `\n${title}:\n${waterfall(one)}`)),
    ].join('')
  }

  toJson() {
    return Object.fromEntries(
      [...this.#histograms].map(([row, histogram]) => {
        const [p50, p99] = [histogram.quantile(0.5), histogram.quantile(0.99)]
        return [row, { requests: histogram.count, p50, p99, max: histogram.max }]
      }),
    )
  }
}

/** Each phase as a bar that begins where the one before it ended. */
export function waterfall(timings: Timings): string {
  let at = 0
  const scale = BAR_CHARACTERS / timings.total
  const lines = phases
    .filter((phase) => timings.connected || !connecting.includes(phase))
    .map((phase) => {
      const from = Math.min(BAR_CHARACTERS - 1, Math.floor(at * scale))
      at += timings[phase]
      const to = Math.max(from + 1, Math.min(BAR_CHARACTERS, Math.round(at * scale)))
      // What takes no time to speak of is a thin line.
      const bar = timings[phase] * scale < 0.5 ? '▏' : '█'.repeat(to - from)
      const milliseconds = `${rounded(timings[phase])} ms`.padStart(11)
      return `  ${names[phase].padEnd(10)}${milliseconds}  ${' '.repeat(from)}${bar}`
    })
  return `${lines.join('\n')}\n`
}

function median(timings: readonly Timings[]): Timings | undefined {
  return timings.toSorted((a, b) => a.total - b.total)[timings.length >> 1]
}

/** To a microsecond. */
export function rounded<T extends number | string>(value: T): T {
  return typeof value === 'number' ? (Number(value.toFixed(3)) as T) : value
}
