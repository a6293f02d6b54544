// The command line: finds the command, reads its words, and turns what went wrong into a message and an exit code.

import { ConfigError } from '../config/load.ts'
import { didYouMean } from '../config/nearest.ts'
import { version } from '../telemetry/version.ts'
import { bench } from './bench.ts'
import { check } from './check.ts'
import { type Command, Failure, helpOf, type Io, readWords, UsageError } from './command.ts'
import { dlq } from './dlq.ts'
import { logLevel } from './log-level.ts'
import { profile } from './profile.ts'
import { query } from './query.ts'
import { reconcile } from './reconcile.ts'
import { send } from './send.ts'
import { start } from './start.ts'
import { status } from './status.ts'
import { tap } from './tap.ts'
import { top } from './top.ts'

const commands: readonly Command[] = [
  start,
  check,
  send,
  query,
  top,
  tap,
  status,
  dlq,
  reconcile,
  profile,
  logLevel,
  bench,
]

/**
 * Runs `millrace ARGV`. Resolves with the exit code: 0 done, 1 failed, 2 wrong usage or configuration.
 * Without a command, the daemon starts.
 */
export async function main(argv: string[], io: Io = processIo()): Promise<number> {
  const [first, ...rest] = argv
  if (first === '--help' || first === '-h' || first === 'help') return print(io, overview())
  if (first === '--version' || first === 'version') return print(io, `${version()}\n`)
  const isName = first !== undefined && !first.startsWith('-')
  const command = isName ? commands.find(({ name }) => name === first) : start
  if (command === undefined) {
    const near = didYouMean(
      first,
      commands.map(({ name }) => name),
    )
    io.stderr.write(`millrace: there is no command ${first}${near}\nmillrace --help lists them\n`)
    return 2
  }
  try {
    const words = readWords(command, isName ? rest : argv)
    return words === undefined ? print(io, helpOf(command)) : await command.run(words, io)
  } catch (error) {
    return explain(error as Error, command, io)
  }
}

function explain(error: Error, command: Command, io: Io): number {
  if (error instanceof ConfigError) {
    io.stderr.write(`${error.problems.join('\n')}\n`)
    return 2
  }
  if (error instanceof UsageError) {
    io.stderr.write(`millrace ${command.name}: ${error.message}\nmillrace ${command.name} --help says how\n`)
    return 2
  }
  const text = error instanceof Failure ? error.message : (error.stack ?? String(error))
  io.stderr.write(`millrace ${command.name}: ${text}\n`)
  return 1
}

function overview(): string {
  const lines = commands.map(({ name, operands, summary }) => {
    return `  ${`${name} ${operands}`.trimEnd().padEnd(20)}  ${summary}`
  })
  return [
    'usage: millrace [command] [options]',
    '',
    'Events in, durable, counted exactly once, queryable. Without a command, the daemon starts.',
    '',
    ...lines,
    '',
    'millrace COMMAND --help tells the options of a command; millrace --version the version.',
    'Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.',
    '',
  ].join('\n')
}

function print(io: Io, text: string): number {
  io.stdout.write(text)
  return 0
}

function processIo(): Io {
  const { stdin, stdout, stderr, env } = process
  // `millrace query … | head` is no mistake: whoever reads has seen enough.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  return { stdin, stdout, stderr, env }
}
