import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Problem } from '../../src/errors.ts'
import { Batcher, type Waiting } from '../../src/ingest/batcher.ts'
import { SEGMENT_BODIES_MAX, SEGMENT_BYTES_TARGET } from '../../src/limits.ts'
import { type Durability, LogFull, LogUnavailable, type LogWriter } from '../../src/log/log.ts'
import type { Segment } from '../../src/log/segment.ts'

/** A log whose appends end when the test says. */
class HeldLog implements LogWriter {
  readonly kind = 'held'
  readonly writer = '0000000000000000'
  readonly durability: Durability = 'buffered'
  readonly segments: Segment[] = []
  readonly givesBack: boolean
  constructor(givesBack = false) {
    this.givesBack = givesBack
  }
  readonly #ends: { resolve: () => void; reject: (error: Error) => void }[] = []
  append(segment: Segment): Promise<void> {
    this.segments.push(segment)
    return new Promise((resolve, reject) => this.#ends.push({ resolve, reject }))
  }
  end(error?: Error): void {
    const next = this.#ends.shift()!
    if (error === undefined) next.resolve()
    else next.reject(error)
  }
  written() {
    return { segments: 0, events: 0, bodies: 0, backlogBytes: 0 }
  }
  async close(): Promise<void> {}
}

const answers = () => {
  const told: string[] = []
  const waiting = (name: string): Waiting => ({
    durable: () => void told.push(name),
    refused: (problem: Problem) => void told.push(`${name}:${problem.code}`),
  })
  return { told, waiting }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))
const body = (bytes = 8) => new Uint8Array(bytes).fill(7)

test('nobody is answered before the log says durable', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { told, waiting } = answers()
  batcher.add(body(), 1, '', 0, '', waiting('a'))
  await turn()
  await turn()
  assert.equal(log.segments.length, 1)
  assert.deepEqual(told, [])
  log.end()
  await turn()
  assert.deepEqual(told, ['a'])
})

test('bodies of one turn share a segment, and those that come during a write share the next', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { told, waiting } = answers()
  batcher.add(body(), 1, '', 0, '', waiting('a'))
  batcher.add(body(), 2, '', 0, '', waiting('b'))
  await turn()
  batcher.add(body(), 3, 'p', 9, 'c', waiting('c'))
  batcher.add(body(), 4, '', 0, '', waiting('d'))
  await turn()
  assert.deepEqual(
    log.segments.map((segment) => segment.events),
    [3],
  )
  log.end()
  await turn()
  assert.deepEqual(told, ['a', 'b'])
  assert.deepEqual(
    log.segments.map((segment) => segment.events),
    [3, 7],
  )
  const [first] = log.segments[1].table()
  assert.deepEqual(first, { start: 0, end: 8, events: 3, producer: 'p', sequence: 9, correlation: 'c' })
})

test('a full segment does not wait for the one before it', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { waiting } = answers()
  batcher.add(body(SEGMENT_BYTES_TARGET), 1, '', 0, '', waiting('a'))
  batcher.add(body(SEGMENT_BYTES_TARGET), 1, '', 0, '', waiting('b'))
  for (let i = 0; i < SEGMENT_BODIES_MAX; i++) batcher.add(body(1), 1, '', 0, '', waiting('c'))
  assert.deepEqual(
    log.segments.map((segment) => segment.bodies),
    [1, 1, SEGMENT_BODIES_MAX],
  )
})

test('a refused segment refuses its bodies alone, with the code that fits', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { told, waiting } = answers()
  batcher.add(body(), 1, '', 0, '', waiting('full'))
  await turn()
  batcher.add(body(), 1, '', 0, '', waiting('broken'))
  log.end(new LogFull('no room'))
  await turn()
  batcher.add(body(), 1, '', 0, '', waiting('good'))
  log.end(new LogUnavailable('disk'))
  await turn()
  log.end()
  await turn()
  assert.deepEqual(told, ['full:backlog-full', 'broken:log-unavailable', 'good'])
})

test('what must not overtake a refused body is kept out of the log, and the bodies beside it go on', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { told, waiting } = answers()
  let refused = false
  const inOrder = (name: string, first: boolean): Waiting => ({
    durable: () => void told.push(name),
    refused: (problem) => {
      refused = true
      told.push(`${name}:${problem.code}`)
    },
    get overtaking() {
      return refused && !first
    },
  })
  batcher.add(body(), 1, '', 0, '', inOrder('stream-1', true))
  await turn()
  batcher.add(body(9), 2, 'p', 5, 'c', waiting('before'))
  batcher.add(body(10), 3, '', 0, '', inOrder('stream-2', false))
  batcher.add(body(11), 4, '', 0, 'd', waiting('behind'))
  log.end(new LogFull('no room'))
  await turn()
  assert.deepEqual(told, ['stream-1:backlog-full', 'stream-2:backlog-full'])
  log.end()
  await turn()
  assert.deepEqual(told.slice(2), ['before', 'behind'])
  assert.equal(log.segments[1].events, 6)
  assert.deepEqual(
    [...log.segments[1].table()],
    [
      { start: 0, end: 9, events: 2, producer: 'p', sequence: 5, correlation: 'c' },
      { start: 9, end: 20, events: 4, producer: undefined, sequence: 0, correlation: 'd' },
    ],
  )
  await batcher.drained()
})

test('drained resolves when the last answer is out', async () => {
  const log = new HeldLog()
  const batcher = new Batcher(log)
  const { told, waiting } = answers()
  batcher.add(body(), 1, '', 0, '', waiting('a'))
  const drained = batcher.drained().then(() => told.push('drained'))
  await turn()
  batcher.add(body(), 1, '', 0, '', waiting('b'))
  log.end()
  await turn()
  log.end()
  await drained
  assert.deepEqual(told, ['a', 'b', 'drained'])
})

for (const givesBack of [true, false]) {
  test(`memory ${givesBack ? 'that the log gives back' : 'that the log keeps'} is ${givesBack ? '' : 'not '}used again`, async () => {
    const log = new HeldLog(givesBack)
    const batcher = new Batcher(log)
    const { waiting } = answers()
    for (const [n, error] of [undefined, new LogUnavailable('no'), undefined, undefined].entries()) {
      batcher.add(body(), 1, '', 0, '', waiting(String(n)))
      await turn()
      log.end(error)
      await turn()
    }
    const memory = log.segments.map(({ bytes }) => bytes.buffer)
    assert.equal(memory.length, 4)
    assert.equal(memory[2] === memory[0], givesBack) // the second one was filling while the first was on its way
    assert.notEqual(memory[3], memory[1], 'nobody knows who looks at what was refused')
  })
}
