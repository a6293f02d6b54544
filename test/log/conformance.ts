// What every kind of log promises (src/log/log.ts), as tests that each kind runs against the real thing.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { MEMORY_LOG_BYTES_MAX } from '../../src/limits.ts'
import { LogFull, type LogReader, type LogWriter } from '../../src/log/log.ts'
import { type Segment, SegmentBuilder } from '../../src/log/segment.ts'
import { Reading } from './segments.ts'

export interface LogUnderTest {
  /** Whether each writer has a lane of its own, or all share one. */
  lanes: 'writers' | 'partitions'
  openWriter(): Promise<LogWriter>
  openReader(): Promise<LogReader>
  /** Bytes of the largest segment that it takes. */
  segmentBytesMax: number
  /** More bytes than it holds. */
  bytesMax: number
}

/** A segment of one body: `name`, padded to so many bytes. */
export function segmentOf(name: string, bytes = 0): Segment {
  const builder = new SegmentBuilder(Math.max(64, bytes))
  builder.add(Buffer.from(name.padEnd(bytes, '.')), 3, 'producer', 7, 'correlation', 1234)
  return builder.seal()
}

const LARGE = 256 * 1024

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `n${from + i}`)

export function conformance(kind: string, setUp: (t: TestContext) => Promise<LogUnderTest>): void {
  const claim = (name: string, run: (log: LogUnderTest, t: TestContext) => Promise<void>) =>
    test(`${kind}: ${name}`, { timeout: 300_000 }, async (t) => run(await setUp(t), t))

  claim('what is appended is read in order, once', async (log) => {
    const writer = await log.openWriter()
    const reader = await log.openReader()
    const reading = new Reading(reader)
    for (const name of numbered(50)) await writer.append(segmentOf(name))
    await reading.count(50)
    assert.deepEqual(reading.names, numbered(50))
    await reading.stop()
    reader.committed(reading.position(50))
    await Promise.all([writer.close(), reader.close()])
  })

  claim('many appends in flight keep their order and get rising sequences and totals', async (log) => {
    const writer = await log.openWriter()
    const reader = await log.openReader()
    const reading = new Reading(reader)
    await Promise.all(numbered(500).map((name) => writer.append(segmentOf(name))))
    await reading.count(500)
    assert.deepEqual(reading.names, numbered(500))
    assert.deepEqual(
      reading.entries.map(({ sequence }) => sequence),
      numbered(500).map((_, i) => i),
    )
    reading.entries.forEach(({ next }, i) => {
      assert.ok(i === 0 || next > reading.entries[i - 1].next, 'numbers of a lane rise')
    })
    assert.equal(writer.written().segments, 500)
    assert.equal(writer.written().events, 1500)
    assert.equal(writer.written().bodies, 500)
    await reading.stop()
    reader.committed(reading.position(500))
    await Promise.all([writer.close(), reader.close()])
  })

  claim('a segment comes back byte for byte, whatever its size', async (log) => {
    const writer = await log.openWriter()
    const reader = await log.openReader()
    const reading = new Reading(reader)
    const sizes = [1, 2, 511, 512, 4096, 65_535, 1_048_576, log.segmentBytesMax - 512]
    const segments = sizes.map((bytes, i) => segmentOf(`s${i}`, bytes))
    for (const segment of segments) await writer.append(segment)
    await reading.count(sizes.length)
    reading.entries.forEach(({ bytes }, i) => {
      assert.ok(bytes.equals(segments[i].bytes), `${sizes[i]} bytes`)
    })
    await reading.stop()
    reader.committed(reading.position(sizes.length))
    await Promise.all([writer.close(), reader.close()])
  })

  claim(
    'a reader that starts at a position reads on from it, and one that starts before reads again',
    async (log) => {
      const writer = await log.openWriter()
      for (const name of numbered(20)) await writer.append(segmentOf(name))
      const first = await log.openReader()
      const before = new Reading(first)
      await before.count(20)
      await before.stop()
      await first.close()

      const second = await log.openReader()
      const again = new Reading(second, before.position(8))
      await again.count(12)
      await writer.append(segmentOf('later'))
      await again.count(13)
      assert.deepEqual(again.names, [...numbered(12, 8), 'later'])
      await again.stop()
      second.committed(again.position(13))
      await Promise.all([writer.close(), second.close()])
    },
  )

  claim('all writers are read, those that come later too', async (log) => {
    const reader = await log.openReader()
    const reading = new Reading(reader)
    const writers = [await log.openWriter(), await log.openWriter()]
    for (const [i, writer] of writers.entries()) await writer.append(segmentOf(`w${i}`))
    await reading.count(2)
    writers.push(await log.openWriter())
    await writers[2].append(segmentOf('w2'))
    await reading.count(3)
    assert.deepEqual([...reading.names].sort(), ['w0', 'w1', 'w2'])
    assert.equal(new Set(reading.entries.map(({ lane }) => lane)).size, log.lanes === 'writers' ? 3 : 1)
    assert.equal(new Set(writers.map(({ writer }) => writer)).size, 3)
    await reading.stop()
    reader.committed(reading.position(3))
    await Promise.all([...writers.map((writer) => writer.close()), reader.close()])
  })

  claim('a reader waits for what comes later, and an aborted reading ends', async (log) => {
    const writer = await log.openWriter()
    const reader = await log.openReader()
    const waiting = new Reading(reader)
    await writer.append(segmentOf('one'))
    await waiting.count(1)
    await writer.append(segmentOf('two'))
    await waiting.count(2)
    await waiting.stop()
    reader.committed(waiting.position(2))
    await Promise.all([writer.close(), reader.close()])
  })

  claim('a full log refuses with LogFull, keeps what it has, and goes on after a commit', async (log) => {
    const writer = await log.openWriter()
    const bytes = Math.floor(log.segmentBytesMax / 2)
    let accepted = 0
    let refusal: unknown
    while (refusal === undefined && accepted * bytes <= log.bytesMax) {
      await writer.append(segmentOf(`n${accepted}`, bytes)).then(
        () => accepted++,
        (error: unknown) => {
          refusal = error
        },
      )
    }
    assert.ok(refusal instanceof LogFull, `after ${accepted}: ${refusal}`)
    assert.ok(writer.written().backlogBytes >= accepted * bytes)
    const reader = await log.openReader()
    const reading = new Reading(reader)
    await reading.count(accepted)
    assert.deepEqual(reading.names, numbered(accepted))
    reader.committed(reading.position(accepted))
    for (let again = true; again; ) {
      await writer.append(segmentOf('after', bytes)).then(
        () => {
          again = false
        },
        async (error: unknown) => {
          assert.ok(error instanceof LogFull, `${error}`)
          await new Promise((resolve) => setImmediate(resolve))
        },
      )
    }
    await reading.count(accepted + 1)
    assert.equal(reading.names.at(-1), 'after')
    await reading.stop()
    reader.committed(reading.position(accepted + 1))
    await Promise.all([writer.close(), reader.close()])
  })

  claim('what is not committed is kept, however much follows', async (log) => {
    const writer = await log.openWriter()
    await writer.append(segmentOf('kept'))
    const bytes = Math.floor(log.segmentBytesMax / 2)
    for (let full = false; !full; ) {
      await writer.append(segmentOf('filler', bytes)).catch(() => {
        full = true
      })
    }
    const reader = await log.openReader()
    const reading = new Reading(reader)
    reader.committed(new Map([[writer.writer, 0]]))
    await reading.count(1)
    assert.equal(reading.names[0], 'kept')
    await reading.count(writer.written().segments)
    await reading.stop()
    reader.committed(reading.position(reading.entries.length))
    await Promise.all([writer.close(), reader.close()])
  })

  claim('a writer closes when all is safe, and takes nothing after that', async (log) => {
    const reader = await log.openReader()
    const reading = new Reading(reader)
    const writer = await log.openWriter()
    await writer.append(segmentOf('only'))
    await reading.count(1)
    assert.deepEqual(reader.finished(), [])
    reader.committed(reading.position(1))
    await writer.close()
    await assert.rejects(writer.append(segmentOf('late')))
    await reading.stop()
    await reader.close()
  })

  claim('reading again without a commit yields the same, with the same reader or another', async (log) => {
    const writer = await log.openWriter()
    for (const name of numbered(10)) await writer.append(segmentOf(name))
    const read = async (reader: LogReader) => {
      const reading = new Reading(reader)
      await reading.count(10)
      await reading.stop()
      return reading
    }
    const first = await log.openReader()
    const once = await read(first)
    assert.deepEqual((await read(first)).entries, once.entries)
    await first.close()
    const second = await log.openReader()
    assert.deepEqual((await read(second)).entries, once.entries)
    second.committed(once.position(10))
    await Promise.all([writer.close(), second.close()])
  })

  claim('a busy writer does not keep another one from being read', async (log) => {
    const [busy, quiet] = [await log.openWriter(), await log.openWriter()]
    for (const name of numbered(40)) await busy.append(segmentOf(name, LARGE))
    await quiet.append(segmentOf('quiet'))
    const reader = await log.openReader()
    const reading = new Reading(reader)
    await reading.count(41)
    if (log.lanes === 'writers') assert.notEqual(reading.names.indexOf('quiet'), 40)
    else assert.ok(reading.names.includes('quiet')) // one lane has one order, and it came last
    await reading.stop()
    reader.committed(reading.position(41))
    await Promise.all([busy.close(), quiet.close(), reader.close()])
  })

  claim(
    'the backlog is nothing once all is committed, also by a reader that commits as it reads',
    async (log) => {
      const writer = await log.openWriter()
      for (const name of numbered(5)) await writer.append(segmentOf(name, 1000))
      assert.ok(writer.written().backlogBytes >= 5000)
      const reader = await log.openReader()
      const stop = new AbortController()
      const reading = (async () => {
        for await (const { lane, next } of reader.read(new Map(), stop.signal)) {
          reader.committed(new Map([[lane, next]]))
        }
      })()
      while (writer.written().backlogBytes > 0) await new Promise((resolve) => setImmediate(resolve))
      stop.abort()
      await reading
      await Promise.all([writer.close(), reader.close()])
    },
  )

  claim('a lane is not finished before its writer is gone and all of it is committed', async (log) => {
    const [leaving, staying] = [await log.openWriter(), await log.openWriter()]
    const reader = await log.openReader()
    const reading = new Reading(reader)
    for (const name of numbered(2)) await leaving.append(segmentOf(name))
    await reading.count(2)
    const closed = leaving.close()
    reader.committed(reading.position(1))
    await staying.append(segmentOf('later'))
    await reading.count(3)
    assert.deepEqual(reader.finished(), [])
    reader.committed(reading.position(3))
    await reading.stop()
    await closed
    await Promise.all([staying.close(), reader.close()])
  })

  claim('a saturated log with an unhurried reader holds bounded memory', async (log) => {
    const writer = await log.openWriter()
    const reader = await log.openReader()
    const entries = reader.read(new Map(), new AbortController().signal)[Symbol.asyncIterator]()
    await writer.append(segmentOf('first'))
    await entries.next() // and asks for no more
    const builder = new SegmentBuilder(LARGE) // one for all: each leaves its last buffer behind
    const frame = Buffer.alloc(LARGE)
    const before = process.memoryUsage().arrayBuffers
    let taken = 1
    for (let full = false; !full; taken++) {
      builder.add(frame, 1, '', 0, '', 1)
      await writer.append(builder.seal()).catch(() => {
        full = true
      })
    }
    taken--
    // Turns enough for a reader that reads ahead to do so.
    for (let turn = 0; turn < 2000; turn++) await new Promise((resolve) => setImmediate(resolve))
    const grown = process.memoryUsage().arrayBuffers - before
    assert.ok(grown < MEMORY_LOG_BYTES_MAX + 16 * 2 ** 20, `${grown} bytes`)
    for (let n = 1; n < taken; n++) {
      const { value } = await entries.next()
      reader.committed(new Map([[value.lane, value.next]]))
    }
    await writer.close()
    await reader.close()
  })
}
