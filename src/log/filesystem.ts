// The part of a file system that the embedded log needs, as an interface: tests tear writes, fail syncs, fill the
// disk and cut the power behind it.

import { fdatasync, readSync, writevSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, stat, statfs, unlink } from 'node:fs/promises'

/** An open file. All offsets and lengths are bytes. */
export interface File {
  /** Writes all of the buffers, one behind the other. Not durable before `sync`. */
  write(buffers: Buffer[], position: number): Promise<void>
  /** Everything written so far is on disk when it resolves. When it rejects, what is on disk is not known. */
  sync(): Promise<void>
  /** Resolves with how many bytes were read: fewer than asked for at the end of the file. */
  read(buffer: Buffer, position: number): Promise<number>
  truncate(length: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

export interface FileSystem {
  /** `create` fails where the name exists; the others where it does not. */
  open(path: string, how: 'read' | 'write' | 'create'): Promise<File>
  /** Fails with ENOENT where `from` does not exist. Durable after `syncFolder`. */
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  list(folder: string): Promise<string[]>
  makeFolder(path: string): Promise<void>
  syncFolder(path: string): Promise<void>
  /** Unix milliseconds of the last change of a file's content. */
  changedAt(path: string): Promise<number>
  freeBytes(folder: string): Promise<number>
}

/** Up to so many bytes a copy from or to the page cache is cheaper than the way to a thread and back. */
const SYNC_BYTES_MAX = 64 * 1024

class RealFile implements File {
  readonly #handle: FileHandle
  constructor(handle: FileHandle) {
    this.#handle = handle
  }
  async write(buffers: Buffer[], position: number): Promise<void> {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    const small = bytes <= SYNC_BYTES_MAX
    const written = small
      ? writevSync(this.#handle.fd, buffers, position)
      : (await this.#handle.writev(buffers, position)).bytesWritten
    if (written < bytes) {
      await this.write([Buffer.concat(buffers).subarray(written)], position + written)
    }
  }
  sync(): Promise<void> {
    // Not the handle's own: that costs the main thread more than the call it makes.
    return new Promise((resolve, reject) => {
      fdatasync(this.#handle.fd, (error) => (error === null ? resolve() : reject(error)))
    })
  }
  async read(buffer: Buffer, position: number): Promise<number> {
    if (buffer.length <= SYNC_BYTES_MAX) return readSync(this.#handle.fd, buffer, 0, buffer.length, position)
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead
  }
  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length)
  }
  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }
  close(): Promise<void> {
    return this.#handle.close()
  }
}

const flags = { read: 'r', write: 'r+', create: 'wx+' } as const

export const realFileSystem: FileSystem = {
  open: async (path, how) => new RealFile(await open(path, flags[how])),
  rename,
  remove: unlink,
  list: (folder) => readdir(folder),
  makeFolder: async (path) => void (await mkdir(path, { recursive: true })),
  async syncFolder(path) {
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  changedAt: async (path) => (await stat(path)).mtimeMs,
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  },
}
