// A lane's link: few news, and the last of them always.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectLink, type Durable, SocketLinkServer } from '../../src/log/link.ts'
import { atEnd, temporaryFolder } from '../e2e/daemon.ts'
import { until } from '../until.ts'

const durable = (n: number): Durable => ({ sequence: n, bytes: 10 * n, events: 3 * n, bodies: 2 * n })

test('a busy writer wakes its reader now and then, and what is newest arrives', async (t) => {
  const path = join(await temporaryFolder(t), 'lane.sock')
  const server = new SocketLinkServer(path)
  await server.listen()
  atEnd(t, () => server.close())
  let heard = 0
  const link = await connectLink(path, () => heard++)
  assert.ok(link !== undefined)
  atEnd(t, async () => link.close())
  const newest = 5000
  for (let n = 1; n <= newest; n++) {
    server.publish(durable(n))
    if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await until(() => link.durable.sequence === newest)
  assert.deepEqual(link.durable, durable(newest))
  assert.ok(heard < newest / 5, `${heard} news of ${newest}`)
  link.committed(77)
  await until(() => server.committedBytes === 77)
})
