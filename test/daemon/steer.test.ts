import uWS, { type us_listen_socket } from 'uWebSockets.js'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { reservePort } from '../../scripts/ports.ts'
import { shareConnections, yieldConnections } from '../../src/daemon/steer.ts'

const CONNECTIONS = 64

/** One of several servers on a port, which counts the connections that it accepts. */
class Server {
  accepted = 0
  readonly #app = uWS.App()
  #socket: us_listen_socket | undefined

  constructor(t: TestContext, port: number) {
    // biome-ignore lint/suspicious/useIterableCallbackReturn: this filters no list
    this.#app.filter((_res, change) => {
      if (Number(change) > 0) this.accepted++
    })
    this.#app.any('/*', (res) => void res.end())
    this.#app.listen('127.0.0.1', port, (socket) => {
      assert.ok(socket)
      this.#socket = socket
    })
    t.after(() => this.#app.close())
  }

  leave(): void {
    uWS.us_listen_socket_close(this.#socket!)
  }
}

/** How many of some new connections each of the servers accepts. */
async function shares(port: number, servers: Server[]): Promise<number[]> {
  const before = servers.map(({ accepted }) => accepted)
  const sockets = Array.from({ length: CONNECTIONS }, () => connect(port, '127.0.0.1'))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  const gained = () => servers.map(({ accepted }, n) => accepted - before[n])
  while (gained().reduce((sum, one) => sum + one, 0) < CONNECTIONS) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (const socket of sockets) socket.destroy()
  return gained()
}

test('who leaves yields new connections to the one that joined last, until they are shared again', async (t) => {
  const port = await reservePort()
  const servers = [1, 2, 3].map(() => new Server(t, port))
  const spread = await shares(port, servers)
  assert.ok(
    spread.every((share) => share > 0),
    `${spread}`,
  )
  assert.equal(yieldConnections(port), true)
  assert.deepEqual(await shares(port, servers), [0, 0, CONNECTIONS])
  servers[0].leave()
  const left = await shares(port, servers)
  assert.equal(left[0], 0)
  assert.ok(left[1] > 0 && left[2] > 0, `both that are left have some: ${left}`)
  // The next one to join has the place that the program names.
  servers.push(new Server(t, port))
  assert.deepEqual(await shares(port, servers), [0, 0, 0, CONNECTIONS])
  shareConnections(port)
  const again = await shares(port, servers)
  assert.ok(
    again.slice(1).every((share) => share > 0),
    `${again}`,
  )
})

test('where nobody listens, nothing is yielded', async () => {
  const port = await reservePort()
  assert.equal(yieldConnections(port), false)
  shareConnections(port)
})
