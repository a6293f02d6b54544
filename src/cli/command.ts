// What a command is, and how its words are read.

import type { Readable, Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { didYouMean } from '../config/nearest.ts'

/** What a command talks to: the process, or a test. */
export interface Io {
  stdin: Readable
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean; columns?: number }
  env: NodeJS.ProcessEnv
}

export interface Option {
  /** How help calls the value; an option without it is a flag. */
  value?: string
  repeatable?: boolean
  help: string
}

export interface Command {
  name: string
  /** What stands behind the name, such as `FILE|-`. */
  operands: string
  /** Fewest and most operands. */
  arity: [least: number, most: number]
  summary: string
  /** Printed below the options. */
  notes?: string
  options: Record<string, Option>
  /** Resolves with the exit code: 0 done, 1 failed, 2 wrong usage or configuration. */
  run(words: Words, io: Io): Promise<number>
}

/** Wrong usage: the message is printed and the exit code is 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** What could not be done: the message is printed and the exit code is 1. */
export class Failure extends Error {
  override name = 'Failure'
}

/** A command's words, read by its options. */
export class Words {
  readonly operands: string[]
  readonly #values: Map<string, string[]>

  constructor(operands: string[], values: Map<string, string[]>) {
    this.operands = operands
    this.#values = values
  }

  flag(name: string): boolean {
    return this.#values.has(name)
  }

  /** The value that was given last. */
  text(name: string): string | undefined {
    return this.#values.get(name)?.at(-1)
  }

  all(name: string): string[] {
    return this.#values.get(name) ?? []
  }

  /** A whole number within these bounds, both included. */
  count(name: string, byDefault: number, least: number, most: number): number {
    const given = this.text(name)
    if (given === undefined) return byDefault
    const number = /^[0-9]+$/.test(given) ? Number(given) : Number.NaN
    if (number >= least && number <= most) return number
    throw new UsageError(`--${name} ${given}: a whole number from ${least} to ${most}`)
  }

  choice<const T extends string>(name: string, words: readonly T[]): T | undefined {
    const given = this.text(name)
    const word = words.find((candidate) => candidate === given)
    if (given === undefined || word !== undefined) return word
    throw new UsageError(`--${name} ${given}: one of ${words.join(', ')}${didYouMean(given, words)}`)
  }
}

const help: Option = { help: 'print this' }

/** Reads the words after a command's name. Throws UsageError; undefined when help was asked for. */
export function readWords(command: Command, argv: string[]): Words | undefined {
  const options: Record<string, Option> = { ...command.options, help }
  const { tokens } = parseArgs({
    args: argv,
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      ...Object.fromEntries(
        Object.entries(options).map(
          ([name, { value }]) => [name, { type: value ? 'string' : 'boolean' }] as const,
        ),
      ),
      help: { type: 'boolean', short: 'h' },
    },
  })
  const operands: string[] = []
  const values = new Map<string, string[]>()
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value)
    if (token.kind !== 'option') continue
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined
    if (option === undefined) {
      throw new UsageError(
        `there is no option ${token.rawName}${didYouMean(
          token.rawName,
          Object.keys(options).map((name) => `--${name}`),
        )}`,
      )
    }
    const dashed = token.inlineValue === false && /^--?[A-Za-z]/.test(token.value)
    if (option.value !== undefined && (token.value === undefined || dashed)) {
      throw new UsageError(`--${token.name} needs a value: --${token.name} ${option.value}`)
    }
    if (option.value === undefined && token.value !== undefined) {
      throw new UsageError(`--${token.name} takes no value`)
    }
    const before = values.get(token.name)
    if (before !== undefined && !option.repeatable && option.value !== undefined) {
      throw new UsageError(`--${token.name} is given twice`)
    }
    values.set(token.name, [...(before ?? []), token.value ?? ''])
  }
  if (values.has('help')) return undefined
  const [least, most] = command.arity
  if (operands.length < least) throw new UsageError(`${command.operands} is missing`)
  if (operands.length > most) throw new UsageError(`"${operands[most]}" is more than it takes`)
  return new Words(operands, values)
}

export function helpOf(command: Command): string {
  const options = Object.entries({ ...command.options, help }).map(
    ([name, { value, help: text, repeatable }]) => {
      const left = `  --${name}${value === undefined ? '' : ` ${value}`}`
      return [left, repeatable ? `${text} (may be repeated)` : text] as const
    },
  )
  const width = Math.max(...options.map(([left]) => left.length))
  const lines = options.map(([left, text]) => `${left.padEnd(width)}  ${text}`)
  const usage = ['usage: millrace', command.name, command.operands, '[options]'].filter((word) => word !== '')
  return [
    usage.join(' '),
    '',
    command.summary,
    '',
    ...lines,
    ...(command.notes ? ['', command.notes] : []),
    '',
  ].join('\n')
}
