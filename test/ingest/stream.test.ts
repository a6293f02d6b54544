// One stream against a model of its client and of the log: docs/stream.md is what they hold each other to.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Problem } from '../../src/errors.ts'
import { Admission } from '../../src/ingest/admission.ts'
import type { Waiting } from '../../src/ingest/batcher.ts'
import type { Intake } from '../../src/ingest/intake.ts'
import { type Sender, type Socket, Stream } from '../../src/ingest/stream.ts'
import { ACK_BYTES } from '../../src/ingest/stream-messages.ts'
import { Window } from '../../src/ingest/stream-window.ts'
import { STREAM_CREDIT_MESSAGES } from '../../src/limits.ts'
import { Door } from '../../src/telemetry/doors.ts'
import { Counter, Metrics } from '../../src/telemetry/metrics.ts'
import { frame } from '../e2e/daemon.ts'

const good = frame({ subject: 's' })
const MAX_MESSAGE = 1000
const CREDIT_BYTES = 3000

/** Takes bodies, and answers them when the test says. */
class HeldIntake implements Intake {
  readonly taken: { producer: string; sequence: number; correlation: string; waiting: Waiting }[] = []
  refusal: Problem | undefined
  add(
    _: Uint8Array,
    _events: number,
    producer: string,
    sequence: number,
    correlation: string,
    waiting: Waiting,
  ) {
    if (this.refusal !== undefined) throw this.refusal
    this.taken.push({ producer, sequence, correlation, waiting })
  }
  async drained(): Promise<void> {}
}

class FakeSocket implements Socket {
  readonly texts: { hello?: Hello; error?: { code: string }; sequence?: number; retryAfter?: number }[] = []
  readonly hex: string[] = []
  readonly acks: { durable: number; messages: number; bytes: number }[] = []
  ended: { code: number; reason: string } | 'cut' | undefined
  buffered = 0
  onClosed = () => {}
  send(message: string | Uint8Array, isBinary: boolean): void {
    assert.equal(this.ended, undefined, 'nothing is sent after the goodbye')
    if (typeof message === 'string') {
      assert.equal(isBinary, false)
      this.texts.push(JSON.parse(message))
      return
    }
    assert.equal(isBinary, true)
    assert.equal(message.length, ACK_BYTES)
    this.hex.push(Buffer.from(message).toString('hex'))
    const view = new DataView(message.buffer, message.byteOffset)
    const [durable, messages, bytes] = [0, 8, 16].map((at) => Number(view.getBigUint64(at, true)))
    this.acks.push({ durable, messages, bytes })
  }
  getBufferedAmount(): number {
    return this.buffered
  }
  end(code: number, reason: string): void {
    assert.equal(this.ended, undefined)
    this.ended = { code, reason }
    this.onClosed()
  }
  close(): void {
    assert.equal(this.ended, undefined)
    this.ended = 'cut'
    this.onClosed()
  }
}

interface Hello {
  sequence: number
  durability: string
  maxMessage: number
  credit: { messages: number; bytes: number }
  correlationId: string
}

function open(over: Partial<Sender> = {}, creditBytes = CREDIT_BYTES) {
  const intake = new HeldIntake()
  const admission = new Admission()
  const socket = new FakeSocket()
  const told = new Set<Stream>()
  const refused: string[] = []
  const world = { over: 0 }
  const stream = new Stream(
    {
      intake,
      admission,
      maxMessage: MAX_MESSAGE,
      door: new Door(new Metrics(), 'stream'),
      bytes: new Counter(),
      durability: 'fsynced',
      refused: (problem) => void refused.push(problem.code),
      creditBytes: () => creditBytes,
      settled: (one) => void told.add(one),
      over: () => void world.over++,
    },
    { caller: undefined, producer: 'p', sequence: 0, correlation: '', correlationId: 'c-1', ...over },
  )
  socket.onClosed = () => stream.closed()
  stream.open(socket)
  /** The end of a group commit. */
  const tell = () => {
    for (const one of told) one.tell()
    told.clear()
  }
  return { intake, admission, socket, stream, refused, tell, world }
}

test('the first message says what may be sent', () => {
  const { socket } = open({ sequence: 7 })
  assert.deepEqual(socket.texts, [
    {
      hello: {
        sequence: 7,
        durability: 'fsynced',
        maxMessage: MAX_MESSAGE,
        credit: { messages: 7 + STREAM_CREDIT_MESSAGES, bytes: CREDIT_BYTES },
        correlationId: 'c-1',
      },
    },
  ])
})

