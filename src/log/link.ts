// A lane's link: how its writer tells the reader what is durable, and the reader tells what is committed.
//
// The writer listens on a Unix socket named after the lane, the reader connects. A connection is also the proof that
// the writer lives: when it is refused or ends, nothing more will come.
//
//   writer -> reader   f64 next sequence after the newest durable one, f64 bytes of all durable records
//   reader -> writer   f64 bytes of the records that are committed

import { rename, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'

const PATH_BYTES_MAX = 107 - '.new'.length
const REPORT_BYTES = 16
const COMMITTED_BYTES = 8

export interface LinkServer {
  /** As the reader has told last. */
  readonly committedBytes: number
  listen(): Promise<void>
  /** Everything below this sequence is durable: so many bytes of records. */
  publish(sequence: number, bytes: number): void
  close(): Promise<void>
}

/** The reader's end. */
export interface Link {
  /** Everything below is durable, as last heard. */
  readonly durable: number
  /** Bytes of these records. */
  readonly durableBytes: number
  readonly alive: boolean
  committed(bytes: number): void
  close(): void
}

export class SocketLinkServer implements LinkServer {
  committedBytes = 0
  readonly #path: string
  readonly #server: Server
  #socket: Socket | undefined
  #durable = 0
  #durableBytes = 0
  #behind = false

  constructor(path: string) {
    this.#path = path
    this.#server = createServer((socket) => this.#connected(socket))
  }

  listen(): Promise<void> {
    return listenAt(this.#server, this.#path)
  }

  publish(sequence: number, bytes: number): void {
    this.#durable = sequence
    this.#durableBytes = bytes
    // While the socket is behind, only the newest number is worth sending.
    if (this.#socket !== undefined && !this.#behind) this.#send(this.#socket)
  }

  async close(): Promise<void> {
    this.#socket?.end()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await unlink(this.#path).catch(() => {})
  }

  #send(socket: Socket): void {
    const report = Buffer.allocUnsafe(REPORT_BYTES)
    report.writeDoubleLE(this.#durable, 0)
    report.writeDoubleLE(this.#durableBytes, 8)
    this.#behind = !socket.write(report)
  }

  #connected(socket: Socket): void {
    this.#socket?.destroy()
    this.#socket = socket
    socket.on('drain', () => this.#send(socket))
    socket.on('error', () => {})
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
    })
    cutMessages(socket, COMMITTED_BYTES, (message) => {
      this.committedBytes = message.readDoubleLE(0)
    })
    this.#send(socket)
  }
}

/** Connects to a lane. Resolves with undefined where its writer is gone; `heard` is called at each news. */
export function connectLink(path: string, heard: () => void): Promise<Link | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path)
    const link = {
      durable: 0,
      durableBytes: 0,
      alive: true,
      committed(bytes: number) {
        if (!link.alive) return
        const message = Buffer.allocUnsafe(COMMITTED_BYTES)
        message.writeDoubleLE(bytes)
        socket.write(message)
      },
      close: () => void socket.destroy(),
    }
    socket.on('error', () => resolve(undefined))
    socket.on('close', () => {
      link.alive = false
      resolve(undefined)
      heard()
    })
    cutMessages(socket, REPORT_BYTES, (message) => {
      link.durable = message.readDoubleLE(0)
      link.durableBytes = message.readDoubleLE(8)
      resolve(link) // not before the first report: what is durable is known then
      heard()
    })
  })
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

/** The kernel's bound on a socket's name is 107 bytes; past it the name would be cut off silently. */
export function checkSocketPath(path: string): void {
  if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
    throw new Error(`${path} is too long for a socket (${PATH_BYTES_MAX} bytes): set a shorter dataDir`)
  }
}

/**
 * Listens on a socket that appears under its name only when it takes connections: between a socket's making and its
 * listening a connection is refused, as if the process behind it were gone.
 */
export async function listenAt(server: Server, path: string): Promise<void> {
  checkSocketPath(path)
  const unborn = `${path}.new`
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(unborn, resolve)
  })
  await rename(unborn, path)
}
