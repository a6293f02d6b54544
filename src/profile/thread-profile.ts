// What was seen in one thread, in a form that is small enough to send: the stacks as a tree, functions and files once.

import type { Profiler } from 'node:inspector/promises'

/**
 * `cpu`: where the time goes; `heap`: what was allocated while it ran and is still in use at its end; `allocs`: all that
 * was allocated; `trace`: as `cpu`, with the order in which things happened.
 */
export type ProfileKind = 'cpu' | 'heap' | 'allocs' | 'trace'

/** Each kind in a few words. */
export const titles: Readonly<Record<ProfileKind, string>> = {
  cpu: 'where the time goes',
  heap: 'what is in use of what was allocated',
  allocs: 'what was allocated',
  trace: 'what happened when',
}

export interface ProfileOrder {
  kind: ProfileKind
  seconds: number
}

export interface ThreadProfile {
  /** `main`, or the number of the thread. */
  thread: string
  urls: string[]
  /** Name, place in `urls`, line and column from 0; line -1 where there is no source. */
  functions: [name: string, url: number, line: number, column: number][]
  /**
   * Stacks, a parent before its children: its place or -1, that of the function, how many samples were taken in the
   * function itself, and what they stand for: microseconds or bytes.
   */
  nodes: [parent: number, fn: number, samples: number, amount: number][]
  /** Of a trace: a node, or -1 for idle, and how long from there on, microseconds. */
  track?: [node: number, us: number][]
  /** Of a trace: its beginning on the clock that all processes of the machine share, microseconds. */
  beganUs?: number
}

interface Seen {
  id: number
  callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number }
  children: Seen[]
}

/** Of the inspector's HeapProfiler: its stacks, and which objects were sampled in which of them. */
export interface HeapSamples {
  head: Seen
  samples: { nodeId: number; size: number }[]
}

/** Of the profiler's own entries: not a function, and not worth a frame. */
const NO_FRAME = '(root)'
const IDLE = '(idle)'

/** A thread of the pool that has nothing to do waits in this function of piscina. */
function isIdle({ functionName, url }: Seen['callFrame']): boolean {
  if (url === '') return functionName === IDLE
  return functionName === 'atomicsWaitLoop' && /[\\/]piscina[\\/]/.test(url)
}

/** Time that a thread was idle is left out. `profile`: of the inspector's Profiler. */
export function cpuThread(thread: string, profile: Profiler.Profile, kind: ProfileKind): ThreadProfile {
  const { samples = [], timeDeltas = [], startTime, endTime } = profile
  const seen = new Map(profile.nodes.map((node) => [node.id, { ...node, children: [] as Seen[] }]))
  for (const { id, children = [] } of profile.nodes) {
    const parent = seen.get(id)!
    for (const child of children) parent.children.push(seen.get(child)!)
  }
  const own = new Map<number, [samples: number, us: number]>()
  const steps: [id: number, us: number][] = []
  let at = startTime
  for (const [i, id] of samples.entries()) {
    at += timeDeltas[i]
    const us = Math.max(i + 1 < samples.length ? timeDeltas[i + 1] : endTime - at, 0)
    const idle = isIdle(seen.get(id)!.callFrame)
    if (kind === 'trace') {
      const before = steps.at(-1)
      if (before !== undefined && before[0] === (idle ? -1 : id)) before[1] += us
      else steps.push([idle ? -1 : id, us])
    }
    if (idle) continue
    const sum = own.get(id)
    if (sum === undefined) own.set(id, [1, us])
    else {
      sum[0]++
      sum[1] += us
    }
  }
  const tree = new Tree(thread, own)
  tree.add(seen.get(profile.nodes[0].id)!, -1)
  if (kind !== 'trace') return tree.profile
  const track = steps.map(([id, us]): [number, number] => [tree.places.get(id) ?? -1, us])
  return { ...tree.profile, track, beganUs: startTime + (timeDeltas[0] ?? 0) }
}

/** `profile`: of the inspector's sampling HeapProfiler, which has made bytes of its samples. */
export function heapThread(thread: string, profile: HeapSamples): ThreadProfile {
  const own = new Map<number, [samples: number, bytes: number]>()
  for (const { nodeId, size } of profile.samples) {
    const sum = own.get(nodeId)
    if (sum === undefined) own.set(nodeId, [1, size])
    else {
      sum[0]++
      sum[1] += size
    }
  }
  const tree = new Tree(thread, own)
  tree.add(profile.head, -1)
  return tree.profile
}

class Tree {
  readonly profile: ThreadProfile
  /** Of the inspector's nodes in `profile.nodes`. */
  readonly places = new Map<number, number>()
  readonly #own: Map<number, [samples: number, amount: number]>
  readonly #functions = new Map<string, number>()
  readonly #urls = new Map<string, number>()

  constructor(thread: string, own: Map<number, [number, number]>) {
    this.profile = { thread, urls: [], functions: [], nodes: [] }
    this.#own = own
  }

  /** False when nothing was seen there or below: then nothing of it is kept. Stacks have 255 frames at most. */
  add(node: Seen, parent: number): boolean {
    const { nodes } = this.profile
    const isFrame = node.callFrame.functionName !== NO_FRAME
    const place = isFrame ? nodes.length : parent
    const [samples, amount] = this.#own.get(node.id) ?? [0, 0]
    if (isFrame) {
      nodes.push([parent, -1, samples, amount])
      this.places.set(node.id, place)
    }
    let seen = samples > 0
    for (const child of node.children) seen = this.add(child, place) || seen
    if (!isFrame) return seen
    if (seen) nodes[place][1] = this.#function(node.callFrame)
    else nodes.pop() // its children have gone the same way
    return seen
  }

  #function({ functionName, url, lineNumber, columnNumber }: Seen['callFrame']): number {
    const { functions, urls } = this.profile
    const key = `${functionName}\n${lineNumber}\n${columnNumber}\n${url}`
    const known = this.#functions.get(key)
    if (known !== undefined) return known
    let file = this.#urls.get(url)
    if (file === undefined) {
      file = urls.push(url) - 1
      this.#urls.set(url, file)
    }
    const place = functions.push([functionName, file, lineNumber, columnNumber]) - 1
    this.#functions.set(key, place)
    return place
  }
}
