// The generator against servers that answer in awkward pieces: what it counts is what bench figures rest on.

import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { generate, type Outcome } from '../../bench/generator.ts'

const accepted = (body: string) =>
  `HTTP/1.1 202 Accepted\r\nX-A: b\r\nContent-Length: ${body.length}\r\n\r\n${body}`

/** Runs a short load against a server that answers the nth request of a connection as `answer` does. */
async function load(
  t: TestContext,
  answer: (socket: Socket, n: number) => void,
): Promise<{ outcome: Outcome; requests: number }> {
  const request = Buffer.from('body')
  let requests = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    let n = 0
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      assert.ok(data.toString().endsWith('\r\n\r\nbody'))
      requests++
      answer(socket, n++)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const outcome = await generate({
    url,
    connections: 3,
    bodies: [request],
    eventsPerBody: 2,
    warmupSeconds: 0,
    seconds: 0.3,
    onMeasuring: () => {
      requests = 0
    },
  })
  return { outcome, requests }
}

test('an answer counts once, however it is cut, and whatever length it has', async (t) => {
  const answering = new Set<Socket>()
  let tooEarly = 0
  const { outcome, requests } = await load(t, (socket, n) => {
    if (answering.has(socket)) tooEarly++
    const whole = accepted('x'.repeat(n % 12))
    socket.setNoDelay()
    const cut = n % 3 === 0 ? whole.length : (n * 7) % whole.length
    socket.write(whole.slice(0, cut))
    if (cut === whole.length) return
    answering.add(socket)
    setTimeout(() => {
      answering.delete(socket)
      socket.write(whole.slice(cut))
    }, 2)
  })
  assert.ok(outcome.requests > 20)
  assert.equal(tooEarly, 0, 'no request before the end of the answer to the last one')
  assert.ok(Math.abs(requests - outcome.requests) <= 3, 'but for those in flight at either end')
  assert.equal(outcome.events, outcome.requests * 2)
  assert.equal(outcome.others.size, 0)
})

test('other answers than 202 are told by their status, and are not throughput', async (t) => {
  const { outcome } = await load(t, (socket, n) => {
    socket.write(n % 2 === 0 ? accepted('') : accepted('').replace('202 Accepted', '429 Too Many'))
  })
  assert.deepEqual([...outcome.others.keys()], ['429'])
  assert.ok(Math.abs(outcome.others.get('429')! - outcome.requests) <= 3)
})

test('a connection that an answer ends is made anew, and nothing is lost by it', async (t) => {
  const { outcome, requests } = await load(t, (socket, n) => {
    if (n % 5 < 4) socket.write(accepted(''))
    else socket.end(accepted('').replace('Content-Length', 'Connection: close\r\nContent-Length'))
  })
  assert.ok(outcome.reconnects > 3, `${outcome.reconnects}`)
  assert.ok(Math.abs(requests - outcome.requests) <= 3, 'but for those in flight at either end')
  assert.ok(outcome.accepted >= outcome.requests)
  assert.equal(outcome.others.size, 0)
})

test('a connection that is closed ends the load with an error', async (t) => {
  await assert.rejects(
    load(t, (socket) => socket.destroy()),
    /closed a connection|ECONNRESET/,
  )
})

test('an answer of unknown length ends the load with an error', async (t) => {
  await assert.rejects(
    load(t, (socket) => socket.write('HTTP/1.1 202 Accepted\r\n\r\n')),
    /without content-length/,
  )
})
