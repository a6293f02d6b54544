// Disks that fill up, tails that are torn, and a power cut, on real file systems. Needs root, for mounts.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, open, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { parseChunkName } from '../../src/log/embedded/files.ts'
import { RECORD_HEAD_BYTES, readRecord } from '../../src/log/embedded/record.ts'
import { Client } from './client.ts'
import { atEnd, Daemon, temporaryFolder } from './daemon.ts'
import { random } from './random.ts'

const run = promisify(execFile)
/** Mounts need root; in CI its absence is a failure. */
const withRoot = { skip: process.env.CI !== 'true' && process.getuid?.() !== 0 && 'needs root' }

/** A small ext4 file system in an image file of its own. */
class Disk {
  readonly image: string
  readonly folder: string
  #mounted = false
  constructor(image: string, folder: string) {
    this.image = image
    this.folder = folder
  }

  static async create(t: TestContext, megabytes: number): Promise<Disk> {
    const base = await temporaryFolder(t)
    const disk = new Disk(join(base, 'disk.img'), join(base, 'mount'))
    const file = await open(disk.image, 'w')
    await file.truncate(megabytes * 2 ** 20)
    await file.close()
    await run('mkfs.ext4', ['-q', '-F', disk.image])
    atEnd(t, () => disk.unmount())
    await disk.mount()
    return disk
  }

  async mount(): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    await run('mount', ['-o', 'loop', this.image, this.folder])
    this.#mounted = true
  }

  async unmount(): Promise<void> {
    if (!this.#mounted) return
    this.#mounted = false
    // The last threads of a killed process let go of their files a moment after it is gone.
    for (let tries = 100; ; tries--) {
      try {
        await run('umount', [this.folder])
        return
      } catch (error) {
        if (tries === 0) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }
}

async function assertCounted(daemon: Daemon, clients: Client[], atMost = 0): Promise<void> {
  const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
  const status = await daemon.processed(acked)
  assert.ok(status.processed.events <= acked + atMost, `${status.processed.events} counted, ${acked} acked`)
  for (const client of clients) {
    const { rows } = await daemon.get(`/v1/measures/by-subject?merge=true&key=${client.name}`)
    if (atMost === 0) {
      assert.equal(rows[0].count, client.ackedEvents)
      assert.equal(rows[0].sum, client.ackedSum)
    } else assert.ok(rows[0].count >= client.ackedEvents)
  }
}

test('a disk that is full for a while: 503, nothing lost, nothing counted twice', withRoot, async (t) => {
  const disk = await Disk.create(t, 400)
  const dataDir = join(disk.folder, 'data')
  await mkdir(dataDir)
  const daemon = await Daemon.start(t, { dataDir, config: { log: { retention: { maxBytes: '128MiB' } } } })
  const clients = [1, 2].map((n) => new Client(daemon, `client-${n}`, n, { bytes: 20_000 }))
  const sending = clients.map((client) => client.run())
  await daemon.until(() => clients.every((client) => client.acked > 20))

  const ballast = join(disk.folder, 'ballast')
  await run('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=1M'], {}).catch(() => {}) // until there is no room
  await daemon.until(() => clients.every((client) => client.refusals.has(503)))
  await rm(ballast)
  const before = clients.map((client) => client.acked)
  await daemon.until(() => clients.every((client, i) => client.acked > before[i] + 20))
  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(daemon, clients)
  const { roles } = await daemon.status()
  assert.equal(roles.length, 4, 'all roles are there')
})

test('a torn tail of the log is cut, and all that was acknowledged is counted', async (t) => {
  const { between } = random(t)
  const daemon = await Daemon.start(t)
  const clients = [1, 2, 3].map((n) => new Client(daemon, `client-${n}`, n))
  for (let round = 0; round < 3; round++) {
    const sending = clients.map((client) => client.run())
    const before = clients.map((client) => client.acked)
    await daemon.until(() => clients.every((client, i) => client.acked > before[i] + between(5, 50)))
    for (const client of clients) client.stop()
    await Promise.all(sending)
    await daemon.killAll()
    await tearTails(join(daemon.dataDir, 'log', '0'), between)
    await daemon.launch()
  }
  await assertCounted(daemon, clients)
})

/** Writes a part of a record behind the last one of every chunk: what a crash in the middle of a write leaves. */
async function tearTails(folder: string, between: (low: number, high: number) => number): Promise<void> {
  const chunks = (await readdir(folder)).map(parseChunkName).filter((chunk) => chunk !== undefined)
  assert.ok(chunks.length > 0)
  for (const { name, writer } of chunks) {
    const file = await open(join(folder, name), 'r+')
    const bytes = await file.readFile()
    const end = recordsEnd(bytes, writer)
    assert.ok(end > 0, 'there are records')
    const torn = bytes.subarray(0, between(1, RECORD_HEAD_BYTES + bytes.readUInt32LE(0) - 1))
    await file.write(torn, 0, torn.length, end)
    await file.close()
  }
}

/** Where the last whole record of a chunk ends. */
function recordsEnd(bytes: Buffer, writer: string): number {
  for (let at = 0; ; ) {
    const read = readRecord(bytes, at, writer, 0, bytes.length - at)
    if (read.kind !== 'record') return at
    at = read.end
  }
}

test('a power cut: what was acknowledged had been flushed', withRoot, async (t) => {
  const disk = await Disk.create(t, 512)
  const dataDir = join(disk.folder, 'data')
  await mkdir(dataDir)
  const daemon = await Daemon.start(t, { dataDir })
  const clients = [1, 2, 3, 4].map((n) => new Client(daemon, `client-${n}`, n))
  const sending = clients.map((client) => client.run())
  await daemon.until(() => clients.every((client) => client.acked > 300))
  await daemon.killAll()
  // The image holds what was flushed to it; the rest is in the page cache of its mount.
  const after = `${disk.image}.after`
  await copyFile(disk.image, after)

  const survived = new Disk(after, `${disk.folder}-after`)
  atEnd(t, () => survived.unmount())
  await survived.mount()
  const bootId = join(await temporaryFolder(t), 'boot_id')
  await writeFile(bootId, '00000000-0000-4000-8000-000000000001\n')
  const again = await Daemon.start(t, { dataDir: join(survived.folder, 'data'), bootId })
  for (const client of clients) client.follow(again)
  for (const client of clients) client.stop()
  await Promise.all(sending)
  await assertCounted(again, clients)
})
