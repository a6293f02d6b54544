import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { millrace } from '#proto'
import type { Measure } from '../../src/config/config.ts'
import { deadLetter, drop, type Outcome, ok } from '../../src/handler.ts'
import { EMITS_PER_EVENT_MAX, TASK_EFFECT_BYTES_TARGET } from '../../src/limits.ts'
import { Fold } from '../../src/processor/fold.ts'
import { processSeed } from '../../src/processor/seed.ts'
import { emitted, handle, handler, RECEIVED_AT, rowsOf } from './handlers.ts'
import { eventFrame } from './wire.ts'

const { Frame } = millrace.v1

function frames(...subjects: string[]): Uint8Array {
  const events = subjects.map((subject, i) => ({ source: 's', type: 't', subject, value: i + 1 }))
  return Frame.encode({ events }).finish()
}

test('a handler that repeats a measure comes to the same rows as the measure', () => {
  const measure: Measure = {
    name: 'm',
    where: { type: 'page*', 'attributes.tier': '*a' },
    by: ['subject', 'attributes.region'],
    value: 'value',
    window: 7,
    quantiles: true,
  }
  const same = emitted('e', ['subject', 'region'], { window: 7, quantiles: true })
  const repeat = handler(
    (event, emit) => {
      if (event.value === undefined) return drop('no value')
      // Rows of events whose time is given must be those of events whose own it is.
      const time = event.subject.length % 2 === 0 ? undefined : event.timeUnixNano
      emit.measure('e', [event.subject, event.attribute('region')], event.value, time)
      return ok
    },
    { match: measure.where, measures: [same] },
  )
  fc.assert(
    fc.property(fc.array(eventFrame, { minLength: 1, maxLength: 30 }), (all) => {
      // What is not finite is refused before it gets here.
      const good = all.filter((one) =>
        Frame.decode(one).events.every(({ value }) => Number.isFinite(value ?? 0)),
      )
      const { rows, effects } = handle(Buffer.concat(good), [repeat], [measure])
      assert.deepEqual(effects.letters, [])
      assert.deepEqual(rows[1], rows[0])
    }),
    { numRuns: 300 },
  )
})

test('times in milliseconds and nanoseconds fall into the same windows', () => {
  fc.assert(
    fc.property(fc.nat(18_446_744_073_709), (ms) => {
      const measures = [emitted('ms', ['k'], { window: 1 }), emitted('ns', ['k'], { window: 1 })]
      const { rows } = handle(frames('a'), [
        handler(
          (_, emit) => {
            emit.measure('ms', 'k', 1, ms + 0.4)
            emit.measure('ns', 'k', 1, BigInt(ms) * 1_000_000n)
          },
          { measures },
        ),
      ])
      assert.deepEqual(rows[0], [{ key: ['k'], window: ms, count: 1, sum: 1 }])
      assert.deepEqual(rows[1], rows[0])
    }),
    { examples: [[18_446_744_073_709]] },
  )
})

