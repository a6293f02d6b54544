// Prometheus and promtool, for tests and for looking at the metrics: those on the PATH, or Debian's package unpacked once
// into .cache. It is not installed: no service is started, and root is needed only where apt has no package lists yet.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { onPath } from './on-path.ts'

const run = promisify(execFile)

const cache = resolve(import.meta.dirname, '../../..', '.cache')
const HOW = 'install Debian’s package prometheus, or put prometheus and promtool on the PATH'

/** Paths of the programs. */
export interface Prometheus {
  prometheus: string
  promtool: string
}

/** Rejects where they cannot be had here. Several processes may ask at the same time: each renames a whole folder. */
export async function fetchPrometheus(): Promise<Prometheus> {
  const prometheus = onPath('prometheus')
  const promtool = onPath('promtool')
  if (prometheus !== undefined && promtool !== undefined) return { prometheus, promtool }
  const home = join(cache, 'prometheus')
  if (!existsSync(home)) {
    await unpack(home).catch((error: Error) => {
      throw new Error(`prometheus could not be fetched with apt-get: ${HOW} (${error.message})`, {
        cause: error,
      })
    })
  }
  const program = (name: string) => join(home, 'usr', 'bin', name)
  return { prometheus: program('prometheus'), promtool: program('promtool') }
}

/** Why they cannot be had, for a test to be left out by; undefined where they can, and always where CI is set to true. */
export async function prometheusMissing(): Promise<string | undefined> {
  if (process.env.CI === 'true') return undefined
  return fetchPrometheus().then(
    () => undefined,
    (error: Error) => error.message,
  )
}

async function unpack(home: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'prometheus-fetch-'))
  try {
    const download = () => run('apt-get', ['download', '-q', 'prometheus'], { cwd: folder })
    await download().catch(async (error: Error) => {
      if (process.getuid?.() !== 0) throw error
      await run('apt-get', ['update', '-q'])
      await download()
    })
    const file = (await readdir(folder)).find((name) => name.endsWith('.deb'))
    if (file === undefined) throw new Error('apt-get left no package')
    await run('dpkg-deb', ['-x', join(folder, file), join(folder, 'whole')])
    await rename(join(folder, 'whole'), home).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error // another process was first
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
