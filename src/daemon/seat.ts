// A processor's name among those of a data directory: the lowest seat that is free. Who dies leaves its seat at once,
// and its successor has the same name, so that what a broker gave to the name is given back without waiting.

import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
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
  await writeFile(file, randomBytes(6).toString('hex'), { flag: 'wx' }).catch((error) => {
    if (error.code !== 'EEXIST') throw error
  })
  for (;;) {
    const id = await readFile(file, 'utf8')
    if (id.length === 12) return id
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS)) // whoever made it is writing it
  }
}
