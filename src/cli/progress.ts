// How far `millrace send` is, on standard error: a bar on a terminal, a line now and then elsewhere.

import type { Io } from './command.ts'
import { formatNumber, formatRate } from './table.ts'

const BAR_MS = 100
const LINE_MS = 5_000
const BAR_CHARACTERS = 24

/** Events acknowledged, bodies sent again, and the time it took so far. */
export interface Summary {
  acked: number
  retries: number
  seconds: number
}

export class Progress {
  readonly #stream: Io['stderr']
  readonly #summary: () => Summary
  readonly #timer: NodeJS.Timeout
  /** How much of the input was read, 0 to 1; undefined when its size is not known. */
  fraction: number | undefined

  constructor(stream: Io['stderr'], summary: () => Summary) {
    this.#stream = stream
    this.#summary = summary
    this.#timer = setInterval(() => this.#show(), stream.isTTY ? BAR_MS : LINE_MS)
    this.#timer.unref()
  }

  /** Nothing more is shown, and the bar is wiped. */
  end(): void {
    clearInterval(this.#timer)
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K')
  }

  #show(): void {
    const { acked, retries, seconds } = this.#summary()
    const parts = [`${formatNumber(acked)} acked`, `${formatRate(acked / seconds)} events/s`]
    if (retries > 0) parts.push(`${formatNumber(retries)} retries`)
    if (this.fraction !== undefined) parts.unshift(`${Math.floor(this.fraction * 100)} %`.padStart(5))
    const text = parts.join('  ')
    if (!this.#stream.isTTY) {
      this.#stream.write(`${text.trimStart()}\n`)
      return
    }
    const line = this.fraction === undefined ? text : `${bar(this.fraction)} ${text}`
    this.#stream.write(`\r${line.slice(0, (this.#stream.columns ?? 80) - 1)}\u001b[K`)
  }
}

function bar(fraction: number): string {
  const full = Math.round(fraction * BAR_CHARACTERS)
  return '█'.repeat(full) + '░'.repeat(BAR_CHARACTERS - full)
}
