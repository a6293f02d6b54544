import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type TapBatch, TapSource } from '../../src/ingest/tap.ts'
import { Matcher, type TapFilter, walk } from '../../src/ingest/tap-filter.ts'
import { Sample } from '../../src/ingest/tap-sample.ts'
import { TAP_INTERVAL_MS, TAP_WALKED_PER_SECOND_MAX, TAP_WINDOW_BYTES_MAX } from '../../src/limits.ts'
import { type Segment, SegmentBuilder } from '../../src/log/segment.ts'
import { encode, events as someEvents, type TestEvent } from './frames.ts'

// --- Filters --------------------------------------------------------------------------------------------

function matching(filter: TapFilter, events: TestEvent[]): boolean[] {
  const frame = encode(events)
  const matcher = new Matcher(filter)
  const found: boolean[] = []
  const walked = walk(frame, 0, frame.length, (start, end) => found.push(matcher.matches(frame, start, end)))
  assert.equal(walked, events.length)
  return found
}

test('a pattern matches what it says, with anything where its * stands', () => {
  const matches = (pattern: string, subject: string) =>
    matching({ subject: pattern }, [{ source: 's', type: 't', subject }])[0]
  for (const [pattern, yes, no] of [
    ['bed-1', ['bed-1'], ['bed-11', 'abed-1', 'bed-', '']],
    ['bed-*', ['bed-1', 'bed-'], ['be', 'abed-1']],
    ['*-1', ['bed-1', '-1'], ['bed-12', '1']],
    ['*ed*', ['bed-1', 'ed', 'shed'], ['bd', '']],
    ['*', ['', 'x'], []],
    ['**', ['', 'x'], []],
    ['', [''], ['x']],
    ['Grüße*', ['Grüße', 'Grüße!'], ['Grüß']],
  ] as const) {
    for (const subject of yes) assert.ok(matches(pattern, subject), `${pattern} matches "${subject}"`)
    for (const subject of no) assert.ok(!matches(pattern, subject), `${pattern} does not match "${subject}"`)
  }
})

test('filters agree with strings, whatever the events are', () => {
  const piece = fc.string({ unit: 'grapheme-ascii', maxLength: 2 }).filter((text) => !text.includes('*'))
  const pattern = fc.record({ text: piece, open: fc.boolean(), openEnd: fc.boolean() })
  const wanted = fc.record({ type: pattern, source: pattern, subject: pattern }, { requiredKeys: [] })
  fc.assert(
    fc.property(someEvents, wanted, (events, patterns) => {
      const filter: TapFilter = {}
      for (const [name, { text, open, openEnd }] of Object.entries(patterns)) {
        filter[name as keyof TapFilter] = `${open ? '*' : ''}${text}${openEnd ? '*' : ''}`
      }
      const expected = events.map((event) =>
        Object.entries(patterns).every(([name, { text, open, openEnd }]) => {
          const field = event[name as 'type'] ?? ''
          if (open && openEnd) return field.includes(text)
          if (open && text === '') return true
          return open ? field.endsWith(text) : openEnd ? field.startsWith(text) : field === text
        }),
      )
      assert.deepEqual(matching(filter, events), expected)
    }),
  )
})

// --- The sample -------------------------------------------------------------------------------------------

/** Offers an item for each key, as a source does. */
function offer(sample: Sample<number>, keys: number[], bytes = 1): void {
  keys.forEach((key, i) => {
    if (sample.wants(key)) sample.add(key, bytes, i)
  })
}

const keys = fc.uniqueArray(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 300 })

test('what is kept are the lowest keys, in the order they came, however they came', () => {
  fc.assert(
    fc.property(keys, fc.integer({ min: 1, max: 40 }), (all, rate) => {
      const sample = new Sample<number>(rate, 0)
      offer(sample, all)
      const taken = sample.take(0)
      if (all.length === 0) return assert.equal(taken, undefined)
      const lowest = new Set([...all].sort((a, b) => a - b).slice(0, rate))
      const expected = all.flatMap((key, item) => (lowest.has(key) ? [{ key, item }] : []))
      assert.deepEqual(
        taken?.kept.map(({ key, item }) => ({ key, item })),
        expected,
      )
      assert.deepEqual([taken?.left, taken?.missed], [all.length - expected.length, 0])
    }),
  )
})

test('a sample of samples is a sample of everything', () => {
  fc.assert(
    fc.property(keys, keys, fc.integer({ min: 1, max: 40 }), (one, two, rate) => {
      const both = new Sample<number>(rate, 0)
      for (const part of [one, two]) {
        const source = new Sample<number>(rate, 0)
        offer(source, part)
        const taken = source.take(0)
        if (taken === undefined) continue
        both.count(taken.left, taken.missed)
        for (const { key, item } of taken.kept) if (both.wants(key)) both.add(key, 1, item)
      }
      const all = [...one, ...two].sort((a, b) => a - b)
      const taken = both.take(0)
      assert.deepEqual(
        (taken?.kept ?? []).map(({ key }) => key).sort((a, b) => a - b),
        all.slice(0, rate),
      )
      assert.equal(taken?.left ?? 0, Math.max(0, all.length - rate))
    }),
  )
})