test('what a handler did for an event takes effect together, or not at all', () => {
  const measures = [emitted('m', ['k']), emitted('n', ['a', 'b'], { value: 'none' })]
  const outcomes: Record<string, () => Outcome | undefined> = {
    ok: () => ok,
    nothing: () => undefined,
    drop: () => drop('not wanted'),
    dead: () => deadLetter('wrong'),
    throw: () => {
      throw new Error('broken')
    },
    nobody: () => {
      throw undefined
    },
    promise: () => Promise.reject(new Error('later')) as never,
    text: () => 'ok' as never,
    untellable: () => deadLetter(Object.create(null)),
    getter: () => Object.defineProperty({}, 'kind', { get: outcomes.throw }) as never,
  }
  const one = handler(
    ({ subject, value }, emit) => {
      emit.measure('m', `ké${subject}`, value)
      emit.measure('n', [subject, ''])
      emit.result(subject, 'bytes')
      emit.result('last', subject)
      return outcomes[subject]()
    },
    { measures },
  )
  const { rows, effects, results } = handle(frames(...Object.keys(outcomes), 'nothing'), [one])
  assert.deepEqual(rows[0], [
    { key: ['kénothing'], window: 0, count: 2, sum: 13 },
    { key: ['kéok'], window: 0, count: 1, sum: 1 },
  ])
  assert.deepEqual(
    rows[1].map(({ key, count }) => [key, count]),
    [
      [['nothing', ''], 2],
      [['ok', ''], 1],
    ],
  )
  assert.deepEqual(results, { ok: 'bytes', nothing: 'bytes', last: 'nothing' })
  assert.deepEqual(effects.handled, [3])
  assert.deepEqual(effects.dropped, [{ handler: 0, reason: 'not wanted', events: 1 }])
  assert.deepEqual(
    effects.letters.map(({ reason }) => reason),
    [
      'wrong',
      'broken',
      'undefined',
      'map returned a promise: it has to be done when it returns',
      'map returned ok: return nothing, ok, drop(reason) or deadLetter(reason)',
      'map returned what cannot be read',
      'map returned what cannot be read',
    ],
  )
})

test('what cannot be emitted makes the event a dead letter that says why', () => {
  const measures = [emitted('m', ['k']), emitted('n', ['a', 'b'])]
  const wrong: [string, (emit: Parameters<Parameters<typeof handler>[0]>[1]) => void][] = [
    ["there is no measure x in this handler's measures: m, n", (emit) => emit.measure('x', 'k', 1)],
    ['measure m: the value NaN is not a finite number', (emit) => emit.measure('m', 'k', Number.NaN)],
    ['measure m: the value undefined is not a finite number', (emit) => emit.measure('m', 'k')],
    ['measure n: its key is made of a, b, but "k" was given', (emit) => emit.measure('n', 'k', 1)],
    ['measure n: its key is made of a, b, but 1 parts was given', (emit) => emit.measure('n', ['k'], 1)],
    ['measure m: k is 5, not a text', (emit) => emit.measure('m', [5 as never], 1)],
    ['measure m: k has more than 1024 bytes', (emit) => emit.measure('m', 'x'.repeat(1025), 1)],
    ['measure m: k has more than 1024 bytes', (emit) => emit.measure('m', 'é'.repeat(513), 1)],
    ['measure m: the time -1 is not between 1970 and 2554', (emit) => emit.measure('m', 'k', 1, -1)],
    ['measure m: the time NaN is not between 1970 and 2554', (emit) => emit.measure('m', 'k', 1, Number.NaN)],
    ['measure m: the time -1 is not between 1970 and 2554', (emit) => emit.measure('m', 'k', 1, -1n)],
    ['the key of a result is empty', (emit) => emit.result('', 'x')],
    ['the key of a result is 1025 bytes, 1024 at most', (emit) => emit.result('x'.repeat(1025), 'x')],
    ['the result "k" is neither bytes nor a text', (emit) => emit.result('k', 5 as never)],
    [
      'the result "k" is 1048577 bytes, 1048576 at most',
      (emit) => emit.result('k', new Uint8Array(2 ** 20 + 1)),
    ],
  ]
  const one = handler((event, emit) => wrong[event.value! - 1][1](emit), { measures })
  const { rows, effects } = handle(frames(...wrong.map(() => 's')), [one])
  assert.deepEqual(
    effects.letters.map(({ reason }) => reason),
    wrong.map(([reason]) => reason),
  )
  assert.deepEqual(rows, [[], []])
})

test('a handler is given what it may call, and nothing that this is made of', () => {
  const given: { emit?: object; receiver?: unknown } = {}
  const one = handler(function (this: unknown, _, emit) {
    given.emit = emit
    given.receiver = this
  })
  handle(frames('s'), [one])
  assert.deepEqual(Object.keys(given.emit!), ['measure', 'result'])
  assert.equal(Object.getPrototypeOf(given.emit), Object.prototype)
  assert.ok(Object.isFrozen(given.emit))
  assert.equal(given.receiver, undefined)
})

