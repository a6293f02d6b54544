// Counting in one process, and adding up over processes that come and go.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { catalogue, groups, type Metric } from '../../src/telemetry/catalogue.ts'
import { Collected, quantile, since } from '../../src/telemetry/collected.ts'
import { Route } from '../../src/telemetry/doors.ts'
import { Histogram, Metrics, type Snapshot } from '../../src/telemetry/metrics.ts'
import { type Samples, Tally } from '../../src/telemetry/tally.ts'

const describe = (name: string): Metric | undefined => (catalogue as Record<string, Metric>)[name]

test('a value is counted in the first bucket whose bound is not below it', () => {
  const bounds = fc.uniqueArray(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 12 })
  const values = fc.array(fc.tuple(fc.double({ min: 0, max: 120, noNaN: true }), fc.nat(5)))
  fc.assert(
    fc.property(bounds, values, (unsorted, observed) => {
      const rising = unsorted.sort((a, b) => a - b)
      const histogram = new Histogram(rising)
      const expected = new Array<number>(rising.length + 1).fill(0)
      let sum = 0
      for (const [value, times] of observed) {
        if (times === 1) histogram.observe(value)
        else histogram.observeTimes(value, times)
        const bucket = rising.findIndex((bound) => value <= bound)
        expected[bucket < 0 ? rising.length : bucket] += times
        sum += value * times
      }
      assert.deepEqual([...histogram.counts], expected)
      assert.equal(
        histogram.count,
        observed.reduce((all, [, times]) => all + times, 0),
      )
      assert.ok(Math.abs(histogram.sum - sum) <= 1e-9 * Math.max(1, sum))
    }),
  )
})

test('the same labels are the same series, and what is taken away is told no more', () => {
  const metrics = new Metrics()
  metrics.counter('millrace_log_segments_total', { partition: '1' }).add(2)
  metrics.counter('millrace_log_segments_total', { partition: '1' }).add(3)
  metrics.counter('millrace_log_segments_total', { partition: '0' })
  const away = metrics.reading('millrace_store_bytes', { partition: '0' }, () => 7)
  assert.deepEqual(metrics.snapshot().millrace_log_segments_total, [
    { labels: ['1'], value: 5 },
    { labels: ['0'], value: 0 },
  ])
  assert.deepEqual(metrics.snapshot().millrace_store_bytes, [{ labels: ['0'], value: 7 }])
  away()
  assert.deepEqual(metrics.snapshot().millrace_store_bytes, [])
})

/** A worker that counts, as far as is looked at here. */
class Worker {
  events = 0
  bodies = 0
  readonly #acks = new Histogram(catalogue.millrace_publish_ack_seconds.buckets)

  count(events: number): void {
    this.events += events
    this.bodies++
    this.#acks.observe(events / 100)
  }

  get snapshot(): Snapshot {
    const { counts, sum } = this.#acks
    return {
      millrace_received_events_total: [{ labels: ['http'], value: this.events }],
      millrace_publish_ack_seconds: [{ labels: ['http'], value: sum, counts: [...counts] }],
      millrace_admission_bytes: [{ labels: [], value: 1 }],
      millrace_of_another_version: [{ labels: [], value: 1 }],
    }
  }
}

const one = (samples: Samples, name: string) => [...(samples.get(name)?.values() ?? [])][0]