test('the rate holds for as long as there is more, and after silence a second of it may come at once', () => {
  for (const rate of [1, 7, 100, 1000]) {
    const sample = new Sample<number>(rate, 0)
    let shown = 0
    let now = 0
    const run = (milliseconds: number, perTick: number) => {
      for (const end = now + milliseconds; now < end; ) {
        now += TAP_INTERVAL_MS
        offer(sample, Array.from({ length: perTick }, Math.random))
        shown += sample.take(now)?.kept.length ?? 0
      }
    }
    run(10_000, 2000)
    assert.ok(shown >= 10 * rate && shown <= 11 * rate, `${shown} in 10 s at ${rate} a second`)
    run(2_000, 0)
    shown = 0
    offer(sample, Array.from({ length: 5000 }, Math.random))
    assert.equal(sample.take(now)?.kept.length, rate)
  }
})

test('every event of a window has the same chance, the last as the first', () => {
  const times = new Array(50).fill(0)
  for (let round = 0; round < 2000; round++) {
    const sample = new Sample<number>(5, 0)
    offer(sample, Array.from({ length: 50 }, Math.random))
    for (const { item } of sample.take(0)!.kept) times[item]++
  }
  // 200 are expected of each, with a standard deviation of 13.
  for (const [item, count] of times.entries()) assert.ok(count > 110 && count < 290, `${item}: ${count}`)
})

test('bytes are bounded: the lowest stay, and what is larger than all that may be there is counted as missed', () => {
  const sample = new Sample<number>(1000, 0)
  offer(sample, [0.3, 0.4, 0.1, 0.2], TAP_WINDOW_BYTES_MAX / 2)
  offer(sample, [0.05], TAP_WINDOW_BYTES_MAX + 1)
  const taken = sample.take(0)!
  assert.deepEqual([taken.kept.map(({ key }) => key), taken.left, taken.missed], [[0.1, 0.2], 2, 1])
})

// --- The source -------------------------------------------------------------------------------------------

function segmentOf(...bodies: TestEvent[][]): Segment {
  const builder = new SegmentBuilder(1024)
  for (const events of bodies) builder.add(encode(events), events.length, '', 0, 'sent', 1_700_000_000_000)
  const segment = builder.seal()
  segment.stamp('00000000000000aa', 7, 0, 0)
  return segment
}

/** Opens a source and resolves with the batches that come. */
function source(): { source: TapSource; next(): Promise<{ id: string; batch: TapBatch; sent: () => void }> } {
  const found: { id: string; batch: TapBatch; sent: () => void }[] = []
  let wake = () => {}
  const one = new TapSource((id, batch, sent) => {
    found.push({ id, batch, sent })
    wake()
  })
  const next = async () => {
    while (found.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return found.shift()!
  }
  return { source: one, next }
}

const event = (subject: string): TestEvent => ({ source: 's', type: 't', subject })

test('a source hands on what matches, with where it came from', async () => {
  const { source: taps, next } = source()
  assert.equal(taps.active, false)
  taps.open('one', { subject: 'b*' }, 100)
  assert.equal(taps.active, true)
  taps.durable(segmentOf([event('a'), event('b1')], [event('b2')]), (body) => `made-${body}`)
  const { id, batch, sent } = await next()
  const shown = batch.events.map(({ text }) => JSON.parse(text))
  assert.equal(id, 'one')
  assert.deepEqual(
    shown.map(({ id, subject, millracecorrelation, millracereceived }) => [
      id,
      subject,
      millracecorrelation,
      millracereceived,
    ]),
    [
      ['00000000000000aa-7-2', 'b1', 'made-0', '2023-11-14T22:13:20.000Z'],
      ['00000000000000aa-7-3', 'b2', 'made-1', '2023-11-14T22:13:20.000Z'],
    ],
  )
  assert.deepEqual([batch.sampled, batch.missed, batch.unread], [0, 0, 0])
  sent()
  taps.close('one')
  assert.equal(taps.active, false)
})

test('a batch that is not away holds the next one back, not the memory of a segment', async () => {
  const { source: taps, next } = source()
  taps.open('one', {}, 1000)
  const segment = segmentOf([event('first')])
  taps.durable(segment, () => undefined)
  segment.bytes.fill(0, 64) // it is filled with other events by now
  const first = await next()
  assert.equal(JSON.parse(first.batch.events[0].text).subject, 'first')
  taps.durable(segmentOf([event('second')]), () => undefined)
  taps.open('two', {}, 1000)
  taps.durable(segmentOf([event('third')]), () => undefined)
  assert.equal((await next()).id, 'two', 'the others go on')
  first.sent()
  const second = await next()
  assert.deepEqual([second.id, second.batch.events.length], ['one', 2])
  taps.close('one')
  taps.close('two')
})

test('more events than it may look at are not looked at, and counted', async () => {
  const { source: taps, next } = source()
  taps.open('one', { subject: 'nobody' }, 1000)
  const events = Array.from({ length: 50_000 }, () => event('x'))
  const segment = segmentOf(events)
  const bodies = Math.floor((20 * TAP_WALKED_PER_SECOND_MAX) / events.length)
  const started = performance.now()
  for (let i = 0; i < bodies; i++) taps.durable(segment, () => undefined)
  const seconds = (performance.now() - started) / 1000
  const { batch } = await next()
  const looked = bodies * events.length - batch.unread
  assert.ok(looked <= TAP_WALKED_PER_SECOND_MAX * (1 + seconds) + events.length, `${looked} looked at`)
  assert.ok(batch.unread > 0)
  taps.close('one')
})