test('the worked example in docs/stream.md, byte for byte', () => {
  const { stream, intake, socket, tell } = open({ sequence: 1040 }, 2 * 2 ** 20)
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
  const sent = hex('0a 12 12 0a 67 72 65 65 6e 68 6f 75 73 65 1a 04 74 65 6d 70')
  stream.message(sent, true)
  stream.message(sent, true)
  for (const { waiting } of intake.taken) waiting.durable()
  tell()
  const ack = hex('12 04 00 00 00 00 00 00  12 14 00 00 00 00 00 00  28 00 20 00 00 00 00 00').toString('hex')
  assert.deepEqual(socket.hex, [ack])
  stream.message(hex('0a 03 12 01 78'), true)
  assert.deepEqual(socket.hex, [ack, ack])
  assert.equal(socket.texts[0].hello!.credit.messages, 5136)
  assert.equal(socket.texts[1].sequence, 1042)
  assert.deepEqual(socket.ended, { code: 4400, reason: 'malformed' })
})

test('messages are numbered from the first sequence on, and carry the producer and the correlation id', () => {
  const { stream, intake } = open({ sequence: 7, correlation: 'order-1' })
  stream.message(good, true)
  stream.message(good, true)
  assert.deepEqual(
    intake.taken.map(({ producer, sequence, correlation }) => [producer, sequence, correlation]),
    [
      ['p', 7, 'order-1'],
      ['p', 8, 'order-1'],
    ],
  )
})

test('one ack covers what became durable at once, and gives the credit back', () => {
  const { stream, intake, socket, tell, admission } = open()
  for (let i = 0; i < 3; i++) stream.message(good, true)
  assert.equal(admission.bytes, 3 * good.length)
  for (const { waiting } of intake.taken) waiting.durable()
  tell()
  assert.deepEqual(socket.acks, [
    { durable: 3, messages: 3 + STREAM_CREDIT_MESSAGES, bytes: CREDIT_BYTES + 3 * good.length },
  ])
  assert.equal(admission.bytes, 0)
})

test('a message that is durable before an earlier one waits for it', () => {
  const { stream, intake, socket, tell } = open()
  for (let i = 0; i < 3; i++) stream.message(good, true)
  intake.taken[2].waiting.durable()
  intake.taken[1].waiting.durable()
  tell()
  assert.equal(socket.acks.at(-1)!.durable, 0)
  intake.taken[0].waiting.durable()
  tell()
  assert.equal(socket.acks.at(-1)!.durable, 3)
})

test('a refused message ends the stream once what came before it is durable, and nothing behind it is taken', () => {
  const { stream, intake, socket, tell, refused, world } = open()
  stream.message(good, true)
  stream.message(good.subarray(0, -2), true)
  stream.message(good, true)
  assert.equal(intake.taken.length, 1)
  assert.equal(socket.ended, undefined, 'the first one has no answer yet')
  intake.taken[0].waiting.durable()
  tell()
  assert.equal(socket.acks.at(-1)!.durable, 1)
  const { error, sequence } = socket.texts[1]
  assert.equal(error!.code, 'malformed')
  assert.equal(sequence, 1)
  assert.deepEqual(socket.ended, { code: 4400, reason: 'malformed' })
  assert.deepEqual(refused, ['malformed'])
  assert.equal(world.over, 1)
})

test('of several refusals the client hears that of the first message', () => {
  const { stream, intake, socket, tell } = open()
  for (let i = 0; i < 4; i++) stream.message(good, true)
  const [first, second, third, fourth] = intake.taken.map(({ waiting }) => waiting)
  third.refused(new Problem('log-unavailable', 'disk'))
  assert.equal(first.overtaking, false)
  assert.equal(second.overtaking, false)
  assert.equal(fourth.overtaking, true, 'where it can be kept out of the log, it is')
  second.refused(new Problem('backlog-full', 'full'))
  fourth.durable()
  first.durable()
  tell()
  assert.equal(socket.texts[1].error!.code, 'backlog-full')
  assert.equal(socket.texts[1].sequence, 1)
  assert.equal(socket.texts[1].retryAfter, 1)
  assert.deepEqual(socket.ended, { code: 4429, reason: 'backlog-full' })
})

