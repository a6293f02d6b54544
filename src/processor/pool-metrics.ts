// How busy the pool is, as seen from where its tasks come from: the threads themselves count nothing.

import type { Counter, Histogram, Metrics } from '../telemetry/metrics.ts'

export class PoolMetrics {
  readonly #threads: number
  readonly #tasks: Histogram
  readonly #replaced: Counter
  /** Tasks handed out and not back yet. */
  #out = 0
  #busySeconds = 0
  #countedAt = performance.now()

  constructor(metrics: Metrics, threads: number) {
    this.#threads = threads
    this.#tasks = metrics.histogram('millrace_pool_task_seconds', {})
    this.#replaced = metrics.counter('millrace_pool_threads_replaced_total', {})
    metrics.reading('millrace_pool_threads', {}, () => threads)
    metrics.reading('millrace_pool_busy_threads', {}, () => this.#busy)
    metrics.reading('millrace_pool_queue_tasks', {}, () => Math.max(0, this.#out - threads))
    metrics.reading('millrace_pool_busy_seconds_total', {}, () => {
      this.#count(performance.now())
      return this.#busySeconds
    })
  }

  /** Passes on what a task comes to. Between its parts, when it waits to be asked for the next one, no thread is busy. */
  async *run<T>(parts: AsyncIterable<T>): AsyncIterable<T> {
    const asked = parts[Symbol.asyncIterator]()
    try {
      for (let part = await this.#timed(asked); !part.done; part = await this.#timed(asked)) yield part.value
    } finally {
      await asked.return?.()
    }
  }

  async #timed<T>(parts: AsyncIterator<T>): Promise<IteratorResult<T>> {
    const startedAt = performance.now()
    this.#count(startedAt)
    this.#out++
    try {
      const part = await parts.next()
      if (!part.done) this.#tasks.observe((performance.now() - startedAt) / 1000)
      return part
    } finally {
      this.#count(performance.now())
      this.#out--
    }
  }

  replaced(): void {
    this.#replaced.add(1)
  }

  get #busy(): number {
    return Math.min(this.#out, this.#threads)
  }

  #count(now: number): void {
    this.#busySeconds += (this.#busy * (now - this.#countedAt)) / 1000
    this.#countedAt = now
  }
}