test('however workers count, tell, die and are replaced, no counter and no bucket goes backwards, and none counts twice', () => {
  const act = fc.record({
    what: fc.constantFrom('count', 'tell', 'die', 'join', 'look'),
    who: fc.nat(3),
    events: fc.nat(50),
  })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 100 }), (acts) => {
      const tally = new Tally(describe)
      let living = [new Worker()]
      const told = new Map<Worker, { events: number; bodies: number }>()
      let counted = 0
      let shown = { events: 0, buckets: [] as number[] }
      const look = () => {
        const sum = tally.sum()
        const events = one(sum, 'millrace_received_events_total')?.value ?? 0
        const buckets = one(sum, 'millrace_publish_ack_seconds')?.counts ?? []
        assert.ok(events >= shown.events, 'the counter goes on')
        assert.ok(
          buckets.every((count, i) => count >= (shown.buckets[i] ?? 0)),
          'every bucket goes on',
        )
        assert.ok(events <= counted, 'nothing is counted that did not happen')
        const all = (of: 'events' | 'bodies') => [...told.values()].reduce((sum, one) => sum + one[of], 0)
        assert.equal(events, all('events'))
        assert.equal(
          buckets.reduce((sum, count) => sum + count, 0),
          all('bodies'),
        )
        const gauge = one(sum, 'millrace_admission_bytes')?.value ?? 0
        assert.equal(
          gauge,
          living.filter((worker) => told.has(worker)).length,
          'gauges are of those that live',
        )
        assert.equal(sum.has('millrace_of_another_version'), false)
        shown = { events, buckets }
      }
      for (const { what, who, events } of acts) {
        const worker = living[who % living.length]
        if (what === 'join' && living.length < 3) living.push(new Worker())
        else if (what === 'count') {
          worker.count(events)
          counted += events
        } else if (what === 'tell') {
          tally.told(worker, worker.snapshot)
          told.set(worker, { events: worker.events, bodies: worker.bodies })
        } else if (what === 'die') {
          tally.gone(worker)
          living = living.filter((other) => other !== worker)
          if (living.length === 0) living = [new Worker()]
        }
        look()
      }
    }),
  )
})

test('totals and quantiles are over all processes, or over those with a label', () => {
  const collected = new Collected()
  const tellOf = (worker: string, ...seconds: number[]) => {
    const metrics = new Metrics()
    const acks = metrics.histogram('millrace_publish_ack_seconds', { door: 'http' })
    for (const value of seconds) acks.observe(value)
    metrics.counter('millrace_received_events_total', { door: 'http' }).add(seconds.length * 10)
    const tally = new Tally(describe)
    tally.told(metrics, metrics.snapshot())
    collected.add(tally.sum(), describe, { role: 'listener', worker })
  }
  tellOf('0', 0.0004, 0.002, 0.002, 0.002)
  tellOf('1', 0.002, 99)
  assert.equal(collected.total('millrace_received_events_total'), 60)
  assert.equal(collected.total('millrace_received_events_total', { worker: '1' }), 20)
  assert.equal(collected.total('millrace_publish_ack_seconds', { worker: '0' }), 4)
  assert.equal(collected.total('millrace_no_such_total'), 0)
  const acks = collected.histogram('millrace_publish_ack_seconds', { door: 'http' })!
  assert.equal(acks.count, 6)
  assert.equal(quantile(acks, 0.5), 0.001 + (0.0025 - 0.001) * (2 / 4))
  assert.equal(quantile(acks, 1), 10, 'beyond the last bound')
  assert.equal(quantile(since(acks, acks), 0.5), undefined, 'nothing was observed since')
  assert.equal(collected.histogram('millrace_publish_ack_seconds', { door: 'grpc' }), undefined)
})

test('a route is counted by the answers that it gave, and by clients that left', () => {
  const metrics = new Metrics()
  const route = new Route(metrics, '/v1/events').expect(202)
  route.answered(429, performance.now(), 'c-1')
  route.answered(429, performance.now(), 'c-1')
  route.aborted(performance.now(), 'c-1')
  const requests = metrics.snapshot().millrace_http_requests_total
  assert.deepEqual(
    requests.map(({ labels, value }) => [...labels, value]),
    [
      ['/v1/events', '202', 0],
      ['/v1/events', '429', 2],
      ['/v1/events', 'aborted', 1],
    ],
  )
})

test('every name says its unit and its kind, and is in one group', () => {
  const grouped = Object.values(groups).flatMap((group) => Object.keys(group))
  assert.deepEqual(grouped, Object.keys(catalogue))
  for (const [name, metric] of Object.entries(catalogue as Record<string, Metric>)) {
    assert.match(name, /^millrace_[a-z]+(_[a-z]+)*$/)
    assert.equal(name.endsWith('_total'), metric.type === 'counter', `${name}: counters end in _total`)
    assert.equal(metric.buckets !== undefined, metric.type === 'histogram', name)
    assert.ok(metric.help.endsWith('.'), `${name}: its help is a sentence`)
    const { buckets = [] } = metric
    assert.deepEqual(
      buckets,
      [...buckets].sort((a, b) => a - b),
      `${name}: bounds rise`,
    )
    for (const label of ['le', 'role', 'worker'])
      assert.ok(!metric.labels.includes(label), `${name}: ${label}`)
  }
})
