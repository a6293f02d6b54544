// `npm run bench:compare -- REF_A REF_B`: two git references, built side by side and run in turn under the load of this
// tree's generator. How every claim of "faster" is made: the ratio, with its spread, of rounds that ran one after the
// other. `.` stands for this tree as it is.

import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { catchUp } from './catchup.ts'
import { withMeasured } from './comparison.ts'
import { root } from './daemon.ts'
import { describeMachine, machineLine } from './machine.ts'
import { bases, chosen } from './matrix.ts'
import { tell } from './progress.ts'
import { daemonRound, type Line, type Round } from './round.ts'
import { markdown, ratios, spread } from './spread.ts'
import { methodLine } from './table.ts'
import { type Tree, Trees } from './tree.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '3' },
    warmup: { type: 'string', default: '1.5' },
    rounds: { type: 'string', default: '5' },
    /** As for `make bench`; the base cases when absent. Also: catch-up. */
    only: { type: 'string', multiple: true },
    /** Writes baseline.txt, optimized.txt and the measured part of comparison.md to results/benchmarks. */
    write: { type: 'boolean', default: false },
    /** Asks both for their metrics each second. */
    scrape: { type: 'boolean', default: false },
  },
})
if (positionals.length !== 2) {
  console.error(
    'usage: npm run bench:compare -- REF_A REF_B [--only LINE|AXIS]... [--rounds N] [--seconds N] [--write]',
  )
  process.exit(2)
}
const options = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  warmupSeconds: Number(values.warmup),
  floor: false,
  scrape: values.scrape,
}
const CATCH_UP = 'catch-up'
const BACKLOG_SECONDS = 3
const FOLDER = join(root, 'results', 'benchmarks')
/** What both did under one line, round by round. */
interface Pair {
  name: string
  a: Partial<Round>[]
  b: Partial<Round>[]
}

function linesToRun(): Line[] {
  const names = values.only?.filter((name) => name !== CATCH_UP)
  if (names === undefined) return [...bases]
  return names.length === 0 ? [] : chosen(names)
}

async function alternate(a: Tree, b: Tree): Promise<Pair[]> {
  const runs = linesToRun().map((line) => ({
    pair: { name: line.name, a: [], b: [] } as Pair,
    round: (tree: Tree): Promise<Partial<Round>> => daemonRound(line, options, tree.folder),
  }))
  if (values.only?.includes(CATCH_UP)) {
    runs.push({
      pair: { name: CATCH_UP, a: [], b: [] },
      round: async (tree) => ({ sustained: (await catchUp(BACKLOG_SECONDS, tree.folder)).eventsPerSecond }),
    })
  }
  for (let n = 0; n < options.rounds; n++) {
    for (const { pair, round } of runs) {
      tell(`round ${n + 1} of ${options.rounds}: ${pair.name}`)
      // Who comes first changes, so that neither has always just been warmed up for.
      const order = n % 2 === 0 ? (['a', 'b'] as const) : (['b', 'a'] as const)
      for (const which of order) pair[which].push(await round(which === 'a' ? a : b))
    }
  }
  tell('')
  return runs.map(({ pair }) => pair)
}

type Figure = Exclude<keyof Round, 'others'>

function figures(rounds: readonly Partial<Round>[], field: Figure): number[] {
  return rounds.flatMap((round) => (round[field] === undefined ? [] : [round[field]]))
}

function ratioTable(pairs: readonly Pair[]): string {
  const columns: [title: string, field: Figure, digits: number][] = [
    ['events/s', 'sustained', 1],
    ['ack p50 ms', 'p50', 2],
    ['ack p99 ms', 'p99', 1],
    ['CPU us/event', 'cpuUs', 2],
    ['private MB', 'privateMb', 0],
    ['of it anonymous, MB', 'anonymousMb', 0],
  ]
  const rows = pairs.flatMap(({ name, a, b }) =>
    columns.flatMap(([title, field, digits]) => {
      const [of, to] = [figures(b, field), figures(a, field)]
      if (of.length === 0) return []
      return [[name, title, spread(to, digits), spread(of, digits), spread(ratios(of, to), 2)]]
    }),
  )
  return markdown(['line', 'what', 'A', 'B', 'B / A'], rows)
}

function ownTable(pairs: readonly Pair[], which: 'a' | 'b'): string {
  const rows = pairs.map((pair) => {
    const of = (field: Figure, digits = 1) => spread(figures(pair[which], field), digits)
    return [
      pair.name,
      of('requests'),
      of('sustained'),
      of('p50', 2),
      of('p95'),
      of('p99'),
      of('privateMb', 0),
      of('cpuUs', 2),
    ]
  })
  return markdown(
    ['line', 'requests/s', 'events/s', 'ack p50 ms', 'p95', 'p99', 'private MB', 'CPU us/event'],
    rows,
  )
}

async function write(a: Tree, b: Tree, head: string, pairs: readonly Pair[]): Promise<void> {
  await mkdir(FOLDER, { recursive: true })
  for (const [name, tree, which] of [
    ['baseline.txt', a, 'a'],
    ['optimized.txt', b, 'b'],
  ] as const) {
    await writeFile(
      join(FOLDER, name),
      `${tree.commit} ${tree.subject}\n${head}\n\n${ownTable(pairs, which)}\n`,
    )
  }
  const path = join(FOLDER, 'comparison.md')
  const before = existsSync(path) ? await readFile(path, 'utf8') : undefined
  const measured = `${named(a, b)}\n\n${head}\n\n${ratioTable(pairs)}`
  await writeFile(path, withMeasured(before, measured))
}

function named(a: Tree, b: Tree): string {
  return `A is ${a.commit} (${a.subject}), B is ${b.commit} (${b.subject}).`
}

linesToRun() // a wrong name is told before anything is built
const trees = new Trees()
try {
  process.stderr.write('building both\n')
  const a = await trees.add(positionals[0])
  const b = await trees.add(positionals[1])
  const head = `${machineLine(await describeMachine())}\n${methodLine(options)}; ${process.argv.slice(2).join(' ')}`
  const pairs = await alternate(a, b)
  console.log(`${named(a, b)}\n${head}\n\n${ratioTable(pairs)}`)
  if (values.write) await write(a, b, head, pairs)
} finally {
  trees.remove()
}
