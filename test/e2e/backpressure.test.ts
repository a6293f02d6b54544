// Memory stays bounded when the processor stands still: the log fills, clients hear 429, and all of it recovers.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { atEnd, Daemon, frame } from './daemon.ts'

const MB_MAX = 400

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

for (const kind of ['embedded', 'memory'] as const) {
  test(`${kind}: a stopped processor leads to 429, bounded memory and full recovery`, async (t) => {
    const retention = { maxBytes: '128MiB' }
    const daemon = await Daemon.start(t, { config: { log: { kind, retention } } })
    const { roles } = await daemon.status()
    const processor = roles.find(({ role }) => role === 'processor')!.pid
    process.kill(processor, 'SIGSTOP')
    atEnd(t, () => process.kill(processor, 'SIGCONT'))

    const events = Array.from({ length: 500 }, (_, i) => ({
      subject: `s${i}`,
      value: 1,
      data: new Uint8Array(1000),
    }))
    const body = frame(...events)
    let accepted = 0
    let full: Response | undefined
    const send = async () => {
      while (full === undefined) {
        const response = await daemon.post(body)
        if (response.status === 202) accepted++
        else full ??= response
      }
    }
    await Promise.all([send(), send(), send(), send()])
    assert.equal(full!.status, 429)
    assert.equal(full!.headers.get('retry-after'), '1')
    assert.equal(((await full!.json()) as { code: string }).code, 'backlog-full')
    assert.ok(accepted * body.length > 32 * 2 ** 20, `${accepted} bodies fitted`)
    // The other listener may have some room left in its chunk; then nothing is taken any more.
    for (let refused = 0; refused < 50; refused++) {
      if ((await daemon.post(body)).status !== 202) continue
      accepted++
      refused = 0
      assert.ok(accepted * body.length < 256 * 2 ** 20, 'there is an end to it')
    }
    for (const { pid } of roles) assert.ok(residentMb(pid) < MB_MAX, `${pid} has ${residentMb(pid)} MB`)

    process.kill(processor, 'SIGCONT')
    await daemon.processed(accepted * 500)
    assert.equal((await daemon.post(body)).status, 202)
    const status = await daemon.processed((accepted + 1) * 500)
    assert.equal(status.processed.events, (accepted + 1) * 500)
  })
}

test('a producer of random sequences for ever: memory is bounded, and all its bodies count', async (t) => {
  const daemon = await Daemon.start(t)
  const bodies = 20_000
  const streams = 8
  let sent = 0
  const send = async (stream: number) => {
    for (let i = stream; i < bodies; i += streams) {
      const sequence = String((i * 2_654_435_761 + 17) % 2 ** 52)
      const headers = { 'millrace-producer': 'random', 'millrace-sequence': sequence }
      assert.equal((await daemon.post(frame({ subject: 'r' }), headers)).status, 202)
      sent++
    }
  }
  await Promise.all(Array.from({ length: streams }, (_, stream) => send(stream)))
  assert.equal(sent, bodies)
  const status = await daemon.processed(bodies)
  assert.equal(status.processed.events, bodies)
  const processor = status.roles.find(({ role }) => role === 'processor')!.pid
  assert.ok(residentMb(processor) < MB_MAX)
  const last = String(((bodies - 1) * 2_654_435_761 + 17) % 2 ** 52)
  await daemon.post(frame({ subject: 'r' }), { 'millrace-producer': 'random', 'millrace-sequence': last })
  const again = await daemon.until(({ processed }) => processed.duplicates.events === 1)
  assert.equal(again.processed.events, bodies, 'a retry within the bound counts once')
})
