// What all threads did one after the other, as Chrome's Trace Event Format has it: opened by Perfetto, chrome://tracing
// and speedscope. Written from samples: what was shorter than the time between two of them may be missing.

import { Sources } from './sources.ts'
import { allLeftOut, type Labelled, type Taken } from './taken.ts'
import type { ThreadProfile } from './thread-profile.ts'

/** Times in microseconds. `X` is a call, `M` names a process or a thread. */
type TraceEvent =
  | { ph: 'X'; name: string; pid: number; tid: number; ts: number; dur: number }
  | { ph: 'M'; name: string; pid: number; tid: number; args: { name: string } }

/** JSON in UTF-8. */
export function encodeTrace(taken: Taken): string {
  const tracks = taken.processes.flatMap((one) => one.threads.map((thread) => ({ one, thread })))
  const began = Math.min(...tracks.map(({ thread }) => thread.beganUs ?? Number.POSITIVE_INFINITY))
  const sources = new Sources()
  const events = tracks.flatMap(({ one, thread }) => [
    ...namesOf(one, thread),
    ...callsOf(one, thread, began, sources),
  ])
  const lines = events.map((event) => JSON.stringify(event))
  const otherData = { program: 'millrace', leftOut: allLeftOut(taken) }
  return `{"displayTimeUnit":"ms","otherData":${JSON.stringify(otherData)},"traceEvents":[\n${lines.join(',\n')}\n]}\n`
}

function tidOf({ thread }: ThreadProfile): number {
  return thread === 'main' ? 0 : Number(thread)
}

function namesOf({ role, worker, pid }: Labelled, thread: ThreadProfile): TraceEvent[] {
  const tid = tidOf(thread)
  const name = thread.thread === 'main' ? 'main' : `pool thread ${thread.thread}`
  return [
    { ph: 'M', name: 'process_name', pid, tid, args: { name: `${role} ${worker}` } },
    { ph: 'M', name: 'thread_name', pid, tid, args: { name } },
  ]
}

/** A function that is on the stack in samples that follow each other was called once. */
function callsOf({ pid }: Labelled, thread: ThreadProfile, began: number, sources: Sources): TraceEvent[] {
  const tid = tidOf(thread)
  const named = thread.functions.map(([name, url, line, column]): [string, string] => {
    const place = sources.place(thread.urls[url], line, column)
    return [name === '' ? `(anonymous:${place.line})` : name, place.file]
  })
  const calls: TraceEvent[] = []
  const open: { node: number; ts: number }[] = []
  let ts = (thread.beganUs ?? began) - began
  const closeDownTo = (depth: number) => {
    while (open.length > depth) {
      const { node, ts: from } = open.pop()!
      const [name, file] = named[thread.nodes[node][1]]
      calls.push({ ph: 'X', name: `${name} ${file}`.trimEnd(), pid, tid, ts: from, dur: ts - from })
    }
  }
  for (const [leaf, us] of thread.track ?? []) {
    const stack: number[] = []
    for (let node = leaf; node >= 0; node = thread.nodes[node][0]) stack.unshift(node)
    let same = 0
    while (same < open.length && open[same].node === stack[same]) same++
    closeDownTo(same)
    for (const node of stack.slice(same)) open.push({ node, ts })
    ts += us
  }
  closeDownTo(0)
  return calls
}
