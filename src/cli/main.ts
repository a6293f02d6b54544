// The command line: finds the command, reads its words, and turns what went wrong into a message and an exit code.

import { didYouMean } from '../config/nearest.ts'
import { ConfigError } from '../config/problems.ts'
import { version } from '../telemetry/version.ts'
import { type Command, Failure, helpOf, type Io, readWords, UsageError } from './command.ts'

/** By name, in the order in which they are listed; only the code of the one that runs is loaded. */
const commands: Record<string, () => Promise<Command>> = {
  start: async () => (await import('./start.ts')).start,
  check: async () => (await import('./check.ts')).check,
  send: async () => (await import('./send.ts')).send,
  query: async () => (await import('./query.ts')).query,
  top: async () => (await import('./top.ts')).top,
  tap: async () => (await import('./tap.ts')).tap,
  status: async () => (await import('./status.ts')).status,
  dlq: async () => (await import('./dlq.ts')).dlq,
  reconcile: async () => (await import('./reconcile.ts')).reconcile,
  profile: async () => (await import('./profile.ts')).profile,
  'log-level': async () => (await import('./log-level.ts')).logLevel,
  bench: async () => (await import('./bench.ts')).bench,
}

/**
 * Runs `millrace ARGV`. Resolves with the exit code: 0 done, 1 failed, 2 wrong usage or configuration.
 * Without a command, the daemon starts.
 */
export async function main(argv: string[], io: Io = processIo()): Promise<number> {
  const [first, ...rest] = argv
  if (first === '--help' || first === '-h' || first === 'help') return print(io, await overview())
  if (first === '--version' || first === 'version') return print(io, `${version()}\n`)
  const isName = first !== undefined && !first.startsWith('-')
  const name = isName ? first : 'start'
  if (!Object.hasOwn(commands, name)) {
    const near = didYouMean(name, Object.keys(commands))
    io.stderr.write(`millrace: there is no command ${name}${near}\nmillrace --help lists them\n`)
    return 2
  }
  const command = await commands[name]()
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

async function overview(): Promise<string> {
  const all = await Promise.all(Object.values(commands).map((load) => load()))
  const lines = all.map(({ name, operands, summary }) => {
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
