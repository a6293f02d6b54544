// Settings on their way to the schema: a value with the place that each part of it came from.

import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'

/** Deeper than anything in the schema; stops an alias that contains itself. */
const DEPTH_MAX = 16

/** One value and where it was written. `value` is a scalar, a list, or a map of names to entries. */
export interface Tree {
  value: string | number | boolean | null | Tree[] | Map<string, Entry>
  /** `file:line:column`, the name of an environment variable, or the option with its text. */
  at: string
}

export interface Entry {
  tree: Tree
  /** Where the name stands. */
  nameAt: string
}

export type Path = readonly PropertyKey[]

/** Reads YAML text. Everything wrong with it is added to `problems`; undefined when there is nothing usable. */
export function parseYaml(text: string, file: string, problems: string[]): Tree | undefined {
  const lines = new LineCounter()
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${Math.max(1, line)}:${Math.max(1, col)}`
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  for (const { code, pos, message } of [...document.errors, ...document.warnings]) {
    problems.push(`${at(pos[0])}: ${code === 'DUPLICATE_KEY' ? duplicate(text, pos[0]) : message}`)
  }
  if (document.errors.length > 0) return undefined

  const convert = (node: unknown, fallback: number, depth: number): Tree => {
    const start = rangeOf(node) ?? fallback
    const here = at(start)
    if (depth > DEPTH_MAX) {
      problems.push(`${here}: nested too deeply`)
      return { value: null, at: here }
    }
    if (isAlias(node)) return convert(node.resolve(document), start, depth + 1)
    if (isSeq(node)) return { value: node.items.map((item) => convert(item, start, depth + 1)), at: here }
    if (isMap(node)) {
      const entries = new Map<string, Entry>()
      for (const item of node.items) {
        if (!isPair(item)) continue
        const nameAt = rangeOf(item.key) ?? start
        const name = isScalar(item.key) ? String(item.key.value) : '?'
        entries.set(name, { tree: convert(item.value, nameAt, depth + 1), nameAt: at(nameAt) })
      }
      return { value: entries, at: here }
    }
    return { value: isScalar(node) ? scalar(node.value) : null, at: here }
  }
  return convert(document.contents, 0, 0)
}

/**
 * Reads the text of an environment variable or an option: `{…}`, `[…]` and quoted text are YAML, anything else is
 * one plain value, so that `*`, `#` or `: ` in it need no quotes. Empty text is the same as nothing.
 */
export function parseSetting(text: string, at: string, problems: string[]): Tree {
  const trimmed = text.trim()
  const isAddress = /^\[[0-9A-Fa-f:.]*\]:[0-9]+$/.test(trimmed)
  if (/^[[{"']/.test(trimmed) && !isAddress) {
    const document = parseDocument(trimmed, { prettyErrors: false })
    for (const { message } of document.errors) problems.push(`${at}: ${message}`)
    return document.errors.length > 0 ? { value: null, at } : fromPlain(document.toJS(), at)
  }
  if (trimmed === '' || trimmed === 'null' || trimmed === '~') return { value: null, at }
  if (trimmed === 'true' || trimmed === 'false') return { value: trimmed === 'true', at }
  const isNumber =
    /^-?[0-9]+(?:\.[0-9]+)?$/.test(trimmed) && Number.isSafeInteger(Math.trunc(Number(trimmed)))
  return { value: isNumber ? Number(trimmed) : trimmed, at }
}

/** Puts `tree` at a path of names, in place of what was there; maps on the way are made. */
export function put(root: Tree, path: readonly string[], tree: Tree): void {
  let map = root
  path.forEach((name, i) => {
    if (!(map.value instanceof Map)) map.value = new Map()
    const entry = map.value.get(name)
    const next = i === path.length - 1 ? tree : (entry?.tree ?? { value: new Map(), at: tree.at })
    map.value.set(name, { tree: next, nameAt: next === tree ? tree.at : (entry?.nameAt ?? tree.at) })
    map = next
  })
}

/** The plain value, as a schema takes it. A name with nothing behind it counts as not given. */
export function plain({ value }: Tree): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (!(value instanceof Map)) return value
  // Object.create(null): a name such as __proto__ has to arrive as a name.
  const object: Record<string, unknown> = Object.create(null)
  for (const [name, { tree }] of value) object[name] = tree.value === null ? undefined : plain(tree)
  return object
}

/** Where the value at a path was written, or as much of the path as there is. */
export function placeOf(root: Tree, path: Path): string {
  let tree = root
  for (const name of path) {
    const { value } = tree
    const next = Array.isArray(value)
      ? value[Number(name)]
      : value instanceof Map
        ? value.get(String(name))?.tree
        : undefined
    if (next === undefined) break
    tree = next
  }
  return tree.at
}

/** Where the name at the end of a path was written. */
export function placeOfName(root: Tree, path: Path, name: string): string {
  let tree = root
  for (const part of path) {
    const { value } = tree
    const next = Array.isArray(value)
      ? value[Number(part)]
      : (value as Map<string, Entry>).get(String(part))?.tree
    if (next === undefined) return tree.at
    tree = next
  }
  return (tree.value instanceof Map ? tree.value.get(name)?.nameAt : undefined) ?? tree.at
}

function fromPlain(value: unknown, at: string): Tree {
  if (Array.isArray(value)) return { value: value.map((item) => fromPlain(item, at)), at }
  if (typeof value !== 'object' || value === null) return { value: scalar(value), at }
  const entries = Object.entries(value).map(([name, inner]): [string, Entry] => [
    name,
    { tree: fromPlain(inner, at), nameAt: at },
  ])
  return { value: new Map(entries), at }
}

function scalar(value: unknown): string | number | boolean | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'number' || typeof value === 'boolean') return value
  return String(value)
}

function rangeOf(node: unknown): number | undefined {
  const range = (node as { range?: [number, number, number] | null } | null | undefined)?.range
  return range?.[0]
}

function duplicate(text: string, offset: number): string {
  const name = /^[^\s:,{}[\]]+/.exec(text.slice(offset))?.[0] ?? 'a key'
  return `${name} stands here twice: keep one of them`
}
