// Starting, ending, and what happens to those who die in between.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from './client.ts'
import { atEnd, childrenOf, Daemon, entry, frame, killQuietly, temporaryFolder } from './daemon.ts'

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains: what is in flight is answered and counted, and the exit code is 0`, async (t) => {
    const daemon = await Daemon.start(t)
    const clients = [1, 2, 3].map((n) => new Client(daemon, `client-${n}`, n))
    const sending = clients.map((client) => client.run())
    await daemon.until(() => clients.every((client) => client.acked > 50))
    const workers = await childrenOf(daemon.pid)
    daemon.signal(signal)
    assert.deepEqual(await daemon.exited(), { code: 0, signal: null })
    for (const pid of workers)
      assert.equal(existsSync(`/proc/${pid}`), false, 'no worker outlives the primary')
    await daemon.launch()
    for (const client of clients) client.stop()
    await Promise.all(sending)
    const acked = clients.reduce((sum, client) => sum + client.ackedEvents, 0)
    assert.equal((await daemon.processed(acked)).processed.events, acked)
  })
}

test('a dead worker is started again, and what it held is counted once', async (t) => {
  const daemon = await Daemon.start(t)
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  for (const role of ['listener', 'processor']) {
    const before = await daemon.until(({ roles }) => roles.every(({ ready }) => ready))
    const pid = before.roles.find((one) => one.role === role)!.pid
    killQuietly(pid)
    await daemon.line((line) => line.ended === pid)
    await daemon.until(
      ({ roles }) => roles.every(({ ready }) => ready) && !roles.some((one) => one.pid === pid),
    )
  }
  client.stop()
  await sending
  const status = await daemon.processed(client.ackedEvents)
  assert.equal(status.processed.events, client.ackedEvents)
})

test('a crash loop ends the daemon with exit code 1 and the reason', async (t) => {
  const folder = await temporaryFolder(t)
  const daemon = await Daemon.start(t, { dataDir: folder })
  await daemon.post(frame({}))
  await daemon.processed(1)
  await daemon.stop()
  await writeFile(join(folder, 'results', '0', 'data.mdb'), Buffer.alloc(8192, 'not a store'))
  const { code, daemon: broken } = await Daemon.run(t, { dataDir: folder })
  assert.equal(code, 1)
  assert.ok(
    broken.lines.some(({ level, msg }) => level === 60 && /processor|store/.test(String(msg))),
    broken.tail(),
  )
})

test('a port or a data directory that is taken is an error at start', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  atEnd(t, () => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  const taken = await Daemon.run(t, { config: { http: { listen: `127.0.0.1:${port}` } } })
  assert.equal(taken.code, 1)
  assert.ok(taken.daemon.lines.some(({ msg }) => String(msg).includes(`127.0.0.1:${port} is in use`)))

  const daemon = await Daemon.start(t)
  const second = await Daemon.run(t, { dataDir: daemon.dataDir })
  assert.equal(second.code, 1)
  assert.ok(second.daemon.lines.some(({ msg }) => String(msg).includes('held by a process that is running')))
  assert.equal((await daemon.post(frame({}))).status, 202, 'the first goes on')
})

test('it tells pm2 that it is ready, and ends on its message', async (t) => {
  const folder = await temporaryFolder(t)
  const sets = [`dataDir=${folder}`, ...['http', 'grpc', 'admin'].map((door) => `${door}.listen=127.0.0.1:0`)]
  const child = spawn(process.execPath, [entry, ...['start', ...sets.flatMap((set) => ['--set', set])]], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  atEnd(t, () => child.kill('SIGKILL'))
  assert.equal(await new Promise((resolve) => child.once('message', resolve)), 'ready')
  child.kill('SIGINT')
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0)
})

test('health and readiness are told on the admin port', async (t) => {
  const daemon = await Daemon.start(t)
  assert.equal((await fetch(`${daemon.admin}/healthz`)).status, 200)
  assert.equal((await fetch(`${daemon.admin}/readyz`)).status, 200)
  assert.equal((await fetch(`${daemon.admin}/nothing`)).status, 404)
  const { roles } = await daemon.status()
  process.kill(roles.find(({ role }) => role === 'processor')!.pid, 'SIGKILL')
  await daemon.line((line) => /processor ended/.test(String(line.msg)))
  const during = await fetch(`${daemon.admin}/readyz`)
  assert.ok(during.status === 503 || (await daemon.status()).roles.every(({ ready }) => ready))
})

test('processors of one daemon share its partitions, and a killed one has its own back', async (t) => {
  const config = { cluster: { processors: 2 }, log: { partitions: 2 } }
  const daemon = await Daemon.start(t, { config })
  const post = async () => {
    const events = Array.from({ length: 100 }, (_, i) => ({ subject: `s${i}` }))
    assert.equal((await daemon.post(frame(...events))).status, 202)
  }
  await post()
  await daemon.processed(100)
  const { roles } = await daemon.status()
  for (const { pid } of roles.filter(({ role }) => role === 'processor')) {
    process.kill(pid, 'SIGKILL')
    await post()
  }
  assert.equal((await daemon.processed(300)).processed.events, 300)
  assert.ok(!daemon.lines.some(({ msg }) => /another owner/.test(String(msg))))
})

test('under a profiler that cannot follow forks, one process does it all and still drains', async (t) => {
  const daemon = await Daemon.start(t, {
    nodeArguments: ['--prof', '--no-logfile-per-isolate', '--logfile=v8.log'],
  })
  assert.deepEqual(await childrenOf(daemon.pid), [])
  const client = new Client(daemon, 'client', 1)
  const sending = client.run()
  await daemon.until(() => client.acked > 20)
  client.stop()
  await sending
  const status = await daemon.processed(client.ackedEvents)
  assert.equal(status.processed.events, client.ackedEvents)
  assert.deepEqual(new Set(status.roles.map(({ pid }) => pid)), new Set([daemon.pid]))
  daemon.signal('SIGINT')
  assert.deepEqual(await daemon.exited(), { code: 0, signal: null })
})

test('a correlation id is carried to the answer and the log, or made', async (t) => {
  const daemon = await Daemon.start(t)
  const sent = await daemon.post(frame({}), { 'x-correlation-id': 'order-17' })
  assert.equal(sent.headers.get('x-correlation-id'), 'order-17')
  const trace = '0af7651916cd43dd8448eb211c80319c'
  const traced = await daemon.post(frame({}), { traceparent: `00-${trace}-b7ad6b7169203331-01` })
  assert.equal(traced.headers.get('x-correlation-id'), trace)
  const made = [await daemon.post(frame({})), await daemon.post(frame({}))].map((response) =>
    response.headers.get('x-correlation-id'),
  )
  assert.ok(made[0] && made[1] && made[0] !== made[1])
  await daemon.post('', { 'x-correlation-id': 'order-18' })
  const line = await daemon.line(({ correlationId }) => correlationId === 'order-18')
  assert.equal(line.role, 'listener')
  assert.equal(typeof line.pid, 'number')
})