for (const [name, bytes, isBinary, code, close] of [
  ['text', good, false, 'unsupported-media-type', 4415],
  ['an empty message', Buffer.alloc(0), true, 'malformed', 4400],
  ['a message past maxMessage', frame({ data: new Uint8Array(MAX_MESSAGE) }), true, 'too-large', 4413],
] as const) {
  test(`refused: ${name}`, () => {
    const { stream, socket, admission } = open()
    stream.message(bytes, isBinary)
    assert.equal(socket.texts[1].error!.code, code)
    assert.deepEqual(socket.ended, { code: close, reason: code })
    assert.equal(admission.bytes, 0)
  })
}

test('what the intake refuses at once leaves nothing behind', () => {
  const { stream, socket, intake, admission } = open()
  intake.refusal = new Problem('backlog-full', 'full')
  stream.message(good, true)
  assert.deepEqual(socket.ended, { code: 4429, reason: 'backlog-full' })
  assert.equal(admission.bytes, 0)
})

test('a client that sends more than its credit in messages or in bytes is refused', () => {
  const small = frame({ source: 's', type: 't' })
  const counted = open()
  // Bytes are given back as messages become durable out of order; only the number of messages is used up.
  for (let i = 0; i < STREAM_CREDIT_MESSAGES; i++) {
    counted.stream.message(small, true)
    if (i > 0) counted.intake.taken[i].waiting.durable()
    counted.tell()
  }
  assert.equal(counted.socket.ended, undefined)
  counted.stream.message(small, true)
  counted.intake.taken[0].waiting.durable()
  counted.tell()
  assert.deepEqual(counted.socket.ended, { code: 4400, reason: 'over-credit' })
  assert.equal(counted.socket.texts[1].sequence, STREAM_CREDIT_MESSAGES)

  const weighed = open()
  const large = frame({ data: new Uint8Array(MAX_MESSAGE - 50) })
  let sent = 0
  for (; sent < CREDIT_BYTES; sent += large.length) weighed.stream.message(large, true)
  assert.equal(weighed.intake.taken.length, 4, 'the last one begins within the credit')
  weighed.stream.message(good, true)
  for (const { waiting } of weighed.intake.taken) waiting.durable()
  weighed.tell()
  assert.deepEqual(weighed.socket.ended, { code: 4400, reason: 'over-credit' })
})

test('a client that does not read is owed one ack, and gets no credit until then', () => {
  const { stream, intake, socket, tell } = open()
  socket.buffered = 1
  for (let i = 0; i < STREAM_CREDIT_MESSAGES + 1; i++) {
    stream.message(good, true)
    intake.taken[i]?.waiting.durable()
    tell()
    if (socket.ended !== undefined) break
  }
  assert.equal(socket.acks.length, 0)
  assert.equal(socket.ended, 'cut')
  assert.ok(intake.taken.length <= CREDIT_BYTES / good.length + 1)

  const patient = open()
  patient.socket.buffered = 1
  for (let i = 0; i < 3; i++) {
    patient.stream.message(good, true)
    patient.intake.taken[i].waiting.durable()
    patient.tell()
  }
  patient.socket.buffered = 0
  patient.stream.drained()
  assert.deepEqual(
    patient.socket.acks.map(({ durable }) => durable),
    [3],
  )
  patient.stream.drained()
  assert.equal(patient.socket.acks.length, 1, 'and it is told once')
})

test('draining answers what is in flight, then says goodbye with 1001', () => {
  const { stream, intake, socket, tell, world } = open()
  stream.message(good, true)
  stream.end(new Problem('draining', 'shutting down'))
  stream.message(good, true)
  assert.equal(intake.taken.length, 1)
  assert.equal(world.over, 0)
  intake.taken[0].waiting.durable()
  tell()
  assert.equal(socket.acks.at(-1)!.durable, 1)
  assert.equal(socket.texts[1].sequence, 1)
  assert.deepEqual(socket.ended, { code: 1001, reason: 'draining' })
  assert.equal(world.over, 1)
})

test('a client that goes away is forgotten when the last of its messages has its answer', () => {
  const { stream, intake, socket, tell, admission, world } = open()
  stream.message(good, true)
  stream.closed()
  assert.equal(world.over, 0)
  intake.taken[0].waiting.durable()
  tell()
  assert.equal(world.over, 1)
  assert.equal(admission.bytes, 0)
  assert.deepEqual(socket.acks, [])
})