test('what is emitted after map has returned is refused, and counts for no other event', async () => {
  const late: unknown[] = []
  const attempt = (emitting: () => void) => {
    try {
      emitting()
    } catch (error) {
      late.push((error as Error).message)
    }
  }
  const one = handler(
    ({ subject }, emit) => {
      emit.measure('m', subject, 1)
      queueMicrotask(() => {
        attempt(() => emit.measure('m', subject, 1))
        attempt(() => emit.result(subject, 'late'))
      })
    },
    { measures: [emitted('m', ['k'])] },
  )
  const fold = new Fold([], processSeed, [one])
  const bytes = frames('a', 'b')
  const task = () => {
    fold.handling!.begin(new Int32Array(2))
    const delta = fold.task(bytes, [bytes.length, RECEIVED_AT])
    return rowsOf(delta)[0].map(({ key, count }) => [key[0], count])
  }
  assert.deepEqual(task(), [
    ['a', 1],
    ['b', 1],
  ])
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(late.length, 4)
  assert.match(String(late[0]), /emit was called after map had returned/)
  assert.deepEqual(task(), [
    ['a', 1],
    ['b', 1],
  ])
  assert.equal(fold.effects!.results.length, 0)
})

test('one event may emit a lot, up to a bound', () => {
  const one = handler(
    ({ value }, emit) => {
      for (let i = 0; i < value!; i++) emit.measure('m', `k${i % 1000}`, 1)
    },
    { measures: [emitted('m', ['k'])] },
  )
  const events = [300, EMITS_PER_EVENT_MAX, EMITS_PER_EVENT_MAX + 1, 5000].map((value) => ({
    source: 's',
    type: 't',
    value,
  }))
  const { rows, effects } = handle(Frame.encode({ events }).finish(), [one])
  assert.equal(rows[0].length, 1000)
  assert.equal(
    rows[0].reduce((sum, { count }) => sum + count, 0),
    300 + EMITS_PER_EVENT_MAX + 5000,
  )
  assert.equal(effects.letters.length, 1)
})

test('reasons for dropping are counted each by itself while they are few', () => {
  const one = handler(({ value }) => drop(`reason ${value! % 40}`))
  const { effects } = handle(frames(...new Array(4000).fill('s')), [one])
  assert.equal(effects.dropped.length, 33)
  assert.equal(
    effects.dropped.reduce((sum, { events }) => sum + events, 0),
    4000,
  )
  assert.equal(effects.dropped.find(({ reason }) => reason === '(other reasons)')?.events, 800)
})

test('each handler is given the events that it matches, and knows nothing of the others', () => {
  const seen: string[][] = [[], []]
  const make = (i: number, match: Record<string, string>, name: string) =>
    handler(
      (event, emit) => {
        seen[i].push(event.subject)
        emit.measure(`m${i}`, event.subject, 1)
        if (event.subject === 'b') throw new Error('b')
      },
      { name, match, measures: [emitted(`m${i}`, ['k'])] },
    )
  const handlers = [make(0, { subject: 'a*' }, 'first'), make(1, { subject: '*b', type: 't' }, 'second')]
  const { rows, effects } = handle(frames('a', 'b', 'ab', 'c', 'aa'), handlers)
  assert.deepEqual(seen, [
    ['a', 'ab', 'aa'],
    ['b', 'ab'],
  ])
  assert.deepEqual(effects.handled, [3, 1])
  assert.deepEqual(
    rows.map((section) => section.map(({ key }) => key[0])),
    [['a', 'aa', 'ab'], ['ab']],
  )
  assert.equal(effects.letters[0].handler, 1)
})

