// Latencies in log-linear buckets: 64 to an octave of microseconds, so a quantile is right to 1.6 %.

const PER_OCTAVE = 64

export class Histogram {
  readonly #counts = new Float64Array(PER_OCTAVE * 40)
  count = 0
  max = 0

  record(ms: number): void {
    const us = Math.max(1, ms * 1000)
    const octave = Math.floor(Math.log2(us))
    const within = Math.floor((us / 2 ** octave - 1) * PER_OCTAVE)
    this.#counts[octave * PER_OCTAVE + within]++
    this.count++
    this.max = Math.max(this.max, ms)
  }

  /** Milliseconds below which this part (0 to 1) of the latencies is. */
  quantile(part: number): number {
    let left = Math.ceil(part * this.count)
    for (let i = 0; i < this.#counts.length; i++) {
      left -= this.#counts[i]
      if (left <= 0 && this.#counts[i] > 0) {
        return (2 ** Math.floor(i / PER_OCTAVE) * (1 + ((i % PER_OCTAVE) + 0.5) / PER_OCTAVE)) / 1000
      }
    }
    return this.max
  }
}
