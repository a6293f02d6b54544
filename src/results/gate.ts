// Who opens a store and who commits to it take turns, which LMDB does not see to: a process that opens an environment
// while another one commits may take its count of commits back, and the next commit is then written over the last one
// (LMDB's ITS#9496); one that opens it while the last other one closes it finds its locks destroyed (ITS#10095).
// lmdb-js has both.
//
//   who opens                                      the owner
//     leaves a file in the store's folder            makes a socket in it, and waits until those files are gone
//     connects to the socket
//                                                    finishes its commit and makes no other
//     opens, when it is sent a byte               ◄─ sends a byte
//     disconnects, removes the file               ─► commits again
//
// The file is for an owner whose socket was not there yet when it was looked for. A connection ends with its process, so
// nobody waits for one that was killed; a file that is left behind, and whoever is stopped, are waited for a while only:
// a commit that this loses is noticed by the next one, which is refused (see Store).

import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { OPENERS_MAX, OPENING_MS_MAX, OWNER_HOLDS_MS_MAX } from '../limits.ts'

/** Short, so that they fit wherever a processor's seat fits: a path of a socket has about 100 bytes. */
const GATE = '.g'
const MADE = '.n'
const OPENER = '.o'
const OPENER_CHECK_MS = 2
const GO = Buffer.of(1)
/** An owner that ends, or an opener that stood still, makes it begin again. */
const TRIES = 5
const TRY_MS = 10

/** The owner's side. */
export class CommitGate {
  readonly #server: Server
  readonly #path: string
  /** Everyone who is connected. */
  readonly #openers = new Set<Socket>()
  /** Those who may be opening. */
  readonly #opening = new Map<Socket, NodeJS.Timeout>()
  #committing = false
  /** Of the commit that waits for them. */
  #goOn: (() => void) | undefined

  /** Before the first commit of this process to the store in `folder`. */
  static async open(folder: string): Promise<CommitGate> {
    const name = nameIn(folder)
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // Workers of one primary share what they listen on, unless they ask for it alone.
      server.listen({ path: name + MADE, exclusive: true }, resolve)
    })
    server.on('error', () => {}) // one that cannot be accepted comes again
    const gate = new CommitGate(server, name + GATE)
    renameSync(name + MADE, name + GATE) // whoever sees it finds it listening, or dead
    await passed(folder)
    return gate
  }

  private constructor(server: Server, path: string) {
    this.#server = server.unref()
    this.#path = path
    server.on('connection', (socket) => this.#arrived(socket))
  }

  /** Resolves when nobody is opening the store, and nobody may until `leave`. One at a time. */
  async enter(): Promise<void> {
    while (this.#opening.size > 0) {
      await new Promise<void>((resolve) => {
        this.#goOn = resolve
      })
    }
    this.#goOn = undefined
    this.#committing = true
  }

  leave(): void {
    this.#committing = false
    for (const socket of this.#openers) this.#admit(socket)
  }

  /** Calls `closeStore` while nobody opens it, and is gone. */
  async close(closeStore: () => Promise<void>): Promise<void> {
    await this.enter()
    try {
      await closeStore()
    } finally {
      rmSync(this.#path, { force: true })
      this.#server.close()
      for (const socket of this.#openers) socket.destroy()
    }
  }

  #arrived(socket: Socket): void {
    socket.on('error', () => {}) // 'close' follows
    if (this.#openers.size >= OPENERS_MAX) {
      socket.destroy() // it comes again
      return
    }
    this.#openers.add(socket.unref().resume())
    socket.once('close', () => {
      this.#openers.delete(socket)
      clearTimeout(this.#opening.get(socket))
      this.#opening.delete(socket)
      if (this.#opening.size === 0) this.#goOn?.()
    })
    if (!this.#committing && this.#goOn === undefined) this.#admit(socket)
  }

  #admit(socket: Socket): void {
    this.#opening.set(
      socket,
      setTimeout(() => socket.destroy(), OPENING_MS_MAX),
    )
    socket.write(GO)
  }
}

/** Resolves when those are over who may have looked for gates before. */
async function passed(folder: string): Promise<void> {
  const deadline = performance.now() + OPENING_MS_MAX
  for (const file of filesIn(folder, OPENER)) {
    while (existsSync(file) && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, OPENER_CHECK_MS))
    }
    rmSync(file, { force: true }) // of a process that was killed
  }
}

/** On a full or read-only disk it goes without. */
function leave(file: string): void {
  try {
    writeFileSync(file, '')
  } catch {}
}

function filesIn(folder: string, suffix: string): string[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(suffix))
  return names.map((name) => join(folder, name))
}

/** One that nobody has. */
function nameIn(folder: string): string {
  for (;;) {
    const name = join(folder, randomBytes(2).toString('hex'))
    if (![GATE, MADE, OPENER].some((suffix) => existsSync(name + suffix))) return name
  }
}

/** The other side: calls `open`, which opens the store in `folder`, while nobody commits to it. */
export async function whileNobodyCommits<T>(folder: string, open: () => T): Promise<T> {
  const stopped = new Set<string>()
  for (let left = TRIES; ; left--) {
    const file = nameIn(folder) + OPENER
    let holds: Socket[] = []
    try {
      leave(file)
      const asked = filesIn(folder, GATE).filter((gate) => !stopped.has(gate))
      const answers = await Promise.all(asked.map((gate) => ask(gate, stopped)))
      holds = answers.filter((answer) => answer !== undefined)
      // Where this process stood still, it hears only now that its time was over.
      await new Promise(setImmediate)
      const isHeld = holds.every((hold) => !hold.destroyed)
      const isNew = (gate: string) => !asked.includes(gate) && !stopped.has(gate)
      if (left === 0 || (isHeld && !filesIn(folder, GATE).some(isNew))) return open()
    } finally {
      for (const hold of holds) hold.destroy()
      rmSync(file, { force: true })
    }
    await new Promise((resolve) => setTimeout(resolve, TRY_MS))
  }
}

/**
 * Resolves to the connection that holds its commits, to undefined where nothing commits, or to one that is destroyed: ask
 * again. Puts an owner that does not answer among the `stopped`.
 */
function ask(path: string, stopped: Set<string>): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const patience = setTimeout(() => {
      stopped.add(path)
      resolve(undefined)
      socket.destroy()
    }, OWNER_HOLDS_MS_MAX)
    socket.once('data', () => {
      clearTimeout(patience)
      resolve(socket)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') rmSync(path, { force: true }) // its owner was killed
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined)
    })
    socket.once('close', () => {
      clearTimeout(patience)
      resolve(socket)
    })
  })
}
