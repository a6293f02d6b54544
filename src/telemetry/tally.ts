// The numbers of one place in the daemon, whose process may be replaced: what those that are gone have counted stays
// counted, so that no counter goes backwards; their gauges go with them.

import type { Metric } from './catalogue.ts'
import type { Sample, Snapshot } from './metrics.ts'

export type Describe = (name: string) => Metric | undefined

/** Samples by metric and by labels. */
export type Samples = Map<string, Map<string, Sample>>

export class Tally {
  readonly #describe: Describe
  readonly #left: Samples = new Map()
  readonly #last = new Map<object, Snapshot>()

  constructor(describe: Describe) {
    this.#describe = describe
  }

  /** What a process says of itself, in the order in which it said it. */
  told(process: object, snapshot: Snapshot): void {
    this.#last.set(process, snapshot)
  }

  /** What a process counted after it told for the last time is lost with it. */
  gone(process: object): void {
    const last = this.#last.get(process)
    if (last !== undefined) addAll(this.#left, last, this.#describe, isLasting)
    this.#last.delete(process)
  }

  /** Of everyone who is or was here. */
  sum(): Samples {
    const sum: Samples = new Map()
    for (const [name, series] of this.#left) {
      for (const sample of series.values()) addSample(sum, name, sample, 'sum')
    }
    for (const last of this.#last.values()) addAll(sum, last, this.#describe, () => true)
    return sum
  }
}

function isLasting({ type }: Metric): boolean {
  return type === 'counter' || type === 'histogram'
}

/** What is not known by name is left out: a process of another version may run while one is replaced. */
function addAll(
  to: Samples,
  snapshot: Snapshot,
  describe: Describe,
  wanted: (metric: Metric) => boolean,
): void {
  for (const [name, samples] of Object.entries(snapshot)) {
    const metric = describe(name)
    if (metric === undefined || !wanted(metric)) continue
    const merge = isLasting(metric) ? 'sum' : (metric.merge ?? 'sum')
    for (const sample of samples) addSample(to, name, sample, merge)
  }
}

function addSample(to: Samples, name: string, sample: Sample, merge: 'sum' | 'max'): void {
  let series = to.get(name)
  if (series === undefined) {
    series = new Map()
    to.set(name, series)
  }
  const key = JSON.stringify(sample.labels)
  const there = series.get(key)
  if (there === undefined) {
    const { counts, ...rest } = sample
    series.set(key, counts === undefined ? rest : { ...rest, counts: [...counts] })
    return
  }
  there.value = merge === 'max' ? Math.max(there.value, sample.value) : there.value + sample.value
  sample.counts?.forEach((count, bucket) => {
    there.counts![bucket] += count
  })
}
