// `millrace check --events FILE`: shows the events of a file to the handlers, and tells what they would do with them.

import type { Config, HandlerPlan, Measure } from '../config/config.ts'
import { Problem } from '../errors.ts'
import { ndjsonToFrame } from '../ingest/ndjson.ts'
import { scan } from '../ingest/scan.ts'
import { SEND_BODY_BYTES_TARGET } from '../limits.ts'
import { COUNT, Delta, STATS, SUM, WINDOW } from '../processor/delta.ts'
import { unpackResults } from '../processor/effects.ts'
import { eventsOf } from '../processor/places.ts'
import { openPool, type Pool } from '../processor/pool.ts'
import type { Done } from '../processor/runner.ts'
import { addDropped, type HandlerCounts } from '../results/handler-counts.ts'
import { decodeParts } from '../results/keys.ts'
import type { Io, Words } from './command.ts'
import { type Batch, InputError, placeOf } from './rows/batch.ts'
import { formatOf, mappingOf, openEvents } from './send.ts'

const BATCH_EVENTS = 500
const BYTES_SHOWN_MAX = 100

/** What one handler would do with one event. */
export interface Shown {
  /** Where in the file the event is, such as `line 3`. */
  event: string
  handler: string
  measures: { name: string; key: string[]; windowStart: string | null; count: number; sum?: number }[]
  results: { key: string; bytes: number; text: string }[]
  dropped?: string
  deadLetter?: string
}

export interface Trial {
  events: number
  shown: Shown[]
  handlers: ({ name: string } & HandlerCounts)[]
}

/** Nothing is stored. `show`: events that are told of each by itself. */
export async function tryHandlers(
  config: Config,
  path: string,
  words: Words,
  io: Io,
  show: number,
): Promise<Trial> {
  const { plans = [], pool: settings } = config
  const format = formatOf(words, path)
  const size = { events: BATCH_EVENTS, bytes: SEND_BODY_BYTES_TARGET }
  const source = await openEvents(path, format, mappingOf(words, format), size, io)
  const pool = openPool({ threads: 1, measures: [], plans, heap: settings.heap, partitions: 1, onNote() {} })
  const trial: Trial = {
    events: 0,
    shown: [],
    handlers: plans.map(({ name }) => ({ name, handled: 0, dropped: {}, deadLettered: 0 })),
  }
  try {
    for await (const batch of source.batches) {
      const frames = shared(batch)
      const places = eventsOf(new Uint8Array(frames), 0, frames.byteLength)
      const nths = linesOf(batch)
      let rest = 0
      for (; rest < places.length && trial.events < show; rest++, trial.events++) {
        const { at, to } = places[rest]
        const event = placeOf(batch, nths[rest] ?? rest + 1) ?? ''
        for (const plan of plans) {
          const done = await run(pool, frames, at, to, plan.name)
          count(trial, done)
          trial.shown.push(...shownOf(event, plan, plans, done))
        }
      }
      if (rest === places.length) continue
      count(trial, await run(pool, frames, places[rest].at, frames.byteLength))
      trial.events += places.length - rest
    }
  } finally {
    source.close()
    await pool.close()
  }
  return trial
}

/** For NDJSON the lines of a batch, from 1, that have events: blank ones have none. */
function linesOf({ bytes, type }: Batch): number[] {
  if (type !== 'application/x-ndjson') return []
  const lines = Buffer.from(bytes).toString().split('\n')
  return lines.flatMap((line, i) => (line.trim() === '' ? [] : [i + 1]))
}

/** The events of a batch as frames that were checked. Throws InputError. */
function shared(batch: Batch): SharedArrayBuffer {
  let bytes = batch.bytes as Uint8Array
  try {
    if (batch.type === 'application/x-ndjson') bytes = ndjsonToFrame(bytes).frame
    else scan(bytes, 0, bytes.length)
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    // It counts within the batch; people look into the file.
    const message = error.message.replace(
      /^(?:event|line) (\d+)/,
      (found, nth) => placeOf(batch, Number(nth)) ?? found,
    )
    throw new InputError(message)
  }
  const frames = new SharedArrayBuffer(bytes.length)
  new Uint8Array(frames).set(bytes)
  return frames
}

