// Rounds of many lines, alternating, and the table that comes of them.

import { tell } from './progress.ts'
import { daemonRound, floorRound, type Line, type Pace, type Round } from './round.ts'
import { markdown, ratios, short, spread } from './spread.ts'

export interface Options extends Pace {
  rounds: number
  /** Run the pipeline without features beside the daemon. */
  floor: boolean
}

export interface Result {
  line: Line
  rounds: Round[]
  /** Of the floor, under the same load; empty where it cannot take the load. */
  floor: Round[]
}

/** Runs all rounds. Lines of the same load share the floor's rounds, each right after the first of these lines. */
export async function runLines(lines: readonly Line[], options: Options): Promise<Result[]> {
  const results = lines.map((line): Result => ({ line, rounds: [], floor: [] }))
  const total = options.rounds * lines.length
  for (let n = 0; n < options.rounds; n++) {
    const floors = new Map<string, Round>()
    for (const [i, result] of results.entries()) {
      const { line } = result
      tell(`${n * lines.length + i + 1}/${total} ${line.name}`)
      result.rounds.push(await daemonRound(line, options))
      if (!options.floor || line.json) continue
      const load = loadOf(line)
      const floor = floors.get(load) ?? (await floorRound(line, options))
      floors.set(load, floor)
      result.floor.push(floor)
    }
  }
  tell('')
  return results
}

function loadOf({ events, connections, subjects, eventBytes, rate }: Line): string {
  return [events, connections, subjects, eventBytes, rate].join(' ')
}

/** All lines: medians, with the least and the greatest. */
export function resultTable(results: readonly Result[]): string {
  const head = [
    'line',
    'requests/s',
    'events/s acked',
    'events/s processed',
    'ack p50 ms',
    'p95',
    'p99',
    'private MB',
    'of it anonymous, MB',
    'CPU us/event',
    'CPU %',
    'generator us/request',
    'floor, events/s',
    'floor p99 ms',
    'daemon / floor',
    'refused',
  ]
  const rows = results.map(({ line, rounds, floor }) => {
    const of = (field: Exclude<keyof Round, 'others'>) => rounds.map((round) => round[field])
    const sustained = floor.map((round) => round.sustained)
    return [
      line.name,
      spread(of('requests')),
      spread(of('accepted')),
      spread(of('processed')),
      spread(of('p50'), 2),
      spread(of('p95')),
      spread(of('p99')),
      spread(of('privateMb'), 0),
      spread(of('anonymousMb'), 0),
      spread(of('cpuUs'), 2),
      spread(of('daemonCpu'), 0),
      spread(of('generatorUs')),
      spread(sustained),
      spread(floor.map(({ p99 }) => p99)),
      spread(ratios(of('sustained'), sustained), 2),
      rounds.flatMap(({ others }) => (others === '' ? [] : [others])).join(', ') || '-',
    ]
  })
  return markdown(head, rows)
}

/** What logs.ts needs beside that: brokers, and what waits. */
export function brokerTable(results: readonly Result[]): string {
  const head = [
    'line',
    'events/s acked',
    'events/s processed',
    'ack p50 ms',
    'p99',
    'lag, events',
    'catch-up ms',
    'private MB',
    'CPU us/event',
    'daemon CPU %',
    'broker CPU %',
    'refused',
  ]
  const rows = results.map(({ line, rounds }) => {
    const of = (field: Exclude<keyof Round, 'others'>) => rounds.map((round) => round[field])
    return [
      line.name,
      spread(of('accepted')),
      spread(of('processed')),
      spread(of('p50')),
      spread(of('p99')),
      spread(of('lagEvents'), 0),
      spread(of('catchUpMs'), 0),
      spread(of('privateMb'), 0),
      spread(of('cpuUs'), 2),
      spread(of('daemonCpu'), 0),
      spread(of('brokerCpu'), 0),
      rounds.flatMap(({ others }) => (others === '' ? [] : [others])).join(', ') || '-',
    ]
  })
  return markdown(head, rows)
}

/** A sentence on how the figures came about. */
export function methodLine({ rounds, warmupSeconds, seconds }: Omit<Options, 'floor'>): string {
  return (
    `${rounds} alternating rounds of ${short(seconds)} s after ${short(warmupSeconds)} s of warm-up, each on a fresh ` +
    'server: median (least-greatest)'
  )
}
