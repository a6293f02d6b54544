// The peers' packages, which are no dependencies of the project: installed once into .cache/peers from the lock file in
// packages/.

import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '../../..')
const source = join(root, 'bench', 'peers', 'packages')
const cache = join(root, '.cache', 'peers')

/** Loads a package of the peers: Fastify, ioredis or better-sqlite3. */
export const requirePeer = createRequire(join(cache, 'package.json'))

/** Installs them where that is not done yet. Needs npm, and a C++ compiler where better-sqlite3 has no binary to offer. */
export async function installPeers(): Promise<void> {
  const lock = await readFile(join(source, 'package-lock.json'))
  const installed = join(cache, `installed-${createHash('sha256').update(lock).digest('hex').slice(0, 16)}`)
  if (existsSync(installed)) return
  console.error('installing the peers into .cache/peers, once; where better-sqlite3 is compiled, for minutes')
  await rm(cache, { recursive: true, force: true })
  await mkdir(cache, { recursive: true })
  await copyFile(join(source, 'package.json'), join(cache, 'package.json'))
  await copyFile(join(source, 'package-lock.json'), join(cache, 'package-lock.json'))
  await copyFile(join(root, '.npmrc'), join(cache, '.npmrc'))
  const npm = spawn('npm', ['ci', '--loglevel=error'], { cwd: cache, stdio: ['ignore', 'ignore', 'inherit'] })
  const code = await new Promise((resolve, reject) => npm.once('exit', resolve).once('error', reject))
  if (code !== 0) throw new Error(`npm ci of the peers failed with ${code}`)
  await writeFile(installed, '')
}

/** Throws where better-sqlite3 is not there or does not run. In a process of its own: a wrong binary ends it. */
export async function checkSqlite(): Promise<void> {
  const open = "new (require('better-sqlite3'))(':memory:').exec('select 1')"
  try {
    await promisify(execFile)(process.execPath, ['-e', open], { cwd: cache })
  } catch (cause) {
    const how = 'it needs a C++ compiler and the headers of this Node; remove .cache/peers and try again'
    throw new Error(`better-sqlite3 does not run here: ${how}`, { cause })
  }
}
