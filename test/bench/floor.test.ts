import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from 'lmdb'
import { Daemon } from '../../bench/daemon.ts'
import { bodies } from '../../bench/events.ts'
import { generate } from '../../bench/generator.ts'

test('the floor sums up in LMDB every event that it has answered for, through both listeners', async (t) => {
  const floor = await Daemon.floor(2)
  t.after(() => floor.stop())
  const load = { url: floor.http, connections: 16, bodies: bodies(10, 5000, 0, 500), eventsPerBody: 10 }
  const { events } = await generate({ ...load, warmupSeconds: 0, seconds: 0.5 })
  for (let seen = 0; seen < events; seen = (await floor.status()).accepted.events);
  await floor.caughtUp()
  const { accepted } = await floor.status()
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
  assert.ok(events > 0 && accepted.events >= events)
  assert.equal(count, accepted.events)
  assert.equal(keys.size, 5000)
})
