// How far processing has come, kept beside the results it produced: each lane's position and the counters.

import { readU64, writeU64 } from '../log/segment.ts'

/** Where a lane stands: the next sequence to read, and the events and bodies read of it so far. */
export interface LaneProgress {
  next: number
  events: number
  bodies: number
}

/** Since the data directory was made. */
export interface Counters {
  /** Events and bodies whose effects are committed. */
  events: number
  bodies: number
  /** Events and bodies that came again and were skipped. */
  duplicateEvents: number
  duplicateBodies: number
  /** Events in records of the log that were damaged and set aside. */
  damagedEvents: number
  /** Unix milliseconds at which the newest committed segment was received. */
  lastReceivedAt: number
}

/** The small part of the store that is needed here. */
export interface MetaReader {
  getMeta(key: string): Buffer | undefined
  metaRange(prefix: string): Iterable<[key: string, value: Buffer]>
}
export interface MetaBatch {
  putMeta(key: string, value: Buffer): void
  removeMeta(key: string): void
}

const LANE = 'lane:'
const COUNTERS = 'counters'
const counterNames = [
  'events',
  'bodies',
  'duplicateEvents',
  'duplicateBodies',
  'damagedEvents',
  'lastReceivedAt',
] as const

export function readLanes(store: MetaReader): Map<string, LaneProgress> {
  const lanes = new Map<string, LaneProgress>()
  for (const [key, value] of store.metaRange(LANE)) {
    const [next, events, bodies] = decode(value)
    lanes.set(key.slice(LANE.length), { next, events, bodies })
  }
  return lanes
}

export function putLane(batch: MetaBatch, lane: string, progress: LaneProgress): void {
  batch.putMeta(LANE + lane, encode([progress.next, progress.events, progress.bodies]))
}

export function removeLane(batch: MetaBatch, lane: string): void {
  batch.removeMeta(LANE + lane)
}

export function readCounters(store: MetaReader): Counters {
  const value = store.getMeta(COUNTERS)
  const numbers = value === undefined ? [] : decode(value)
  const counters = {} as Counters
  counterNames.forEach((name, i) => {
    counters[name] = numbers[i] ?? 0
  })
  return counters
}

export function putCounters(batch: MetaBatch, counters: Counters): void {
  batch.putMeta(COUNTERS, encode(counterNames.map((name) => counters[name])))
}

function encode(numbers: number[]): Buffer {
  const value = Buffer.allocUnsafe(numbers.length * 8)
  numbers.forEach((n, i) => {
    writeU64(value, i * 8, n)
  })
  return value
}

function decode(value: Buffer): number[] {
  return Array.from({ length: value.length / 8 }, (_, i) => readU64(value, i * 8))
}
