// A process that the bench starts, with a folder of its own, and ends however the bench ends.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const READY_MS_MAX = 20_000
const TAIL_CHARACTERS = 4096

// `exit` ends what runs and removes its folders; a signal by itself would not come to that.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

export class Child {
  readonly pid: number
  readonly #child: ChildProcess
  readonly #gone: Promise<unknown>
  readonly #end: () => void
  #said = ''
  #lines: string[] = []

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child
    this.pid = child.pid!
    this.#gone = new Promise((resolve) => child.once('exit', resolve))
    this.#end = () => {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
    }
    process.once('exit', this.#end)
    child.stdout!.setEncoding('utf8').on('data', (text: string) => this.#hear(text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#hear(text))
  }

  /** `command`: program and words, given the child's folder. */
  static async start(command: (folder: string) => string[]): Promise<{ child: Child; folder: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-peer-'))
    const words = command(folder)
    // With its parent gone, however it went, the process goes too (Linux).
    const [program, ...rest] = existsSync('/usr/bin/setpriv')
      ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL', ...words]
      : words
    const process = spawn(program, rest, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    await new Promise((resolve, reject) => process.once('spawn', resolve).once('error', reject))
    return { child: new Child(process, folder), folder }
  }

  #hear(text: string): void {
    this.#said = (this.#said + text).slice(-TAIL_CHARACTERS)
    this.#lines = this.#said.split('\n').slice(0, -1) // what comes after the last break is not whole
  }

  /** The address that it prints, as a line of its own. */
  address(): string | undefined {
    return this.#lines.find((line) => line.startsWith('http://'))
  }

  /** Waits until `ready` is not undefined; throws with what the process said when it ends before. */
  async until<Found>(ready: () => Found | undefined): Promise<Found> {
    const deadline = performance.now() + READY_MS_MAX
    for (;;) {
      const found = ready()
      if (found !== undefined) return found
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        throw new Error(`a peer ended at its start: ${this.#said}`)
      }
      if (performance.now() > deadline) throw new Error(`a peer did not start: ${this.#said}`)
      await wait(10)
    }
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL')
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.#gone
    process.off('exit', this.#end)
    this.#end()
  }
}
