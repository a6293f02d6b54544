// The stacks of a profile in pprof's form, by process and thread, for drawing and for tables.

import { gunzipSync } from 'node:zlib'
import { Profile } from 'pprof-format'

export interface Frame {
  /** Of a function: its name and file in one, `publish src/ingest/publish.ts`. */
  name: string
  /** Empty where there is no source, and for a process or a thread. */
  file: string
  /** Of a process: its role. */
  role?: string
  /** Nanoseconds or bytes, with what is below it; what is in the frame itself. */
  total: number
  self: number
  children: Map<string, Frame>
}

export interface Stacks {
  unit: 'nanoseconds' | 'bytes'
  /** What is measured, as pprof calls it: `time`, `inuse_space`, `alloc_space`. */
  type: string
  seconds: number
  /** When it began: `2026-01-31T12:00:00Z`. */
  at: string
  comments: string[]
  /** Everything; its children are the processes, theirs the threads. */
  all: Frame
}

/** `bytes`: gzipped, of one that millrace has made. Throws where it is none. */
export function stacksOf(bytes: Uint8Array): Stacks {
  const profile = Profile.decode(gunzipSync(bytes))
  const text = (index: number | bigint) => profile.stringTable.strings[Number(index)] ?? ''
  const amount = profile.sampleType.length - 1
  const { type, unit } = profile.sampleType[amount]
  const names = new Map<number, [name: string, file: string]>()
  const functions = new Map(profile.function.map((one) => [Number(one.id), one]))
  for (const { id, line } of profile.location) {
    const callee = functions.get(Number(line[0].functionId))
    names.set(Number(id), [text(callee?.name ?? 0), text(callee?.filename ?? 0)])
  }
  const all = frame('all', '')
  for (const { locationId, value, label } of profile.sample) {
    const weight = Number(value[amount])
    const labels = new Map(label.map(({ key, str }) => [text(key), text(str)]))
    const role = labels.get('role') ?? ''
    const thread = labels.get('thread') ?? ''
    let at = all
    at.total += weight
    at = below(at, `${role} ${labels.get('worker')}, pid ${labels.get('pid')}`, '', weight)
    at.role = role
    at = below(at, thread === 'main' ? 'main thread' : `thread ${thread}`, '', weight)
    for (const id of locationId.toReversed()) at = below(at, ...names.get(Number(id))!, weight)
    at.self += weight
  }
  return {
    unit: text(unit) === 'bytes' ? 'bytes' : 'nanoseconds',
    type: text(type),
    seconds: Number(profile.durationNanos) / 1e9,
    at: new Date(Number(BigInt(profile.timeNanos) / 1_000_000n)).toISOString().replace(/\.\d+Z$/, 'Z'),
    comments: profile.comment.map(text),
    all,
  }
}

function below(parent: Frame, name: string, file: string, weight: number): Frame {
  let child = parent.children.get(name)
  if (child === undefined) {
    child = frame(name, file)
    parent.children.set(name, child)
  }
  child.total += weight
  return child
}

function frame(name: string, file: string): Frame {
  return { name, file, total: 0, self: 0, children: new Map() }
}

export interface Summed {
  name: string
  /** In itself, and with what it called; a function that calls itself is counted once. */
  self: number
  total: number
}

/** The functions of all threads, those that have most in themselves first. */
export function functionsOf({ all }: Stacks): Summed[] {
  const functions = new Map<string, Summed>()
  const walk = (at: Frame, above: Set<string>) => {
    const known = functions.get(at.name) ?? { name: at.name, self: 0, total: 0 }
    functions.set(at.name, known)
    known.self += at.self
    const isOutermost = !above.has(at.name)
    if (isOutermost) known.total += at.total
    if (isOutermost) above.add(at.name)
    for (const child of at.children.values()) walk(child, above)
    if (isOutermost) above.delete(at.name)
  }
  for (const process of all.children.values()) {
    for (const thread of process.children.values()) {
      for (const outermost of thread.children.values()) walk(outermost, new Set())
    }
  }
  return [...functions.values()].sort((a, b) => b.self - a.self || (a.name < b.name ? -1 : 1))
}

/** For people: `1.24 s`, `3.1 MB`. */
export function formatAmount(amount: number, unit: Stacks['unit']): string {
  if (unit === 'nanoseconds')
    return amount < 1e9 ? `${(amount / 1e6).toFixed(1)} ms` : `${(amount / 1e9).toFixed(2)} s`
  return amount < 1e6 ? `${(amount / 1e3).toFixed(1)} kB` : `${(amount / 1e6).toFixed(1)} MB`
}

/** What everything adds up to: `2.75 s busy in 2 s`. */
export function headline({ all, unit, type, seconds }: Stacks): string {
  const words: Record<string, string> = { time: 'busy', inuse_space: 'in use', alloc_space: 'allocated' }
  return `${formatAmount(all.total, unit)} ${words[type] ?? type} in ${seconds} s`
}
