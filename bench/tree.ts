// A git reference, checked out beside this tree and built, and removed again.

import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from './daemon.ts'

export interface Tree {
  /** As asked for, and the commit that it was. */
  ref: string
  commit: string
  subject: string
  folder: string
}

/** Everything that is checked out lies here. */
export class Trees {
  readonly #folder = mkdtempSync(join(tmpdir(), 'millrace-compare-'))
  readonly #trees: Tree[] = []
  readonly #onExit = () => this.remove()

  constructor() {
    process.on('exit', this.#onExit)
  }

  /** `ref`: of this repository; `.` is this tree as it lies there, uncommitted changes and all. */
  async add(ref: string): Promise<Tree> {
    const here = ref === '.'
    const [commit, subject] = git('show', '-s', '--format=%h%n%s', here ? 'HEAD' : ref)
      .trim()
      .split('\n')
    if (here) {
      await run(root, 'npm', 'run', '-s', 'build')
      return { ref: 'this tree', commit: `${commit} and what is not committed`, subject, folder: root }
    }
    const folder = join(this.#folder, String(this.#trees.length))
    git('worktree', 'add', '--detach', '--force', folder, commit)
    this.#trees.push({ ref, commit, subject, folder })
    await this.#install(folder)
    await run(folder, 'npm', 'run', '-s', 'build')
    return this.#trees.at(-1)!
  }

  /** Packages of the same lock file are linked, not installed again: nobody writes to them. */
  async #install(folder: string): Promise<void> {
    const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8')
    const same = [root, ...this.#trees.map((tree) => tree.folder)].find(
      (other) => other !== folder && readFileSync(join(other, 'package-lock.json'), 'utf8') === lock,
    )
    if (same === undefined) {
      await run(folder, 'npm', 'ci', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error')
      return
    }
    const [from, to] = [join(same, 'node_modules'), join(folder, 'node_modules')]
    try {
      await run(folder, 'cp', '-al', from, to)
    } catch {
      rmSync(to, { recursive: true, force: true }) // another file system: no links
      await run(folder, 'cp', '-a', from, to)
    }
  }

  /** May be called twice. */
  remove(): void {
    process.off('exit', this.#onExit)
    rmSync(this.#folder, { recursive: true, force: true })
    git('worktree', 'prune', '--expire=now')
  }
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** What the command prints is shown only where it fails. */
function run(cwd: string, command: string, ...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    const end = () => child.kill()
    process.once('exit', end)
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        said += part
      })
    }
    child.on('error', reject)
    child.on('close', (code) => {
      process.off('exit', end)
      if (code === 0) resolve()
      else reject(new Error(`${command} ${args.join(' ')} in ${cwd} ended with ${code}:\n${said}`))
    })
  })
}
