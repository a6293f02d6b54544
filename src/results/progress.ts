// How far processing has come, kept beside the results it produced: each lane's position and the counters.

import { readU64, writeU64 } from '../log/segment.ts'

/** How far a writer's segments are committed. */
export interface WriterProgress {
  /** The one after the highest that is committed. */
  sequence: number
  /** In its segments up to there. */
  events: number
  bodies: number
  /** Unix milliseconds at which the newest of them was received. */
  receivedAt: number
}

/** Since the data directory was made. */
export interface Counters {
  /** Events and bodies whose effects are committed. */
  events: number
  bodies: number
  /** Events and bodies that came again and were skipped. */
  duplicateEvents: number
  duplicateBodies: number
  /** Events in segments that the log yielded again and that were skipped. */
  redeliveredEvents: number
  /** Events in records of the log that were damaged and set aside. */
  damagedEvents: number
  /** Segments that a broker does not hold any more, or holds as something else, when they are asked for. */
  lostSegments: number
  /** Unix milliseconds at which the newest committed segment was received. */
  lastReceivedAt: number
  /** Events that became dead letters; and of those what became of them, where they are not kept any more. */
  deadLetters: number
  deadLettersReplayed: number
  deadLettersDropped: number
  /** Those that had to go because there were too many. */
  deadLettersLeft: number
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
const WRITER = 'writer:'
const COUNTERS = 'counters'
const counterNames = [
  'events',
  'bodies',
  'duplicateEvents',
  'duplicateBodies',
  'redeliveredEvents',
  'damagedEvents',
  'lostSegments',
  'lastReceivedAt',
  'deadLetters',
  'deadLettersReplayed',
  'deadLettersDropped',
  'deadLettersLeft',
] as const

/** The number from which to read each lane on. */
export function readLanes(store: MetaReader): Map<string, number> {
  const lanes = new Map<string, number>()
  for (const [key, value] of store.metaRange(LANE)) lanes.set(key.slice(LANE.length), readU64(value, 0))
  return lanes
}

export function putLane(batch: MetaBatch, lane: string, next: number): void {
  batch.putMeta(LANE + lane, encode([next]))
}

export function removeLane(batch: MetaBatch, lane: string): void {
  batch.removeMeta(LANE + lane)
}

export function readWriters(store: MetaReader): Map<string, WriterProgress> {
  const writers = new Map<string, WriterProgress>()
  for (const [key, value] of store.metaRange(WRITER)) writers.set(key.slice(WRITER.length), writerOf(value))
  return writers
}

export function readWriter(store: MetaReader, writer: string): WriterProgress | undefined {
  const value = store.getMeta(WRITER + writer)
  return value === undefined ? undefined : writerOf(value)
}

export function putWriter(batch: MetaBatch, writer: string, progress: WriterProgress): void {
  const { sequence, events, bodies, receivedAt } = progress
  batch.putMeta(WRITER + writer, encode([sequence, events, bodies, receivedAt]))
}

export function removeWriter(batch: MetaBatch, writer: string): void {
  batch.removeMeta(WRITER + writer)
}

function writerOf(value: Buffer): WriterProgress {
  const [sequence, events, bodies, receivedAt] = decode(value)
  return { sequence, events, bodies, receivedAt }
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

export function emptyCounters(): Counters {
  return Object.fromEntries(counterNames.map((name) => [name, 0])) as unknown as Counters
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
