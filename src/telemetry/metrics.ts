// The numbers of one process: plain counters and histograms that the hot path adds to, and gauges that are read when
// somebody asks. Series are made once, at the start or when something is first met; adding to one is a few additions,
// with no labels to look up and no memory to take.

import { catalogue, type LabelsOf, type Metric, type NameOf } from './catalogue.ts'

/** One series as it stands. */
export interface Sample {
  /** In the order of the metric's labels. */
  labels: string[]
  /** Of a histogram the sum of what was observed. */
  value: number
  /** Of a histogram: observations by bucket, the one up to +Inf last; not cumulated. */
  counts?: number[]
}

/** Everything that a process counts, by name of the metric. Plain JSON. */
export type Snapshot = Record<string, Sample[]>

export class Counter {
  value = 0

  add(more: number): void {
    this.value += more
  }
}

export class Histogram {
  readonly counts: Float64Array
  sum = 0
  readonly #bounds: Float64Array

  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from(bounds)
    this.counts = new Float64Array(bounds.length + 1)
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0)
  }

  observe(value: number): void {
    this.counts[this.#bucket(value)]++
    this.sum += value
  }

  /** The same as so many calls of `observe`. */
  observeTimes(value: number, times: number): void {
    this.counts[this.#bucket(value)] += times
    this.sum += value * times
  }

  /** Of the first bound that is not below the value. From the front: most are small. */
  #bucket(value: number): number {
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && value > bounds[bucket]) bucket++
    return bucket
  }
}

/** All series of a process, or of a role where one process has several. */
export class Metrics {
  readonly #counters = new Map<string, Map<string, { labels: string[]; read(): number }>>()
  readonly #made = new Map<string, Counter>()
  readonly #histograms = new Map<string, Map<string, { labels: string[]; histogram: Histogram }>>()

  /** The same one for the same labels. */
  counter<N extends NameOf<'counter'>>(name: N, labels: LabelsOf<N>): Counter {
    const values = valuesOf(name, labels)
    const key = JSON.stringify([name, values])
    let counter = this.#made.get(key)
    if (counter === undefined) {
      const made = new Counter()
      counter = made
      this.#made.set(key, made)
      this.#read(name, values, () => made.value)
    }
    return counter
  }

  /** The same one for the same labels. */
  histogram<N extends NameOf<'histogram'>>(name: N, labels: LabelsOf<N>): Histogram {
    const values = valuesOf(name, labels)
    const series = seriesOf(this.#histograms, name)
    const key = JSON.stringify(values)
    let held = series.get(key)
    if (held === undefined) {
      held = { labels: values, histogram: new Histogram(catalogue[name].buckets) }
      series.set(key, held)
    }
    return held.histogram
  }

  /** A number that is kept elsewhere: `read` is called when somebody asks. A gauge is taken away by what is returned. */
  reading<N extends NameOf<'counter' | 'gauge' | 'summary'>>(
    name: N,
    labels: LabelsOf<N>,
    read: () => number,
  ): () => void {
    return this.#read(name, valuesOf(name, labels), read)
  }

  snapshot(): Snapshot {
    const snapshot: Snapshot = {}
    for (const [name, series] of this.#counters) {
      snapshot[name] = [...series.values()].map(({ labels, read }) => ({ labels, value: read() }))
    }
    for (const [name, series] of this.#histograms) {
      snapshot[name] = [...series.values()].map(({ labels, histogram: { counts, sum } }) => ({
        labels,
        value: sum,
        counts: [...counts],
      }))
    }
    return snapshot
  }

  #read(name: string, labels: string[], read: () => number): () => void {
    const series = seriesOf(this.#counters, name)
    const key = JSON.stringify(labels)
    const held = { labels, read }
    series.set(key, held)
    return () => {
      if (series.get(key) === held) series.delete(key)
    }
  }
}

function seriesOf<T>(all: Map<string, Map<string, T>>, name: string): Map<string, T> {
  let series = all.get(name)
  if (series === undefined) {
    series = new Map()
    all.set(name, series)
  }
  return series
}

function valuesOf(name: keyof typeof catalogue, labels: Record<string, string>): string[] {
  return (catalogue[name] as Metric).labels.map((label) => labels[label])
}
