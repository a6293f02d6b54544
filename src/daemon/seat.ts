// A processor's name among those of a data directory: the lowest seat that is free. Who dies leaves its seat at once,
// and its successor has the same name, so that what a broker gave to the name is given back without waiting.

import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from './lock.ts'

const RETRY_MS = 50

export interface Seat {
  number: number
  /** The same for this seat of this data directory for ever, and for no other. */
  name: string
  leave(): Promise<void>
}

/** One of `seats`; waits up to `patienceMs` for one to be left. */
export async function takeSeat(dataDir: string, seats: number, patienceMs: number): Promise<Seat> {
  const folder = join(dataDir, 'processors')
  await mkdir(folder, { recursive: true })
  const id = await identity(dataDir)
  const deadline = Date.now() + patienceMs
  for (;;) {
    for (let number = 0; number < seats; number++) {
      const leave = await tryLock(join(folder, `${number}.sock`))
      if (leave !== undefined) return { number, name: `${id}-${number}`, leave }
    }
    if (Date.now() > deadline) {
      throw new Error(
        `${folder}: every place is taken: ${seats} processors are running on this data directory`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** What tells this data directory from others. */
async function identity(dataDir: string): Promise<string> {
  const file = join(dataDir, 'id')
  for (;;) {
    const id = await readFile(file, 'utf8').catch(() => undefined)
    if (id !== undefined && /^[0-9a-f]{12}$/.test(id)) return id
    // Whole and on disk before it has its name: no power cut leaves an empty one. Of several processes one wins.
    const made = `${file}.${randomBytes(6).toString('hex')}`
    await writeFile(made, randomBytes(6).toString('hex'), { flush: true })
    if (id === undefined) await link(made, file).catch(ignoreExisting)
    else await rename(made, file)
    await rm(made, { force: true })
  }
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}