async function run(
  pool: Pool,
  frames: SharedArrayBuffer,
  from: number,
  to: number,
  only?: string,
): Promise<Done[]> {
  const runs = Float64Array.of(frames.byteLength, Date.now())
  const parts: Done[] = []
  for await (const done of pool.run({
    frames,
    bytes: to,
    runs,
    from,
    ...(only === undefined ? {} : { only }),
  })) {
    parts.push(done)
  }
  return parts
}

function count({ handlers }: Trial, done: readonly Done[]): void {
  for (const { effects } of done) {
    if (effects === undefined) continue
    effects.handled.forEach((events, i) => {
      handlers[i].handled += events
    })
    for (const { handler, reason, events } of effects.dropped)
      addDropped(handlers[handler].dropped, reason, events)
    for (const { handler } of effects.letters) handlers[handler].deadLettered++
  }
}

/** Nothing where the event is none of the handler's. */
function shownOf(
  event: string,
  plan: HandlerPlan,
  plans: readonly HandlerPlan[],
  done: readonly Done[],
): Shown[] {
  const shown: Shown = { event, handler: plan.name, measures: [], results: [] }
  let matched = false
  for (const { delta, effects } of done) {
    if (delta !== undefined)
      shown.measures.push(
        ...rowsOf(
          delta,
          plans.flatMap(({ measures }) => measures),
        ),
      )
    if (effects === undefined) continue
    const [dropped] = effects.dropped
    const [letter] = effects.letters
    matched ||= effects.handled.some((events) => events > 0) || dropped !== undefined || letter !== undefined
    if (dropped !== undefined) shown.dropped = dropped.reason
    if (letter !== undefined) shown.deadLetter = letter.reason
    for (const [key, { bytes }] of unpackResults(effects.results)) {
      const text = Buffer.from(bytes.subarray(0, BYTES_SHOWN_MAX)).toString()
      shown.results.push({ key, bytes: bytes.length, text })
    }
  }
  return matched ? [shown] : []
}

function rowsOf(delta: ArrayBufferLike, measures: readonly Measure[]): Shown['measures'] {
  return new Delta(delta).sections.flatMap(({ rows, stats, keyEnd, keys }, i) => {
    const { name, value, window } = measures[i]
    return Array.from({ length: rows }, (_, row) => {
      const key = decodeParts(keys.subarray(row === 0 ? 0 : keyEnd[row - 1], keyEnd[row]))
      const at = row * STATS
      const windowStart = window === 'all' ? null : new Date(stats[at + WINDOW]).toISOString()
      const counted = { name, key, windowStart, count: stats[at + COUNT] }
      return value === 'value' ? { ...counted, sum: stats[at + SUM] } : counted
    })
  })
}

/** As text, for people. */
export function describeTrial({ events, shown, handlers }: Trial): string {
  const lines: string[] = []
  for (const one of shown) {
    lines.push(`${one.event}  ${one.handler}`)
    for (const { name, key, windowStart, count: times, sum } of one.measures) {
      const parts = [`  measure ${name} ${JSON.stringify(key)}`, windowStart, `count ${times}`]
      lines.push(
        [...parts, sum === undefined ? null : `sum ${sum}`].filter((part) => part !== null).join('  '),
      )
    }
    for (const { key, bytes, text } of one.results) {
      lines.push(`  result ${key}  ${bytes} bytes  ${text.replaceAll('\n', ' ')}`)
    }
    if (one.dropped !== undefined) lines.push(`  dropped: ${one.dropped}`)
    if (one.deadLetter !== undefined) lines.push(`  dead letter: ${one.deadLetter}`)
  }
  for (const { name, handled, dropped, deadLettered } of handlers) {
    const counts = [`${handled} handled`, `${deadLettered} dead letters`]
    for (const [reason, times] of Object.entries(dropped)) counts.push(`${times} dropped (${reason})`)
    lines.push(`# ${name}: of ${events} events ${counts.join(', ')}`)
  }
  return `${lines.join('\n')}\n`
}
