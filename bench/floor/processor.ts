// The floor's processor: reads what the listeners have flushed, sums it up, and puts the rows and how far it has read
// into LMDB. One thread: what it does takes a fraction of a core.

import { openSync, readSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { open } from 'lmdb'
import { Fold, STATS } from './fold.ts'
import { onMessage, PROCESSOR_SOCKET, tell } from './link.ts'
import { HEAD_BYTES } from './ring.ts'

/** As in the daemon: under load many writes share one commit. */
const COMMIT_INTERVAL_MS_MIN = 10

/** Rows touched and not committed, past which reading waits: with a million subjects a commit would take seconds. */
const DIRTY_ROWS_MAX = 65_536

interface Lane {
  socket: Socket
  fd: number
  /** Writes read, and of them committed. */
  read: number
  committed: number
}

interface Write {
  lane: Lane
  at: number
  bytes: number
  events: number
}

export async function startProcessor(dir: string): Promise<void> {
  const root = open({ path: join(dir, 'results'), maxDbs: 2 })
  const rows = root.openDB<Buffer, Buffer>('rows', { encoding: 'binary', keyEncoding: 'binary' })
  const positions = root.openDB<number, number>('positions', { keyEncoding: 'uint32' })
  const fold = new Fold()
  const lanes: Lane[] = []
  /** Flushed and not read; no more than the rings hold. */
  const waiting: Write[] = []
  let accepted = 0
  let folded = 0
  let processed = 0
  let memory = Buffer.allocUnsafeSlow(1024 * 1024)
  let view = new DataView(memory.buffer)
  let committing = false
  let startedAt = 0

  const read = ({ lane, at, bytes, events }: Write): void => {
    if (bytes > memory.length) {
      memory = Buffer.allocUnsafeSlow(bytes * 2)
      view = new DataView(memory.buffer)
    }
    readSync(lane.fd, memory, 0, bytes, at)
    fold.add(memory, view, HEAD_BYTES, HEAD_BYTES + memory.readUInt32LE(0))
    lane.read++
    folded += events
  }

  const readOn = (): void => {
    let n = 0
    while (n < waiting.length && fold.dirtyRows < DIRTY_ROWS_MAX) read(waiting[n++])
    waiting.splice(0, n)
    if (committing || folded === processed) return
    committing = true
    setTimeout(commit, Math.max(0, startedAt + COMMIT_INTERVAL_MS_MIN - performance.now()))
  }

  const commit = async (): Promise<void> => {
    startedAt = performance.now()
    const until = folded
    const read = lanes.map((lane) => lane.read)
    let last: Promise<unknown> = Promise.resolve()
    const values = Buffer.allocUnsafeSlow(fold.dirtyRows * STATS * 8)
    const numbers = new Float64Array(values.buffer)
    for (let i = 0; i < fold.dirtyRows; i++) {
      const row = fold.dirty[i]
      for (let n = 0; n < STATS; n++) numbers[i * STATS + n] = fold.stats[row * STATS + n]
      const key = fold.keys.subarray(row === 0 ? 0 : fold.keyEnd[row - 1], fold.keyEnd[row])
      last = rows.put(key, values.subarray(i * STATS * 8, (i + 1) * STATS * 8))
    }
    fold.taken()
    for (const [n, writes] of read.entries()) last = positions.put(n, writes)
    await last
    processed = until
    for (const [n, lane] of lanes.entries()) {
      if (n >= read.length) break
      tell(lane.socket, read[n] - lane.committed, accepted, processed)
      lane.committed = read[n]
    }
    committing = false
    readOn()
  }

  const server = createServer((socket) => {
    let lane: Lane | undefined
    onMessage(socket, (at, bytes, events) => {
      if (lane !== undefined) {
        accepted += events
        waiting.push({ lane, at, bytes, events })
        return readOn()
      }
      lane = { socket, fd: openSync(join(dir, `${at}.ring`), 'r'), read: 0, committed: 0 }
      lanes.push(lane)
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(join(dir, PROCESSOR_SOCKET), resolve))
}
