import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { reservePort } from '../scripts/ports.ts'

test('every port is given once, as long as its process lives, and can be listened on again and again', async (t) => {
  // Of 20,000 numbers, 600 that were drawn without a look at the others would hold one twice but for 1 time in 8,000.
  const ports = await Promise.all(Array.from({ length: 600 }, () => reservePort()))
  assert.equal(new Set(ports).size, ports.length)
  for (let n = 0; n < 2; n++) {
    const server = createServer().listen(ports[0], '127.0.0.1')
    await once(server, 'listening')
    server.close()
    await once(server, 'close')
  }
  // What holds it is seen by every process.
  const other = createSocket('udp4').bind(ports[0], '127.0.0.1')
  t.after(() => other.close())
  const [error] = (await once(other, 'error')) as [NodeJS.ErrnoException]
  assert.equal(error.code, 'EADDRINUSE')
})
