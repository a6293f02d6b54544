// Chromium for the tests of the console: the one on the PATH, or Debian's where a machine exists to run tests (CI=true).

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { onPath } from './on-path.ts'

const run = promisify(execFile)

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome']
/** With a font that screenshots look the same in everywhere. */
const packages = ['chromium', 'fonts-inter']

/** Path of the program, or why there is none. Rejects where CI=true and it could not be installed. */
export async function findChromium(): Promise<{ path: string } | { missing: string }> {
  const path = installed()
  if (path !== undefined) return { path }
  const missing = `no ${names[0]} on the PATH: apt-get install ${packages.join(' ')}`
  if (process.env.CI !== 'true') return { missing }
  if (process.getuid?.() !== 0) throw new Error(`${missing}, as root`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['update', '-q'], { env })
  await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { env })
  const now = installed()
  if (now === undefined) throw new Error(`${packages[0]} was installed, and is not on the PATH`)
  return { path: now }
}

function installed(): string | undefined {
  return names.map(onPath).find((path) => path !== undefined)
}
