// Bodies that belong to several partitions: whole or not at all, as far as that can be.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Problem } from '../../src/errors.ts'
import type { Waiting } from '../../src/ingest/batcher.ts'
import { openIntake } from '../../src/ingest/intake.ts'
import { LogFull, LogUnavailable, LogUnconfirmed, type LogWriter } from '../../src/log/log.ts'
import type { Segment } from '../../src/log/segment.ts'
import { frame } from '../e2e/daemon.ts'

/** A lane that answers each append at once, with what `refuse` says. */
class Lane implements LogWriter {
  readonly kind = 'lane'
  readonly writer = '0000000000000000'
  readonly durability = 'buffered'
  readonly segments: Segment[] = []
  refuse: () => Error | undefined = () => undefined
  async append(segment: Segment): Promise<void> {
    const error = this.refuse()
    if (error !== undefined) throw error
    this.segments.push(segment)
  }
  get events(): number {
    return this.segments.reduce((sum, { events }) => sum + events, 0)
  }
  written() {
    return { segments: 0, events: 0, bodies: 0, backlogBytes: 0 }
  }
  async close(): Promise<void> {}
}

const lanesOf = (count: number) => Array.from({ length: count }, () => new Lane())
const events = Array.from({ length: 40 }, (_, i) => ({ subject: `s${i}` }))

function answer(): { waiting: Waiting; answered: Promise<string> } {
  let tell!: (text: string) => void
  const answered = new Promise<string>((resolve) => {
    tell = resolve
  })
  return { answered, waiting: { durable: () => tell('durable'), refused: ({ code }: Problem) => tell(code) } }
}

test('a body is cut by subject, and durable when all of its parts are', async () => {
  const lanes = lanesOf(4)
  const intake = openIntake(lanes)
  const { waiting, answered } = answer()
  const body = frame(...events)
  intake.add(body, events.length, 'p', 5, 'c', waiting)
  assert.equal(await answered, 'durable')
  assert.equal(
    lanes.reduce((sum, lane) => sum + lane.events, 0),
    events.length,
  )
  for (const { segments } of lanes) {
    assert.equal(segments.length, 1)
    const [{ producer, sequence, correlation }] = segments[0].table()
    assert.deepEqual([producer, sequence, correlation], ['p', 5, 'c'])
  }
})

test('a subject always goes to the same partition', async () => {
  const lanes = lanesOf(4)
  const intake = openIntake(lanes)
  for (let i = 0; i < 20; i++) {
    const { waiting, answered } = answer()
    intake.add(frame({ subject: 'one' }), 1, '', 0, '', waiting)
    assert.equal(await answered, 'durable')
  }
  assert.deepEqual(lanes.map((lane) => lane.events).sort(), [0, 0, 0, 20])
})

test('where every part is refused, so is the body', async () => {
  const lanes = lanesOf(4)
  for (const lane of lanes) lane.refuse = () => new LogUnavailable('away')
  const { waiting, answered } = answer()
  openIntake(lanes).add(frame(...events), events.length, '', 0, '', waiting)
  assert.equal(await answered, 'log-unavailable')
})

test('a part that is refused while others are durable is tried again until it is in', async () => {
  const lanes = lanesOf(4)
  let refusals = 3
  lanes[2].refuse = () => (refusals-- > 0 ? new LogFull('full') : undefined)
  const { waiting, answered } = answer()
  openIntake(lanes).add(frame(...events), events.length, '', 0, '', waiting)
  assert.equal(await answered, 'durable')
  assert.equal(
    lanes.reduce((sum, lane) => sum + lane.events, 0),
    events.length,
  )
})

test('a body for a partition that refuses is refused before any part is taken', async () => {
  const lanes = lanesOf(4)
  let full = true
  lanes[1].refuse = () => (full ? new LogFull('full') : undefined)
  const intake = openIntake(lanes)
  const first = answer()
  intake.add(frame(...events), events.length, '', 0, '', first.waiting)
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  const before = lanes.map((lane) => lane.events)
  assert.throws(
    () => intake.add(frame(...events), events.length, '', 0, '', answer().waiting),
    (problem: Problem) => problem.code === 'backlog-full',
  )
  assert.deepEqual(
    lanes.map((lane) => lane.events),
    before,
  )
  full = false
  assert.equal(await first.answered, 'durable')
})

test('a part that is refused for too long beside a durable one makes the whole unconfirmed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const lanes = lanesOf(2)
  lanes[1].refuse = () => new LogFull('full')
  const { waiting, answered } = answer()
  openIntake(lanes).add(frame(...events), events.length, '', 0, '', waiting)
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  now = 1e6
  t.mock.timers.tick(1000)
  assert.equal(await answered, 'unconfirmed')
})

test('a part that may be in the log is not sent again: its copy would be counted too', async () => {
  const lanes = lanesOf(4)
  let sent = 0
  lanes[1].refuse = () => {
    sent++
    return new LogUnconfirmed('who knows')
  }
  const { waiting, answered } = answer()
  openIntake(lanes).add(frame(...events), events.length, '', 0, '', waiting)
  assert.equal(await answered, 'unconfirmed')
  assert.equal(sent, 1)
})

test('drained resolves when bodies in parts have their answers too', async () => {
  const lanes = lanesOf(4)
  let full = true
  lanes[3].refuse = () => (full ? new LogFull('full') : undefined)
  const intake = openIntake(lanes)
  const { waiting, answered } = answer()
  const told: string[] = []
  intake.add(frame(...events), events.length, '', 0, '', waiting)
  void answered.then((text) => told.push(text))
  const drained = intake.drained().then(() => told.push('drained'))
  await new Promise((resolve) => setImmediate(resolve))
  full = false
  await drained
  assert.deepEqual(told, ['durable', 'drained'])
})
