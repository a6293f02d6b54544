// A lane's link: how its writer tells the reader what is durable, and the reader tells what is committed.
//
// The writer listens on a Unix socket named after the lane, the reader connects. A connection is also the proof that
// the writer lives, even while it is stopped and says nothing: when it is refused or ends, nothing more will come.
//
//   writer -> reader   f64 next sequence after the newest durable one; f64 bytes of all durable records,
//                      f64 events and f64 bodies in them
//   reader -> writer   f64 bytes of the records that are committed

import { rename, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'

const PATH_BYTES_MAX = 107
const REPORT_BYTES = 32
const COMMITTED_BYTES = 8
/** A reader is told no more often than this, milliseconds. */
const NEWS_INTERVAL_MS = 1

/** What a writer has made durable since it began. Everything below `sequence` is; the rest counts what that was. */
export interface Durable {
  sequence: number
  bytes: number
  events: number
  bodies: number
}

export const NOTHING: Durable = Object.freeze({ sequence: 0, bytes: 0, events: 0, bodies: 0 })

export interface LinkServer {
  /** As the reader has told last. */
  readonly committedBytes: number
  listen(): Promise<void>
  publish(durable: Durable): void
  close(): Promise<void>
}

/** The reader's end. */
export interface Link {
  /** As last heard, also when the writer has gone since. */
  readonly durable: Durable
  readonly alive: boolean
  committed(bytes: number): void
  close(): void
}

/**
 * A Unix socket that has its name only once it listens: between `bind` and `listen` a connection is refused, and a
 * reader that came just then would take the writer for dead.
 */
export class LaneSocket {
  readonly #path: string
  readonly #server: Server
  readonly #open = new Set<Socket>()

  constructor(path: string, connected: (socket: Socket) => void) {
    this.#path = path
    checkSocketPath(this.#unready)
    this.#server = createServer((socket) => {
      this.#open.add(socket)
      socket.on('error', () => {}) // 'close' follows
      socket.on('close', () => this.#open.delete(socket))
      connected(socket)
    })
  }

  get #unready(): string {
    return `${this.#path}.new`
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#unready, resolve)
    })
    this.#server.on('error', () => {}) // one connection that could not be taken: the reader comes again
    await rename(this.#unready, this.#path)
  }

  /** Does not wait for the other end, which may be stopped. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#open) socket.destroy()
    await closed
    await unlink(this.#path).catch(() => {})
  }
}

/** Sends a few numbers over and over. While the socket is behind, only the newest are kept. */
export class Newest {
  readonly #socket: Socket
  #waiting: readonly number[] | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('drain', () => {
      const numbers = this.#waiting
      this.#waiting = undefined
      if (numbers !== undefined) this.send(...numbers)
    })
  }

  send(...numbers: readonly number[]): void {
    if (this.#socket.destroyed) return
    if (this.#socket.writableNeedDrain) {
      this.#waiting = numbers
      return
    }
    const message = Buffer.allocUnsafe(8 * numbers.length)
    for (let i = 0; i < numbers.length; i++) message.writeDoubleLE(numbers[i], 8 * i)
    this.#socket.write(message)
  }
}

export class SocketLinkServer implements LinkServer {
  committedBytes = 0
  readonly #lane: LaneSocket
  #socket: Socket | undefined
  #reports: Newest | undefined
  #durable = NOTHING
  #told = NOTHING
  #telling: NodeJS.Timeout | undefined

  constructor(path: string) {
    this.#lane = new LaneSocket(path, (socket) => this.#connected(socket))
  }

  listen(): Promise<void> {
    return this.#lane.listen()
  }

  /** At once where the last news is old enough; a busy writer's reader is woken less often, and finds more. */
  publish(durable: Durable): void {
    this.#durable = durable
    if (this.#telling !== undefined) return
    this.#tell()
    this.#telling = setTimeout(() => {
      this.#telling = undefined
      if (this.#told !== this.#durable) this.publish(this.#durable)
    }, NEWS_INTERVAL_MS).unref()
  }

  #tell(): void {
    this.#told = this.#durable
    const { sequence, bytes, events, bodies } = this.#durable
    this.#reports?.send(sequence, bytes, events, bodies)
  }

  close(): Promise<void> {
    clearTimeout(this.#telling)
    return this.#lane.close()
  }

  /** There is one reader: who comes later has taken the place of who was there. */
  #connected(socket: Socket): void {
    this.#socket?.destroy()
    this.#socket = socket
    this.#reports = new Newest(socket)
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      this.#reports = undefined
    })
    cutMessages(socket, COMMITTED_BYTES, (message) => {
      this.committedBytes = message.readDoubleLE(0)
    })
    this.#tell()
  }
}

/**
 * Connects to a lane; `heard` is called at each news. Resolves with undefined where the writer is gone; rejects where
 * that cannot be told, as when this process has no descriptor left.
 */
export function connectLink(path: string, heard: () => void): Promise<Link | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    const commits = new Newest(socket)
    const link = {
      durable: NOTHING,
      alive: true,
      committed: (bytes: number) => commits.send(bytes),
      close: () => void socket.destroy(),
    }
    socket.on('connect', () => resolve(link))
    socket.on('error', (error) => {
      if (isGone(error)) resolve(undefined)
      else reject(error)
    })
    socket.on('close', () => {
      link.alive = false
      heard()
    })
    cutMessages(socket, REPORT_BYTES, (message) => {
      link.durable = {
        sequence: message.readDoubleLE(0),
        bytes: message.readDoubleLE(8),
        events: message.readDoubleLE(16),
        bodies: message.readDoubleLE(24),
      }
      heard()
    })
  })
}

/** Nobody listens there, or the name is not there at all: a writer that lives has both. */
export function isGone(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ECONNREFUSED' || code === 'ENOENT'
}

/** Cuts a stream into messages of one length. */
export function cutMessages(socket: Socket, bytes: number, take: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    const all = rest.length === 0 ? data : Buffer.concat([rest, data])
    let at = 0
    for (; at + bytes <= all.length; at += bytes) take(all.subarray(at, at + bytes))
    rest = all.subarray(at)
  })
}

/** The kernel's bound on a socket's name; past it the name would be cut off silently. */
function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new Error(`${path} is too long for a socket (${PATH_BYTES_MAX} bytes): set a shorter dataDir`)
  }
}
