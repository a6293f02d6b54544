// The memory log over real sockets.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LogUnavailable } from '../../src/log/log.ts'
import { until } from '../until.ts'
import { folder } from './folder.ts'
import { Reading, segment } from './segments.ts'

test('the end of the reader loses nothing that was not committed', async (t) => {
  const log = await folder('memory')
  t.after(() => log.destroy())
  const writer = await log.openWriter()
  for (let n = 0; n < 10; n++) await writer.append(segment(`n${n}`))
  const first = await log.openReader()
  const before = new Reading(first)
  await before.until(() => before.entries.length === 10)
  first.committed(before.position(6))
  const backlog = 4 * segment('n0').bytes.length
  await until(() => writer.written().backlogBytes === backlog)
  await before.stop()
  await first.close()
  const after = new Reading(await log.openReader(), before.position(3)) // as if the last commit was not flushed
  await after.until(() => after.names.includes('n9'))
  await after.stop()
  assert.deepEqual(after.names, ['n6', 'n7', 'n8', 'n9'])
})

test('a writer that nobody reads says at its close what is lost', async (t) => {
  const log = await folder('memory')
  t.after(() => log.destroy())
  const writer = await log.openWriter()
  for (const name of ['a', 'b', 'c']) await writer.append(segment(name))
  await assert.rejects(
    writer.close(),
    (error) => error instanceof LogUnavailable && /^3 events/.test(error.message),
  )
})

test('a lane is finished when its writer is gone and what came of it is committed', async (t) => {
  const log = await folder('memory')
  t.after(() => log.destroy())
  const writer = await log.openWriter()
  await writer.append(segment('a'))
  const reader = await log.openReader()
  const reading = new Reading(reader)
  await reading.until(() => reading.entries.length === 1)
  await writer.close().catch(() => {}) // not committed, and gone all the same
  await (await log.openWriter()).append(segment('b'))
  await reading.until(() => reading.names.includes('b'))
  assert.deepEqual(reader.finished(), [])
  reader.committed(reading.position())
  const finished: string[] = []
  await until(() => finished.push(...reader.finished()) > 0)
  assert.deepEqual(finished, [writer.writer])
  await reading.stop()
})
