// `millrace profile`: where the time or the memory of a running daemon goes.

import { constants } from 'node:fs'
import { access, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  PROFILE_SECONDS_DEFAULT,
  PROFILE_SECONDS_MAX,
  TRACE_SECONDS_DEFAULT,
  TRACE_SECONDS_MAX,
} from '../limits.ts'
import { drawFlame } from '../profile/flame.ts'
import { formatAmount, functionsOf, headline, type Stacks, stacksOf } from '../profile/stacks.ts'
import { type ProfileKind, titles } from '../profile/thread-profile.ts'
import { Admin, adminOption } from './admin.ts'
import { daemonOptions } from './client.ts'
import { type Command, Failure, UsageError, type Words } from './command.ts'
import { Table } from './table.ts'

/** Functions in the summary when none are asked for. */
const TOP_DEFAULT = 20
const TOP_MAX = 1_000

const paths: Readonly<Record<ProfileKind, string>> = {
  cpu: 'profile',
  heap: 'heap',
  allocs: 'allocs',
  trace: 'trace',
}

export const profile: Command = {
  name: 'profile',
  operands: '',
  arity: [0, 0],
  summary: 'show where the time or the memory of all processes and threads goes',
  options: {
    seconds: {
      value: 'SECONDS',
      help: `for how long, 1 to ${PROFILE_SECONDS_MAX} (default: ${PROFILE_SECONDS_DEFAULT}; of a trace 1 to ${TRACE_SECONDS_MAX}, ${TRACE_SECONDS_DEFAULT})`,
    },
    heap: { help: 'what is allocated meanwhile and still in use at the end, instead of time' },
    allocs: { help: 'all that is allocated meanwhile, instead of time' },
    out: { value: 'FILE', help: 'write the profile, for `go tool pprof FILE`' },
    svg: { value: 'FILE', help: 'draw a flame graph' },
    trace: { value: 'FILE', help: 'write what happens when, for Perfetto, chrome://tracing or speedscope' },
    top: { value: 'FUNCTIONS', help: `how many functions to list (default: ${TOP_DEFAULT})` },
    admin: adminOption,
    'auth-key': daemonOptions['auth-key'],
  },
  notes:
    'Takes a key with the scope admin, where the daemon has keys. While none is taken, profiles cost nothing.',
  async run(words, io) {
    const kind = kindOf(words)
    const [byDefault, most] =
      kind === 'trace'
        ? [TRACE_SECONDS_DEFAULT, TRACE_SECONDS_MAX]
        : [PROFILE_SECONDS_DEFAULT, PROFILE_SECONDS_MAX]
    const seconds = words.count('seconds', byDefault, 1, most)
    const top = words.count('top', TOP_DEFAULT, 1, TOP_MAX)
    const admin = new Admin(words, io)
    await checkFolders(words)
    const answer = await admin.ask(`/debug/pprof/${paths[kind]}?seconds=${seconds}`)
    const bytes = Buffer.from(await answer.arrayBuffer())
    const leftOut = answer.headers.get('millrace-left-out')
    if (leftOut !== null) io.stderr.write(`left out: ${leftOut}\n`)
    const write = async (option: string, content: Uint8Array | string) => {
      const file = words.text(option)
      if (file === undefined) return
      await writeFile(file, content)
      io.stderr.write(`written: ${file}\n`)
    }
    await write('trace', bytes)
    if (kind === 'trace') return 0
    const stacks = stacksOf(bytes)
    await write('out', bytes)
    await write('svg', drawFlame(stacks, titles[kind]))
    io.stdout.write(summary(stacks, top))
    return 0
  },
}

/** Throws UsageError where the options ask for more than one kind. */
function kindOf(words: Words): ProfileKind {
  const given = (['heap', 'allocs', 'trace'] as const).filter((option) => words.flag(option))
  if (given.length > 1) throw new UsageError(`--${given[0]} and --${given[1]}: one profile at a time`)
  const other = ['out', 'svg', 'top'].find((option) => words.flag(option))
  if (given[0] === 'trace' && other !== undefined) throw new UsageError(`--trace has no --${other}`)
  return given[0] ?? 'cpu'
}

/** Before a profile is taken for nothing. */
async function checkFolders(words: Words): Promise<void> {
  for (const option of ['out', 'svg', 'trace']) {
    const file = words.text(option)
    if (file === undefined) continue
    await access(dirname(file), constants.W_OK).catch((error: Error) => {
      throw new Failure(`--${option} ${file}: ${error.message}`)
    })
  }
}

function summary(stacks: Stacks, most: number): string {
  const { all, unit } = stacks
  const share = (amount: number) => `${((100 * amount) / Math.max(all.total, 1)).toFixed(1)}%`
  const lines = [headline(stacks)]
  for (const { name, total, children } of all.children.values()) {
    const threads = [...children.values()].map((thread) => `${thread.name} ${share(thread.total)}`)
    lines.push(`  ${name}: ${share(total)} (${threads.join(', ')})`)
  }
  const rows = functionsOf(stacks)
    .filter(({ self }) => self > 0)
    .slice(0, most)
    .map(({ name, self, total }) => [
      formatAmount(self, unit).padStart(9),
      share(self).padStart(6),
      formatAmount(total, unit).padStart(9),
      share(total).padStart(6),
      name,
    ])
  return `${lines.join('\n')}\n\n${new Table(['in itself', '', 'with callees', '', 'function']).page(rows)}`
}
