// Starts what is measured, on free ports and a folder of its own, and ends it: the built daemon of this tree or of
// another one, or the floor.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

export const root = resolve(import.meta.dirname, '../..')

export interface Status {
  accepted: { events: number }
  processed: { events: number; duplicates: { events: number } }
  lag: { events: number; bytes: number; seconds: number }
  roles?: { role: string; pid: number }[]
  reload?: { outcome: string; seconds: number }
}

interface Ready {
  http: string
  grpc?: string
  admin?: string
}

// What is to be ended and removed is so when this process exits, which a signal alone would not make it do.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export class Daemon {
  readonly #child: ChildProcess
  readonly folder: string
  readonly http: string
  /** `host:port`, where there is a gateway. */
  readonly grpc: string
  /** Of the admin port; empty where there is none. */
  readonly admin: string
  readonly pid: number

  private constructor(child: ChildProcess, folder: string, ready: Ready) {
    this.#child = child
    this.folder = folder
    this.http = ready.http
    this.grpc = ready.grpc ?? ''
    this.admin = ready.admin ?? ''
    this.pid = child.pid!
  }

  /** `sets`: configuration as `--set` takes it. `tree`: where `dist` is. `under`: a command that runs it. */
  static start(sets: string[] = [], tree = root, under: string[] = []): Promise<Daemon> {
    return Daemon.#spawn((folder) => {
      const settings = [`dataDir=${folder}`, 'http.listen=127.0.0.1:0', 'admin.listen=127.0.0.1:0', ...sets]
      // An older tree has no gateway to do without.
      if (existsSync(join(tree, 'dist', 'grpc'))) settings.unshift('grpc=none')
      return [join(tree, 'dist', 'index.js'), 'start', ...settings.flatMap((setting) => ['--set', setting])]
    }, under)
  }

  /** The pipeline without features; `listeners`: one for each core when absent. */
  static floor(listeners?: number): Promise<Daemon> {
    const script = join(import.meta.dirname, 'floor', 'index.js')
    return Daemon.#spawn((folder) => [script, folder, ...(listeners === undefined ? [] : [`${listeners}`])])
  }

  /** A server that takes requests and drops them. */
  static drop(): Promise<Daemon> {
    return Daemon.#spawn(() => [join(import.meta.dirname, 'floor', 'drop.js')])
  }

  static async #spawn(command: (folder: string) => string[], under: string[] = []): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
    const [program, ...words] = [...under, process.execPath, ...command(folder)]
    const child = spawn(program, words, {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    // Should this process end before its time, it leaves nothing running.
    const end = () => {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    }
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    for await (const line of createInterface({ input: child.stderr! })) {
      const said = parsed(line)
      if (said?.msg === 'ready') {
        child.stderr!.resume()
        return new Daemon(child, folder, said)
      }
      if (said === undefined || said.level >= 50) console.error(line)
    }
    await rm(folder, { recursive: true, force: true })
    throw new Error('what is to be measured did not start')
  }

  async status(): Promise<Status> {
    return (await fetch(`${this.http}/v1/status`)).json() as Promise<Status>
  }

  /** Asks for the metrics each second, as Prometheus may, until the function that is returned is called. */
  scrape(): () => void {
    const ask = async () => (await fetch(`${this.admin}/metrics`)).arrayBuffer()
    const timer = setInterval(() => void ask().catch(() => {}), 1000)
    return () => clearInterval(timer)
  }

  /** Waits until nothing waits to be processed, `msMax` at most. The milliseconds it took; NaN where it was not enough. */
  async caughtUp(msMax = Number.POSITIVE_INFINITY): Promise<number> {
    const started = performance.now()
    while ((await this.status()).lag.events > 0) {
      if (performance.now() - started > msMax) return Number.NaN
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return performance.now() - started
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM')
      await exited
    }
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Undefined where the line is not JSON. */
function parsed(line: string): ({ msg?: string; level: number } & Ready) | undefined {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
