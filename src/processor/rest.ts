// A batch whose handlers left more than one commit may hold is committed in parts. The first of these claims all of it in
// the ledger and stores what is left to do: the frames of the batch, what it stands for, and how far its effects are
// committed. Later parts move that place on, and the last one removes it all, as it moves positions and counters. Whoever
// takes the store over in between begins with it: nothing of it is read from the log again.
//
//   rest      u32 length, JSON of About, frames
//   rest:at   u64  where in the frames what is left begins

import { readU64, writeU64 } from '../log/segment.ts'
import type { MetaBatch, MetaReader, WriterProgress } from '../results/progress.ts'

const REST = 'rest'
const AT = 'rest:at'
const LENGTH_BYTES = 4

/** What a batch stands for, beside its frames. */
export interface About {
  lanes: [string, number][]
  writers: [string, WriterProgress][]
  /** Pairs: where a run ends in the frames, and its time of receipt. */
  runs: number[]
  bodies: { end: number; correlation: string }[]
  events: number
  bodyCount: number
  duplicateEvents: number
  duplicateBodies: number
  redeliveredEvents: number
  lastReceivedAt: number
}

export interface Rest {
  about: About
  frames: Uint8Array
  at: number
}

export function readRest(store: MetaReader): Rest | undefined {
  const value = store.getMeta(REST)
  const at = store.getMeta(AT)
  if (value === undefined || at === undefined) return undefined
  const end = LENGTH_BYTES + value.readUInt32LE(0)
  const about = JSON.parse(value.toString('utf8', LENGTH_BYTES, end)) as About
  return { about, frames: value.subarray(end), at: readU64(at, 0) }
}

export function putRest(write: MetaBatch, about: About, frames: Uint8Array): void {
  const text = Buffer.from(JSON.stringify(about))
  const head = Buffer.alloc(LENGTH_BYTES)
  head.writeUInt32LE(text.length)
  write.putMeta(REST, Buffer.concat([head, text, frames]))
}

export function putRestAt(write: MetaBatch, at: number): void {
  const value = Buffer.alloc(8)
  writeU64(value, 0, at)
  write.putMeta(AT, value)
}

export function removeRest(write: MetaBatch): void {
  write.removeMeta(REST)
  write.removeMeta(AT)
}
