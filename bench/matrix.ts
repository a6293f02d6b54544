// The lines of `make bench`. Not every combination: three base cases, and around them one thing varied at a time.

import { type Line, line, measured, plain } from './round.ts'

const measures = {
  none: 'measures=[]',
  noQuantiles: 'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: false}]',
  three:
    'measures=[{name: by-subject, by: [subject], window: 1m, quantiles: true}, ' +
    '{name: by-type, by: [type, source], window: 1h, quantiles: true}, ' +
    '{name: total, by: [subject], value: none, window: all}]',
}
const { none, noQuantiles, three } = measures

const single = (connections: number, change: Partial<Line> = {}): Partial<Line> => ({
  events: 1,
  connections,
  eventBytes: 150,
  ...change,
})

/** The base cases, as the targets name them. */
export const bases: readonly Line[] = [
  line('1 event', 'base', single(256)),
  line('100 events', 'base'),
  line('500 events', 'base', { events: 500, connections: 16 }),
]

/** What `make bench` runs. */
export const matrix: readonly Line[] = [
  ...bases,
  line('1 event, 16 connections', 'connections', single(16)),
  line('1 event, 64 connections', 'connections', single(64)),
  line('1 event, 1000 connections', 'connections', single(1000)),
  line('10 events, 64 connections', 'events', { events: 10, connections: 64 }),
  line('1 event of 1 KB', 'body', single(256, { eventBytes: 1024 })),
  line('100 events of 150 B', 'body', { eventBytes: 150 }),
  line('100 events of 256 B', 'body', { eventBytes: 256 }),
  line('100 events of 1 KB', 'body', { eventBytes: 1024 }),
  line('100 events, memory log', 'log', { set: plain([measured, 'log.kind=memory']) }),
  line('100 events, no measure', 'measures', { set: plain([none]) }),
  line('100 events, no quantiles', 'measures', { set: plain([noQuantiles]) }),
  line('100 events, three measures', 'measures', { set: plain([three]) }),
  line('100 events, 100 subjects', 'subjects', { subjects: 100 }),
  line('100 events, 10k subjects', 'subjects', { subjects: 10_000 }),
  line('100 events, 1M subjects', 'subjects', { subjects: 1_000_000, secondsMin: 6 }),
  line('100 events, JSON', 'json', { json: true }),
  line('1 event at 5k requests/s', 'open loop', single(64, { rate: 5000 })),
  line('1 event at 10k requests/s', 'open loop', single(64, { rate: 10_000 })),
]

/** Lines for `--only` that would make the default run too long. */
export const more: readonly Line[] = [
  line('1 event of 256 B', 'body+', single(256, { eventBytes: 256 })),
  line('1 event, memory log', 'log+', single(256, { set: plain([measured, 'log.kind=memory']) })),
  line('100 events, 16 connections', 'connections+', { connections: 16 }),
  line('100 events, 64 connections', 'connections+', { connections: 64 }),
  line('100 events, 256 connections', 'connections+', { connections: 256 }),
  line('500 events, 64 connections', 'connections+', { events: 500, connections: 64 }),
  line('1 event, 1M subjects', 'subjects+', single(256, { subjects: 1_000_000, secondsMin: 6 })),
]

/** `only`: names and axes; the default run when absent. */
export function chosen(only: readonly string[] | undefined): Line[] {
  if (only === undefined || only.length === 0) return [...matrix]
  const all = [...matrix, ...more]
  for (const name of only) {
    if (!all.some((one) => one.name === name || one.axis === name)) {
      const known = [...new Set(all.map(({ axis }) => axis)), ...all.map(({ name }) => name)]
      throw new Error(`there is no line or axis "${name}"; there are:\n  ${known.join('\n  ')}`)
    }
  }
  return all.filter(({ name, axis }) => only.includes(name) || only.includes(axis))
}
