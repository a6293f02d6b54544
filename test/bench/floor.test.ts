import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from 'lmdb'
import { Daemon } from '../../bench/daemon.ts'
import { bodies } from '../../bench/events.ts'
import { generate } from '../../bench/generator.ts'
import { until } from '../until.ts'

test('the floor sums up in LMDB every event that it has answered for, through both listeners', async (t) => {
  const floor = await Daemon.floor(2)
  t.after(() => floor.stop())
  const load = { url: floor.http, connections: 16, bodies: bodies(10, 5000, 0, 500), eventsPerBody: 10 }
  const { accepted } = await generate({ ...load, warmupSeconds: 0, seconds: 60, requestsMax: 1000 })
  const events = 10 * accepted
  let processed = 0
  await until(async () => {
    processed = (await floor.status()).processed.events
    return processed >= events
  })
  const root = open({ path: join(floor.folder, 'results'), maxDbs: 2, readOnly: true })
  t.after(() => root.close())
  const rows = root.openDB<Buffer, Buffer>('rows', { encoding: 'binary', keyEncoding: 'binary' })
  let count = 0
  const keys = new Set<string>()
  for (const { key, value } of rows.getRange()) {
    keys.add(key.toString())
    count += value.readDoubleLE(0)
    assert.ok(value.readDoubleLE(16) <= value.readDoubleLE(24), 'least and greatest')
  }
  assert.equal(processed, events)
  assert.equal(count, events)
  assert.equal(keys.size, 5000)
})
