// The embedded log on real files, with real sockets and real processes.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { leastBytes, segmentBytesMax } from '../../src/config/log-size.ts'
import { ChunkSupply, chunkName, sizeOf } from '../../src/log/embedded/files.ts'
import { leftBy, writersIn } from '../../src/log/embedded/left.ts'
import { EmbeddedReader } from '../../src/log/embedded/reader.ts'
import { RECORD_HEAD_BYTES, writeHead } from '../../src/log/embedded/record.ts'
import { EmbeddedWriter } from '../../src/log/embedded/writer.ts'
import { type FileSystem, realFileSystem } from '../../src/log/filesystem.ts'
import { connectLink, SocketLinkServer } from '../../src/log/link.ts'
import type { LogEntry } from '../../src/log/log.ts'
import { logFolder, openLocalWriter } from '../../src/log/open.ts'
import { until } from '../until.ts'
import { type Folder, folder } from './folder.ts'
import { Reading, segment } from './segments.ts'

const CHILD = join(import.meta.dirname, 'writing-child.js')

interface Child {
  process: ChildProcess
  writer: string
  acked: string[]
}

async function startChild(t: TestContext, { config }: Folder, inFlight: number): Promise<Child> {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(config), `${inFlight}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const acked: string[] = []
  const started: Child = { process: child, writer: '', acked }
  let rest = ''
  child.stdout.on('data', (data: Buffer) => {
    const lines = (rest + data.toString()).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      if (line.startsWith('writer ')) started.writer = line.slice('writer '.length)
      else acked.push(line)
    }
  })
  await until(() => started.writer !== '')
  return started
}

async function kill(child: Child): Promise<void> {
  child.process.kill('SIGKILL')
  await once(child.process, 'close') // and all that it had said is heard
}

for (const inFlight of [1, 50]) {
  test(`what a listener with ${inFlight} in flight acknowledged before SIGKILL is read`, {
    timeout: 300_000,
  }, async (t) => {
    const log = await folder('embedded')
    t.after(() => log.destroy())
    const reading = new Reading(await log.openReader())
    const ackedAtLeast = [3, 100, 700]
    const acked: string[] = []
    for (const least of ackedAtLeast) {
      const child = await startChild(t, log, inFlight)
      await until(() => child.acked.length >= least)
      await kill(child)
      acked.push(...child.acked.map((name) => `${child.writer} ${name}`))
    }
    const read = () => new Set(reading.entries.map(({ lane, name }) => `${lane} ${name}`))
    await until(() => {
      const names = read()
      return acked.every((name) => names.has(name))
    })
    await reading.stop()
    assert.equal(read().size, reading.entries.length, 'once each')
    assert.deepEqual(log.damage, [])
    const again = new Reading(await log.openReader())
    await again.until(() => again.entries.length === reading.entries.length)
    await again.stop()
  })
}

test('what a killed listener has left is told by its newest record, before and after it is read', async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const path = await logFolder(log.config, 0)
  for (const none of [path, join(path, 'nowhere')]) assert.deepEqual(writersIn(none), new Set())
  const child = await startChild(t, log, 50)
  await until(() => child.acked.length >= 700)
  await kill(child)
  assert.deepEqual(writersIn(path), new Set([child.writer]))
  const left = (await leftBy(realFileSystem, path, child.writer))!
  assert.ok(left.events >= child.acked.length)
  const reader = await log.openReader()
  const reading = new Reading(reader)
  await reading.until(() => reading.entries.length >= left.events)
  assert.equal(reading.entries.at(-1)!.next, left.segments, 'and there is no more')
  assert.deepEqual([left.bodies, left.events], [left.segments, left.segments], 'each has one event')
  assert.ok(left.backlogBytes > left.segments * 300)
  assert.deepEqual(left.trimmed, { events: 0, bodies: 0 })
  assert.deepEqual(await leftBy(realFileSystem, path, child.writer), left)
  await reading.stop()
  assert.equal(await leftBy(realFileSystem, path, '0123456789abcdef'), undefined)
})

test('a chunk that was used before and not written again says nothing of what is left', async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const writer = '0123456789abcdef'
  const put = (first: number, sequence: number) => {
    const one = segment('n', 100)
    one.stamp(writer, sequence, sequence, sequence)
    const head = Buffer.alloc(RECORD_HEAD_BYTES)
    writeHead(head, 0, one, 0, sequence * 1000)
    return writeFile(join(log.config.dataDir, chunkName(writer, first)), Buffer.concat([head, one.bytes]))
  }
  await put(5, 2)
  await put(6, 6)
  const left = await leftBy(realFileSystem, log.config.dataDir, writer)
  assert.deepEqual([left?.segments, left?.trimmed.events], [7, 6])
})

test('a listener that is stopped is alive, and not in the way of others', { timeout: 300_000 }, async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const child = await startChild(t, log, 10)
  await until(() => child.acked.length > 0)
  child.process.kill('SIGSTOP')
  const reader = await log.openReader()
  const reading = new Reading(reader)
  const writer = await log.openWriter()
  await writer.append(segment('other'))
  await reading.until(() => reading.names.includes('other'))
  reader.committed(reading.position())
  assert.deepEqual(reader.finished(), [])
  child.process.kill('SIGCONT')
  const before = child.acked.length
  await until(() => child.acked.length > before)
  await kill(child)
  const mine = () => reading.entries.filter(({ lane }) => lane === child.writer).map(({ name }) => name)
  await until(() => mine().length >= child.acked.length)
  await reading.stop()
  assert.deepEqual(mine().slice(0, child.acked.length), child.acked)
})

test('a lane that is over and old leaves no file, and is told once', async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const names = async () =>
    (await readdir(join(log.config.dataDir, 'log', '0'))).filter((name) => !/^free-/.test(name))
  const writer = await log.openWriter()
  await writer.append(segment('a'))
  await writer.close()
  const [chunk] = await names()
  const reader = await log.openReader()
  const reading = new Reading(reader)
  await reading.until(() => reading.entries.length === 1)
  const longAgo = new Date(Date.now() - 2 * log.config.log.retention.maxAge)
  await utimes(join(log.config.dataDir, 'log', '0', chunk), longAgo, longAgo)
  reader.committed(reading.position())
  const finished: string[] = []
  await until(() => finished.push(...reader.finished()) > 0)
  assert.deepEqual(finished, [writer.writer])
  assert.deepEqual(await names(), [])
  await reading.stop()
  assert.deepEqual(reader.finished(), [])
})

test('a position in a lane of which nothing is left is told as finished', async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const reader = await log.openReader()
  const reading = new Reading(reader, new Map([['00000000000000ff', 7]]))
  const finished: string[] = []
  await until(() => finished.push(...reader.finished()) > 0)
  await reading.stop()
  assert.deepEqual(finished, ['00000000000000ff'])
})

test('chunks never take more than retention.maxBytes, also when that was lowered', {
  timeout: 300_000,
}, async (t) => {
  const log = await folder('embedded', 160 * 2 ** 20)
  t.after(() => log.destroy())
  const chunks = async () =>
    (await readdir(join(log.config.dataDir, 'log', '0'))).filter((n) => n.endsWith('.chunk')).length
  const most = () => {
    const { log: settings, http, cluster } = log.config
    return sizeOf(settings.retention.maxBytes, segmentBytesMax(http.maxBody), cluster.listeners).chunksMax
  }
  const reader = await log.openReader()
  const reading = new Reading(reader)
  const writer = await log.openWriter()
  for (let n = 0; n < 110; n++) {
    // Right after a commit its chunks may not be free yet.
    await until(() =>
      writer.append(segment(`n${n}`, 1_500_000)).then(
        () => true,
        () => false,
      ),
    )
    await reading.until(() => reading.entries.length === n + 1)
    reader.committed(reading.position())
    if (n % 10 === 0) assert.ok((await chunks()) <= most(), `${await chunks()} chunks`)
  }
  await reading.stop()
  await writer.close()
  const position = reading.position()
  await reader.close()
  log.config.log.retention.maxBytes = leastBytes(
    segmentBytesMax(log.config.http.maxBody),
    log.config.cluster.listeners,
  )
  const lower = await log.openReader()
  const later = new Reading(lower, position)
  await until(async () => {
    lower.committed(position)
    return (await chunks()) <= most()
  })
  await later.stop()
  assert.deepEqual(later.names, [])
})

test('a chunk that is made is flushed bit by bit: others wait for their own flush behind it', async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  let [made, written, most] = [0, 0, 0]
  const fs: FileSystem = {
    ...realFileSystem,
    async open(path, how) {
      const file = await realFileSystem.open(path, how)
      if (how !== 'create') return file
      const { write, sync, close } = file
      return Object.assign(file, {
        write(buffers: Buffer[], position: number) {
          written += buffers.reduce((sum, { length }) => sum + length, 0)
          most = Math.max(most, written)
          return write.call(file, buffers, position)
        },
        async sync() {
          await sync.call(file)
          made += written
          written = 0
        },
        close() {
          assert.equal(written, 0, 'all of it is flushed')
          return close.call(file)
        },
      })
    },
  }
  const chunkBytes = 50 * 2 ** 20
  const supply = new ChunkSupply(fs, log.config.dataDir, { chunkBytes, chunksMax: 2 }, 0)
  const chunk = await supply.take('0123456789abcdef-0000000000000000.chunk')
  assert.equal(await chunk.size(), chunkBytes)
  assert.equal(made, chunkBytes)
  assert.ok(most <= 4 * 2 ** 20, `${most} bytes at once`)
  await chunk.close()
})

test('a data directory too deep for a socket is refused by name', async () => {
  const log = await folder('embedded')
  try {
    const deep = join(log.config.dataDir, 'x'.repeat(100))
    await assert.rejects(openLocalWriter({ ...log.config, dataDir: deep }, 0), (error: Error) => {
      assert.match(error.message, /too long for a socket.*dataDir/)
      assert.ok(error.message.includes(deep))
      return true
    })
  } finally {
    await log.destroy()
  }
})

test('a chunk that a reader still has open is not used again under it', { timeout: 300_000 }, async (t) => {
  const log = await folder('embedded')
  t.after(() => log.destroy())
  const path = await logFolder(log.config, 0)
  const size = { chunkBytes: 64 * 1024, chunksMax: 20 }
  const name = '00000000000000aa'
  const socket = (writer: string) => join(path, `${writer}.sock`)
  const parts = { fs: realFileSystem, folder: path, size, freeSpaceMin: 0 }
  const link = new SocketLinkServer(socket(name))
  const writer = await new EmbeddedWriter({ ...parts, link, writer: name }).open()
  const reader = new EmbeddedReader({
    ...parts,
    maxAge: 0, // what is committed is used again at once
    connect: (lane, heard) => connectLink(socket(lane), heard),
    watch: () => () => {},
    onDamage: (damage) => assert.fail(JSON.stringify(damage)),
  })
  // The first chunk is left with room at its end, since the last segment does not fit.
  let appended = 0
  const append = (bytes: number) => writer.append(segment(`n${appended++}`, bytes))
  for (let n = 0; n < 12; n++) await append(4000)
  await append(30_000)

  const entries = reader.read(new Map(), new AbortController().signal)
  const sequences: number[] = []
  const next = async () => {
    const { value } = await entries.next()
    sequences.push((value as LogEntry).segment.sequence)
  }
  while (sequences.length < 12) await next()
  // It stands still now, the first chunk open and all of it committed, while the writer goes on.
  reader.committed(new Map([[name, 12]]))
  for (let round = 0; round < 10; round++) {
    for (let n = 0; n < 10; n++) await append(4000)
    await new Promise((resolve) => setTimeout(resolve, 50)) // rounds of retention
    reader.committed(new Map([[name, 12]]))
  }
  while (sequences.length < appended) await next()
  assert.deepEqual(
    sequences,
    Array.from({ length: appended }, (_, n) => n),
  )
  await writer.close()
  await reader.close()
})
