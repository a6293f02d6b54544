// The account that a listener keeps of a broker's log, with a publisher whose answers come when the test says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerWriter } from '../../src/log/broker-writer.ts'
import { LogFull, LogUnavailable, LogUnconfirmed } from '../../src/log/log.ts'
import type { Segment } from '../../src/log/segment.ts'
import { segment } from './segments.ts'

function setUp(backlogBytesMax = 10_000) {
  const ends: { resolve: () => void; reject: (error: Error) => void }[] = []
  const published: Segment[] = []
  const publisher = {
    away: undefined as string | undefined,
    publish(_partition: number, one: Segment): Promise<void> {
      published.push(one)
      return new Promise((resolve, reject) => ends.push({ resolve, reject }))
    },
  }
  const seen = { committed: 0 }
  const writer = new BrokerWriter({
    kind: 'jetstream',
    partition: 3,
    publisher,
    backlogBytesMax,
    committed: (name) => {
      assert.equal(name, writer.writer)
      return seen.committed
    },
  })
  return { writer, publisher, published, ends, seen }
}

test('segments get rising sequences and totals before they are published', async () => {
  const { writer, published, ends } = setUp()
  const appends = ['a', 'b', 'c'].map((name) => writer.append(segment(name)))
  assert.deepEqual(
    published.map(({ writer: name, sequence, priorEvents }) => [name, sequence, priorEvents]),
    [0, 1, 2].map((n) => [writer.writer, n, n]),
  )
  for (const { resolve } of ends) resolve()
  await Promise.all(appends)
  assert.deepEqual(
    { ...writer.written(), backlogBytes: 0 },
    { segments: 3, events: 3, bodies: 3, backlogBytes: 0 },
  )
})

test('while the broker is away nothing is stamped or sent', async () => {
  const { writer, publisher, published } = setUp()
  publisher.away = 'the broker at nowhere does not answer'
  await assert.rejects(writer.append(segment('a')), (error) => {
    return error instanceof LogUnavailable && error.message.includes('nowhere')
  })
  publisher.away = undefined
  void writer.append(segment('b'))
  assert.equal(published[0].sequence, 0)
})

test('what waits is bounded, and room comes back with what is committed', async () => {
  const { writer, ends, seen } = setUp(10_000)
  const large = () => segment('x', 3000)
  const appends = [large(), large(), large()].map((one) => writer.append(one))
  await assert.rejects(writer.append(large()), LogFull)
  for (const { resolve } of ends) resolve()
  await Promise.all(appends)
  await assert.rejects(writer.append(large()), LogFull, 'confirmed is not committed')
  seen.committed = 1
  assert.ok(writer.written().backlogBytes < 7000)
  const next = writer.append(large())
  ends.at(-1)!.resolve()
  await next
})

test('what was refused does not wait, and does not count as written', async () => {
  for (const error of [new LogFull('full'), new LogUnavailable('away'), new LogUnconfirmed('who knows')]) {
    const { writer, ends } = setUp()
    const first = writer.append(segment('a'))
    const second = writer.append(segment('b', 3000))
    ends[0].resolve()
    ends[1].reject(error)
    await first
    await assert.rejects(second, error)
    const { segments, events, backlogBytes } = writer.written()
    assert.deepEqual([segments, events], [1, 1])
    assert.ok(backlogBytes > 0 && backlogBytes < 3000)
  }
})

test('after a refusal the totals of later segments are those that the reader will see', async () => {
  const { writer, ends, published } = setUp()
  const first = writer.append(segment('a'))
  ends[0].reject(new LogUnavailable('away'))
  await assert.rejects(first)
  const second = writer.append(segment('b'))
  ends[1].resolve()
  await second
  assert.equal(writer.written().events, published[1].priorEvents + published[1].events)
})

test('close waits for what is on its way, and takes nothing more', async () => {
  const { writer, ends } = setUp()
  const told: string[] = []
  const append = writer.append(segment('a')).then(() => told.push('appended'))
  const close = writer.close().then(() => told.push('closed'))
  await assert.rejects(writer.append(segment('late')), LogUnavailable)
  ends[0].resolve()
  await Promise.all([append, close])
  assert.deepEqual(told, ['appended', 'closed'])
})

test('memory does not grow with what is committed', async () => {
  const { writer, ends, seen } = setUp(100_000)
  for (let n = 0; n < 5000; n++) {
    const append = writer.append(segment('a', 1000))
    ends[n].resolve()
    await append
    seen.committed = n // always one behind
    if (n % 20 === 0) writer.written()
  }
  assert.ok(writer.written().backlogBytes < 3000)
})
