// A real Prometheus of a test's own: our configuration and rules, scraping often, on a free port of loopback.

import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { parse, stringify } from 'yaml'
import { fetchPrometheus } from '../../scripts/tools/prometheus.ts'
import { until } from '../until.ts'
import { atEnd, killQuietly, root, temporaryFolder } from './daemon.ts'

/** How often it scrapes, and works out its rules. */
export const SCRAPE_SECONDS = 1

/** What its log says of the address it got. */
const LISTENS = /msg="Listening on" address=(\S+)/

/** A series, with its values by Unix seconds. */
export interface Series {
  metric: Record<string, string>
  values: [at: number, value: string][]
}

export interface Rule {
  name: string
  type: 'recording' | 'alerting'
  query: string
  health: string
  lastError?: string
  state?: string
}

interface Answer {
  status: string
  data: unknown
  error?: string
}

interface Config {
  global: Record<string, string>
  rule_files: string[]
  scrape_configs: unknown[]
}

export class PrometheusServer {
  readonly #url: string

  private constructor(url: string) {
    this.#url = url
  }

  /** `jobs`: admin ports as host:port, by job: one for each data directory. It ends with the test. */
  static async start(t: TestContext, jobs: Record<string, string[]>): Promise<PrometheusServer> {
    const { prometheus } = await fetchPrometheus()
    const folder = await temporaryFolder(t)
    const home = join(root, 'grafana', 'prometheus')
    const config: Config = parse(await readFile(join(home, 'prometheus.yml'), 'utf8'))
    const every = `${SCRAPE_SECONDS}s`
    config.global = { scrape_interval: every, scrape_timeout: every, evaluation_interval: every }
    config.rule_files = config.rule_files.map((file) => join(home, file))
    config.scrape_configs = Object.entries(jobs).map(([job, targets]) => {
      return { job_name: job, static_configs: [{ targets }] }
    })
    await writeFile(join(folder, 'prometheus.yml'), stringify(config))
    const child = spawn(
      prometheus,
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        '--web.listen-address=127.0.0.1:0',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-16_384)
    })
    const exited = new Promise<void>((resolve) => {
      child
        .on('exit', () => resolve())
        .on('error', (error) => {
          said += error.message
          resolve()
        })
    })
    let over = false
    void exited.then(() => {
      over = true
    })
    atEnd(t, async () => {
      if (child.pid !== undefined && !over) killQuietly(child.pid)
      await exited
    })
    await until(() => {
      if (over) throw new Error(`prometheus ended:\n${said}`)
      return LISTENS.test(said)
    }, 'Prometheus to say where it listens')
    const server = new PrometheusServer(`http://${LISTENS.exec(said)![1]}`)
    await until(() => server.#ready(), 'Prometheus to be ready')
    return server
  }

  #ready(): Promise<boolean> {
    return fetch(`${this.#url}/-/ready`).then(
      async (response) => {
        await response.arrayBuffer()
        return response.ok
      },
      () => false,
    )
  }

  /** The series of a query as they are now, one value each. Throws what is wrong with the query. */
  async now(query: string): Promise<Series[]> {
    const { result } = (await this.#get('query', { query })) as {
      result: { metric: Record<string, string>; value: [number, string] }[]
    }
    return result.map(({ metric, value }) => ({ metric, values: [value] }))
  }

  /** The series of a query over the last seconds, a value a second, as a graph shows them. */
  async lately(query: string, seconds: number): Promise<Series[]> {
    const end = Date.now() / 1000
    const parameters = { query, start: String(end - seconds), end: String(end), step: '1' }
    return ((await this.#get('query_range', parameters)) as { result: Series[] }).result
  }

  /** The values that a label has among the series of a selector. */
  async labelValues(selector: string, label: string): Promise<string[]> {
    return (await this.#get(`label/${label}/values`, { 'match[]': selector })) as string[]
  }

  async rules(): Promise<Rule[]> {
    const { groups } = (await this.#get('rules', {})) as { groups: { rules: Rule[] }[] }
    return groups.flatMap(({ rules }) => rules)
  }

  /** What the last scrape of each target came to. */
  async targets(): Promise<{ scrapeUrl: string; health: string; lastError: string }[]> {
    const { activeTargets } = (await this.#get('targets', { state: 'active' })) as {
      activeTargets: { scrapeUrl: string; health: string; lastError: string }[]
    }
    return activeTargets
  }

  async #get(path: string, parameters: Record<string, string>): Promise<unknown> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    const { status, data, error } = (await response.json()) as Answer
    if (status !== 'success') throw new Error(`${parameters.query ?? path}: ${error}`)
    return data
  }
}
