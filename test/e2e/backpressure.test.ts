// Memory stays bounded when the processor stands still: the log fills, clients hear 429, and all of it recovers.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { until } from '../until.ts'
import { atEnd, Daemon, frame } from './daemon.ts'
import { type Kind, logOf, startBrokers } from './kinds.ts'

const MB_MAX = 400

function residentMb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

const kinds: Kind[] = ['embedded', 'memory', 'jetstream', 'kafka', 'kafka, platformatic', 'dual']

for (const kind of kinds) {
  test(`${kind}: a stopped processor leads to 429, bounded memory and full recovery`, async (t) => {
    const brokers = await startBrokers(t, kind)
    const log = logOf(kind, brokers, { retention: { maxBytes: '128MiB' } })
    const daemon = await Daemon.start(t, { config: { log } })
    const { roles } = await daemon.until(({ log: { away } }) => away === undefined)
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
    // One listener may have had them all: half of the budget is for what waits, and a half of that for each listener.
    assert.ok(accepted * body.length > 24 * 2 ** 20, `${accepted} bodies fitted`)
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

for (const kind of kinds.slice(2)) {
  test(`${kind}: a broker that stands still leads to 503, bounded memory and full recovery`, async (t) => {
    const brokers = await startBrokers(t, kind)
    const daemon = await Daemon.start(t, { config: { log: logOf(kind, brokers) } })
    const { roles } = await daemon.until(({ log: { away } }) => away === undefined)
    const server = brokers.kafka ?? brokers.nats!
    const body = frame(...Array.from({ length: 200 }, () => ({ subject: 's', data: new Uint8Array(1000) })))
    const statuses = new Map<number, number>()
    let sending = true
    let refusal: Response | undefined
    const send = async () => {
      while (sending) {
        const response = await daemon.post(body)
        if (response.status === 503) refusal ??= response
        else await response.arrayBuffer()
        statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
      }
    }
    const senders = Array.from({ length: 16 }, send)
    await until(() => (statuses.get(202) ?? 0) > 20, 'the first acks')
    server.pause()
    await until(() => (statuses.get(503) ?? 0) > 500, 'refusals')
    assert.equal(refusal!.headers.get('retry-after'), '1')
    assert.equal(((await refusal!.json()) as { code: string }).code, 'log-unavailable')
    for (const { pid } of roles) assert.ok(residentMb(pid) < MB_MAX, `${pid} has ${residentMb(pid)} MB`)
    server.resume()
    const acked = statuses.get(202)!
    await until(() => statuses.get(202)! > acked + 100, 'acks after it goes on')
    sending = false
    await Promise.all(senders)
    // What was on its way when it stopped was held until the broker's word came, or nobody knew in time.
    const known = statuses.get(202)! * 200
    const unknown = (statuses.get(504) ?? 0) * 200
    const status = await daemon.processed(known)
    assert.ok(
      status.processed.events <= known + unknown,
      `${status.processed.events} of ${known} + ${unknown}`,
    )
    assert.deepEqual(
      [...statuses.keys()].filter((code) => ![202, 503, 504].includes(code)),
      [],
    )
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