type Step =
  | { do: 'send'; what: 'good' | 'bad' | 'text' }
  | { do: 'settle'; pick: number; refuse: boolean }
  | { do: 'tell' }
  | { do: 'clog'; clogged: boolean }
  | { do: 'leave' }
  | { do: 'drain' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      what: fc.oneof(
        { weight: 30, arbitrary: fc.constant('good' as const) },
        { weight: 1, arbitrary: fc.constantFrom('bad' as const, 'text' as const) },
      ),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      pick: fc.nat(),
      refuse: fc.oneof(
        { weight: 20, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('tell' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clog' as const), clogged: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: 'leave' }, { do: 'drain' }) },
)

test('whatever happens: an ack covers only what is durable, and the end says exactly where to go on', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.nat({ max: 1000 }), (steps, first) => {
      const { stream, intake, socket, tell, admission, world } = open({ sequence: first })
      const open_ = new Map<number, Waiting>()
      const durable = new Set<number>()
      const refused = new Set<number>()
      let seen = 0
      let stopped = false
      let left = false
      const look = () => {
        for (; seen < intake.taken.length; seen++) {
          open_.set(first + seen, intake.taken[seen].waiting)
          assert.equal(intake.taken[seen].sequence, first + seen)
        }
      }
      const settle = (sequence: number, refuse: boolean) => {
        const waiting = open_.get(sequence)!
        open_.delete(sequence)
        if (refuse) waiting.refused(new Problem('log-unavailable', 'x'))
        else waiting.durable()
        ;(refuse ? refused : durable).add(sequence)
      }
      const contiguous = () => {
        let base = first
        while (durable.has(base)) base++
        return base
      }
      for (const one of steps) {
        const taken = intake.taken.length
        if (one.do === 'send' && socket.ended === undefined && !left) {
          const bytes = one.what === 'bad' ? good.subarray(0, -1) : good
          stream.message(bytes, one.what !== 'text')
          if (stopped || refused.size > 0)
            assert.equal(intake.taken.length, taken, 'nothing behind a refusal')
          if (intake.taken.length === taken) stopped = true
        } else if (one.do === 'settle' && open_.size > 0) {
          settle([...open_.keys()][one.pick % open_.size], one.refuse)
        } else if (one.do === 'tell') {
          tell()
          const last = socket.acks.at(-1)
          if (socket.buffered === 0 && socket.ended === undefined && refused.size === 0 && !stopped && last) {
            assert.ok(last.durable <= contiguous())
          }
        } else if (one.do === 'clog') {
          socket.buffered = one.clogged ? 100 : 0
          if (!one.clogged && socket.ended === undefined && !left) stream.drained()
        } else if (one.do === 'leave' && socket.ended === undefined && !left) {
          left = true
          stream.closed()
        } else if (one.do === 'drain') {
          stream.end(new Problem('draining', 'x'))
          stopped = true
        }
        look()
        for (const ack of socket.acks) assert.ok(ack.durable <= contiguous(), 'an ack is true')
      }
      for (const sequence of [...open_.keys()]) settle(sequence, false)
      tell()
      if (!left && socket.ended === undefined) stream.end(new Problem('draining', 'x'))
      assert.equal(world.over, 1, 'it is over once')
      assert.equal(admission.bytes, 0, 'nothing is held')
      for (let i = 1; i < socket.acks.length; i++) {
        assert.ok(socket.acks[i].durable >= socket.acks[i - 1].durable)
        assert.ok(socket.acks[i].messages >= socket.acks[i - 1].messages)
        assert.ok(socket.acks[i].bytes >= socket.acks[i - 1].bytes)
      }
      if (!left && socket.ended !== 'cut') {
        assert.equal(socket.texts.length, 2)
        assert.equal(socket.texts[1].sequence, contiguous())
        assert.equal(socket.acks.at(-1)!.durable, contiguous())
      }
    }),
    { numRuns: 2000 },
  )
})

test('a window knows the first sequence that is not durable, in whatever order they become so', () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 40 }), fc.array(fc.nat(), { maxLength: 200 }), (first, order) => {
      const window = new Window(first, 64)
      const waiting: number[] = []
      const durable = new Set<number>()
      for (const pick of order) {
        if (window.next - window.base < 64 && pick % 2 === 0) waiting.push(window.take())
        else if (waiting.length > 0) {
          const [sequence] = waiting.splice(pick % waiting.length, 1)
          durable.add(sequence)
          window.durable(sequence)
        }
        let base = first
        while (durable.has(base)) base++
        assert.equal(window.base, base)
      }
    }),
  )
})
