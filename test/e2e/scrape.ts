// /metrics as a reader of the text sees it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fetchPrometheus } from '../../scripts/tools/prometheus.ts'
import type { Daemon } from './daemon.ts'

export class Scrape {
  readonly text: string
  /** From the request to the last byte. */
  readonly ms: number
  /** Values by series, as they stand in the text. */
  readonly values = new Map<string, number>()
  /** By name of the family. */
  readonly types = new Map<string, string>()

  constructor(text: string, ms: number) {
    this.text = text
    this.ms = ms
    for (const line of text.split('\n')) {
      const type = /^# TYPE (\S+) (\S+)$/.exec(line)
      if (type !== null) this.types.set(type[1], type[2])
      const sample = /^([^#\s][^{\s]*(?:\{.*\})?) (\S+)$/.exec(line)
      if (sample !== null) this.values.set(sample[1], Number(sample[2]))
    }
  }

  static async of(daemon: Daemon, accept = 'text/plain'): Promise<Scrape> {
    const began = performance.now()
    const response = await fetch(`${daemon.admin}/metrics`, { headers: { accept } })
    const text = await response.text()
    if (!response.ok) throw new Error(`/metrics ${response.status}: ${text}`)
    return new Scrape(text, performance.now() - began)
  }

  /** The sum of all series of this name that have these labels, written as in the text. */
  total(name: string, ...labels: string[]): number {
    return this.#series(name, labels).reduce((sum, [, value]) => sum + value, 0)
  }

  has(name: string, ...labels: string[]): boolean {
    return this.#series(name, labels).length > 0
  }

  /** Series that may only rise. */
  *rising(): Iterable<[series: string, value: number]> {
    for (const [series, value] of this.values) {
      const name = series.split('{')[0]
      const family = name.replace(/_(bucket|sum|count)$/, '')
      if (this.types.get(name) === 'counter' || this.types.get(family) === 'histogram') yield [series, value]
    }
  }

  #series(name: string, labels: string[]): [string, number][] {
    return [...this.values].filter(
      ([series]) => series.split('{')[0] === name && labels.every((label) => series.includes(label)),
    )
  }
}

/** What `promtool check metrics` has to say of it; empty where all is well. */
export async function promtoolCheck({ text }: Scrape): Promise<string> {
  const { promtool } = await fetchPrometheus()
  const child = spawn(promtool, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (more: string) => {
      said += more
    })
  }
  child.stdin.end(text)
  const [code] = await once(child, 'close')
  return code === 0 ? said : `exit code ${code}: ${said}`
}
