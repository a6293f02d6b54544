// Starts the built daemon on free ports and a folder of its own, and ends it.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

export const root = resolve(import.meta.dirname, '../..')

export interface Status {
  accepted: { events: number }
  processed: { events: number; duplicates: { events: number } }
  lag: { events: number; bytes: number; seconds: number }
}

export class Daemon {
  readonly #child: ChildProcess
  readonly #folder: string
  readonly http: string
  readonly pid: number

  private constructor(child: ChildProcess, folder: string, http: string) {
    this.#child = child
    this.#folder = folder
    this.http = http
    this.pid = child.pid!
  }

  /** `sets`: configuration as `--set` takes it. */
  static async start(sets: string[] = []): Promise<Daemon> {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-'))
    const settings = [`dataDir=${folder}`, 'http.listen=127.0.0.1:0', 'admin.listen=127.0.0.1:0', ...sets]
    const child = spawn(
      process.execPath,
      [join(root, 'dist', 'index.js'), 'start', ...settings.flatMap((setting) => ['--set', setting])],
      { cwd: folder, stdio: ['ignore', 'inherit', 'pipe'] },
    )
    for await (const line of createInterface({ input: child.stderr! })) {
      const said = JSON.parse(line)
      if (said.msg === 'ready') {
        child.stderr!.resume()
        return new Daemon(child, folder, said.http)
      }
      if (said.level >= 50) console.error(line)
    }
    await rm(folder, { recursive: true, force: true })
    throw new Error('the daemon did not start')
  }

  async status(): Promise<Status> {
    return (await fetch(`${this.http}/v1/status`)).json() as Promise<Status>
  }

  /** Waits until nothing waits to be processed. Returns the milliseconds it took. */
  async caughtUp(): Promise<number> {
    const started = performance.now()
    while ((await this.status()).lag.events > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    return performance.now() - started
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    await exited
    await rm(this.#folder, { recursive: true, force: true })
  }
}
