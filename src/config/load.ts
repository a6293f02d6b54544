// From the file, the environment and the options to one checked configuration.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { z } from 'zod'
import type { Config } from './config.ts'
import { shapeOf } from './fields.ts'
import { didYouMean } from './nearest.ts'
import { ConfigError } from './problems.ts'
import { schema, shape } from './schema.ts'
import { type Path, parseSetting, parseYaml, placeOf, placeOfName, plain, put, type Tree } from './tree.ts'

export { ConfigError }

/** Taken when it is there and no other file is named. */
export const DEFAULT_FILE = 'millrace.yaml'

const PREFIX = 'MILLRACE_'
/** Variables with this prefix that are no settings: between our own processes, for the clients, and for the tests. */
const NOT_SETTINGS = /^MILLRACE_(?:ROLE|URL|ADMIN_URL|KEY|NATS|KAFKA|INTERNAL_.*)$/i

export interface Sources {
  /** The file that was named. Without one, DEFAULT_FILE is read if it is there. */
  file?: string | undefined
  env: NodeJS.ProcessEnv
  /** `a.b=c`, the last one wins. */
  sets: readonly string[]
}

export interface Loaded {
  config: Config
  /** The file that was read, if any. */
  file?: string
}

/**
 * Defaults, then the file, then the environment, then the options: what comes later wins.
 * Throws ConfigError with everything that is wrong in any of them.
 */
export function loadConfig({ file, env, sets }: Sources): Loaded {
  const problems: string[] = []
  const chosen = file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined)
  const root = (chosen === undefined ? undefined : readTree(chosen, problems)) ?? {
    value: new Map(),
    at: 'configuration',
  }
  putEnvironment(root, env, problems)
  for (const set of sets) putOption(root, set, problems)
  const result = schema.safeParse(plain(root))
  if (!result.success) for (const issue of result.error.issues) problems.push(...describe(issue, root))
  if (problems.length > 0 || !result.success) throw new ConfigError(sorted(problems))
  const config = defined(result.data) as Config
  // A path is meant from where it was written.
  config.handlers = config.handlers.map((path, i) => {
    const fromFile = chosen !== undefined && placeOf(root, ['handlers', i]).startsWith(`${chosen}:`)
    return resolve(fromFile ? dirname(chosen) : '.', path)
  })
  return chosen === undefined ? { config } : { config, file: chosen }
}

function readTree(file: string, problems: string[]): Tree | undefined {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const known: Record<string, string> = {
      ENOENT: 'there is no such file',
      EACCES: 'may not be read',
      EISDIR: 'is a directory',
      ERR_ENCODING_INVALID_ENCODED_DATA: 'is not UTF-8 text',
    }
    problems.push(`${file}: ${known[code ?? ''] ?? message}`)
    return undefined
  }
  const tree = parseYaml(text, file, problems)
  if (tree === undefined || tree.value === null) return undefined
  if (tree.value instanceof Map) return tree
  problems.push(`${tree.at}: a configuration is a map of keys and values, such as "dataDir: ./data"`)
  return undefined
}

/** `MILLRACE_LOG__KIND` is log.kind. Shorter names first, so that a section can be set and then one key of it. */
function putEnvironment(root: Tree, env: NodeJS.ProcessEnv, problems: string[]): void {
  const names = Object.keys(env).filter(
    // An empty variable counts as not set, as container files mean it.
    (name) => name.toUpperCase().startsWith(PREFIX) && !NOT_SETTINGS.test(name) && env[name]?.trim() !== '',
  )
  const depth = (name: string) => name.split('__').length
  for (const name of names.sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1))) {
    const path = pathOf(name.slice(PREFIX.length).split('__'))
    if (path === undefined) {
      const known = variables(shape, PREFIX)
      problems.push(`${name}: there is no such setting${didYouMean(name, known)}`)
    } else put(root, path, parseSetting(env[name]!, name, problems))
  }
}

function putOption(root: Tree, set: string, problems: string[]): void {
  const equals = set.indexOf('=')
  const path = set.slice(0, equals).split('.')
  if (equals <= 0 || path.includes('')) {
    problems.push(`--set ${set}: write it as key=value, such as log.kind=memory`)
    return
  }
  put(root, path, parseSetting(set.slice(equals + 1), `--set ${set}`, problems))
}

/** The key that these names stand for in any letter case, or undefined. */
function pathOf(names: string[]): string[] | undefined {
  let keys: Record<string, z.ZodType> | undefined = shape
  const path: string[] = []
  for (const name of names) {
    const key: string | undefined = Object.keys(keys ?? {}).find(
      (one) => one.toLowerCase() === name.toLowerCase(),
    )
    if (key === undefined) return undefined
    path.push(key)
    keys = shapeOf(keys![key])
  }
  return path
}

function variables(keys: Record<string, z.ZodType>, prefix: string): string[] {
  return Object.entries(keys).flatMap(([key, inner]) => {
    const name = prefix + key.toUpperCase()
    return [name, ...variables(shapeOf(inner) ?? {}, `${name}__`)]
  })
}

function describe(issue: z.core.$ZodIssue, root: Tree): string[] {
  const { path } = issue
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('\n')
    return issue.keys.map((name, i) => {
      return `${placeOfName(root, path, name)}: ${dotted([...path, name])}: ${messages[i]}`
    })
  }
  const missing = issue.code === 'invalid_type' && issue.message.includes('nonoptional')
  return [`${placeOf(root, path)}: ${dotted(path)}: ${missing ? 'is missing' : issue.message}`]
}

function dotted(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

/** By file and line, as one reads; what has no line keeps its order, behind. */
function sorted(problems: string[]): string[] {
  const place = (problem: string) => {
    const match = /^.*?:(\d+):(\d+): /.exec(problem)
    return match === null ? Number.POSITIVE_INFINITY : Number(match[1]) * 1e6 + Number(match[2])
  }
  return [...new Set(problems)].sort((a, b) => {
    const [left, right] = [place(a), place(b)]
    return left === right ? 0 : left - right
  })
}

/** Without the keys that have no value. */
function defined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(defined)
  if (typeof value !== 'object' || value === null) return value
  const pairs = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(pairs.map(([key, inner]) => [key, defined(inner)]))
}