test('results that are large end a task at the event that has filled it, and the rest is another one', async () => {
  const { Runner } = await import('../../src/processor/runner.ts')
  const one = handler((event, emit) => emit.result(`k${event.id}`, new Uint8Array(100_000)))
  const measure = {
    name: 'm',
    where: {},
    by: ['source'],
    value: 'value',
    window: 'all',
    quantiles: false,
  } as const
  const runner = new Runner([measure as unknown as Measure], processSeed, [one])
  const events = Array.from({ length: 1000 }, (_, i) => {
    return { id: String(i), source: 's', type: 't', ...(i % 3 === 0 ? {} : { value: i }) }
  })
  const bytes = Frame.encode({ events }).finish()
  const shared = new SharedArrayBuffer(bytes.length)
  new Uint8Array(shared).set(bytes)
  const runs = Float64Array.of(bytes.length, RECEIVED_AT)
  let handled = 0
  let count = 0
  let sum = 0
  let tasks = 0
  for (let from = 0; from < bytes.length; tasks++) {
    const { to, delta, effects } = runner.run({ frames: shared, bytes: bytes.length, runs, from })
    assert.ok(to > from)
    assert.ok(effects!.results.length < TASK_EFFECT_BYTES_TARGET + 110_000)
    handled += effects!.handled[0]
    const [row] = rowsOf(delta!)[0]
    count += row.count
    sum += row.sum
    from = to
  }
  assert.equal(handled, 1000)
  const valued = events.flatMap(({ value }) => value ?? [])
  assert.deepEqual([count, sum], [valued.length, valued.reduce((a, b) => a + b, 0)])
  assert.ok(tasks > 1)
})

test('rows that are emitted end a task as results do, and none of them is lost', async () => {
  const { Runner } = await import('../../src/processor/runner.ts')
  const keys = 500
  const one = handler(
    (event, emit) => {
      for (let i = 0; i < keys; i++) emit.measure('m', `${event.id} ${i} ${'x'.repeat(500)}`, 1)
    },
    { measures: [emitted('m', ['k'])] },
  )
  const runner = new Runner([], processSeed, [one])
  const events = Array.from({ length: 100 }, (_, i) => ({ id: String(i), source: 's', type: 't' }))
  const bytes = Frame.encode({ events }).finish()
  const shared = new SharedArrayBuffer(bytes.length)
  new Uint8Array(shared).set(bytes)
  const runs = Float64Array.of(bytes.length, RECEIVED_AT)
  let rows = 0
  for (let from = 0; from < bytes.length; ) {
    const { to, delta } = runner.run({ frames: shared, bytes: bytes.length, runs, from })
    assert.ok(
      delta!.byteLength < TASK_EFFECT_BYTES_TARGET + 1_000_000,
      `${delta!.byteLength} bytes in one task`,
    )
    rows += rowsOf(delta!)[0].length
    from = to
  }
  assert.equal(rows, events.length * keys)
})

test('what one event may store and emit is bounded in bytes', () => {
  const stored = handler((_, emit) => {
    for (let i = 0; i < 9; i++) emit.result(`k${i}`, new Uint8Array(1_000_000))
  })
  const keyed = handler(
    (_, emit) => {
      for (let i = 0; i < 5000; i++) emit.measure('m', `${i} ${'x'.repeat(1000)}`, 1)
    },
    { name: 'keyed', measures: [emitted('m', ['k'])] },
  )
  const frames = Frame.encode({ events: [{ source: 's', type: 't' }] }).finish()
  const { rows, effects, results } = handle(frames, [stored, keyed])
  assert.deepEqual(results, {})
  assert.deepEqual(rows, [[]])
  assert.deepEqual(
    effects.letters.map(({ reason }) => reason),
    [
      'the results of one event have more than 8388608 bytes',
      'measure m: the keys emitted for one event have more than 4194304 bytes',
    ],
  )
})

test('of a reason that is very long the beginning goes its way', () => {
  const long = handler(() => {
    throw new Error('x'.repeat(1_000_000))
  })
  const { effects } = handle(Frame.encode({ events: [{ source: 's', type: 't' }] }).finish(), [long])
  assert.ok(effects.letters[0].reason.length < 2000)
})
