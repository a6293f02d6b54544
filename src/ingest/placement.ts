// Which partition an event goes to, and a body's events put apart by it.
//
// An event belongs to the partition that Kafka's own clients would choose for its subject as the key of a record:
// toPositive(murmur2(subject)) % partitions, over the subject's bytes as they came; no subject is the empty one.
// (murmur2: Austin Appleby's MurmurHash2, public domain, with the seed of Kafka's Utils.java; the choice:
// DefaultPartitioner of the Java client up to 3.2, BuiltInPartitioner.partitionForKey since.)
//
// Only frames that scan.ts has passed come here: their structure is trusted, and nothing is checked. Fields of the
// frame itself that are not events belong to no partition: they go along with the event before them, those in front
// with the first event. So nothing that a client sent is lost, and no partition gets a frame without events.

// Measured, a core, 4 partitions: 15-18M events/s of 53 bytes where each goes elsewhere than the one before, 45-55M
// where all go to the same. Copying short runs byte by byte, or by words through a DataView, was slower than `set`.

import { EVENT_TAG as EVENT, SUBJECT_TAG as SUBJECT } from '../frame/tags.ts'
import { PLACED_BYTES_KEPT_MAX } from '../limits.ts'

// Copied, because the compiler folds a module's own constants but not imported ones.
const EVENT_TAG = EVENT
const SUBJECT_TAG = SUBJECT

const SEED = 0x9747b28c
const M = 0x5bd1e995

/** Where reading goes on after readVarint. */
let next = 0

/** Puts the events of one body after another apart, in memory that is used again. */
export class Placer {
  readonly #partitions: number
  /** Of the last body, for each partition. */
  readonly #events: Int32Array
  readonly #bytes: Int32Array
  readonly #ends: Int32Array
  /** Runs of neighbours that go to the same partition: pairs of partition and end. */
  #runs = new Int32Array(2 * 512)
  #placed = Buffer.allocUnsafeSlow(64 * 1024)
  /** The whole frame, when all of it goes to one partition. */
  #whole: Uint8Array | undefined

  constructor(partitions: number) {
    this.#partitions = partitions
    this.#events = new Int32Array(partitions)
    this.#bytes = new Int32Array(partitions)
    this.#ends = new Int32Array(partitions)
  }

  /**
   * Puts apart the events of the frame in bytes[start, end), which scan has passed. Returns the partition when all
   * go to the same one, and otherwise -1.
   */
  place(bytes: Uint8Array, start: number, end: number): number {
    const runs = this.#find(bytes, start, end)
    if (runs === 1) {
      this.#whole = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end)
      return this.#runs[0]
    }
    this.#whole = undefined
    this.#copy(bytes, start, end, runs)
    return -1
  }

  /**
   * The frame of a partition's events, in the order of the body, or undefined where it has none. It holds until
   * the next `place`; when all events have this partition, it is the body's own memory.
   */
  frameOf(partition: number): Uint8Array | undefined {
    if (this.#events[partition] === 0) return undefined
    if (this.#whole !== undefined) return this.#whole
    const end = this.#ends[partition]
    return this.#placed.subarray(end - this.#bytes[partition], end)
  }

  /** How many events went to this partition. */
  eventsOf(partition: number): number {
    return this.#events[partition]
  }

  /** Finds the runs, and counts events and bytes for each partition. Returns the number of runs. */
  #find(bytes: Uint8Array, start: number, end: number): number {
    const partitions = this.#partitions
    const events = this.#events.fill(0)
    const sizes = this.#bytes.fill(0)
    let runs = 0
    let current = -1
    let runStart = start
    let at = start
    while (at < end) {
      const eventAt = at
      let tag = bytes[at++]
      if (tag > 127) {
        tag = readVarint(bytes, at - 1)
        at = next
      }
      if (tag !== EVENT_TAG) {
        at = skip(bytes, at, tag)
        continue
      }
      let size = bytes[at++]
      if (size > 127) {
        size = readVarint(bytes, at - 1)
        at = next
      }
      const partition = (hashOfSubject(bytes, at, at + size) & 0x7fffffff) % partitions
      at += size
      events[partition]++
      if (partition === current) continue
      if (current >= 0) {
        sizes[current] += eventAt - runStart
        this.#endRun(runs++, current, eventAt)
        runStart = eventAt
      }
      current = partition
    }
    sizes[current] += end - runStart
    this.#endRun(runs++, current, end)
    return runs
  }

  #endRun(run: number, partition: number, end: number): void {
    if (run * 2 === this.#runs.length) {
      const grown = new Int32Array(this.#runs.length * 2)
      grown.set(this.#runs)
      this.#runs = grown
    }
    this.#runs[run * 2] = partition
    this.#runs[run * 2 + 1] = end
  }

  /** Copies the runs to where those of their partition are gathered: partition after partition. */
  #copy(bytes: Uint8Array, start: number, end: number, runs: number): void {
    const size = end - start
    if (size > this.#placed.length || this.#placed.length > PLACED_BYTES_KEPT_MAX) {
      this.#placed = Buffer.allocUnsafeSlow(Math.max(size, 64 * 1024))
    }
    const ends = this.#ends
    for (let partition = 0, before = 0; partition < this.#partitions; partition++) {
      ends[partition] = before
      before += this.#bytes[partition]
    }
    const target = this.#placed
    let from = start
    for (let run = 0; run < runs; run++) {
      const partition = this.#runs[run * 2]
      const to = this.#runs[run * 2 + 1]
      const at = ends[partition]
      target.set(bytes.subarray(from, to), at)
      ends[partition] = at + to - from
      from = to
    }
  }
}

/** The hash of the last subject in the event's fields. */
function hashOfSubject(bytes: Uint8Array, start: number, end: number): number {
  let subjectAt = end
  let subjectBytes = 0
  let at = start
  while (at < end) {
    let tag = bytes[at++]
    if (tag > 127) {
      tag = readVarint(bytes, at - 1)
      at = next
    }
    if ((tag & 7) !== 2) {
      at = skip(bytes, at, tag)
      continue
    }
    let size = bytes[at++]
    if (size > 127) {
      size = readVarint(bytes, at - 1)
      at = next
    }
    if (tag === SUBJECT_TAG) {
      subjectAt = at
      subjectBytes = size
    }
    at += size
  }
  return murmur2(bytes, subjectAt, subjectBytes)
}

function murmur2(bytes: Uint8Array, start: number, size: number): number {
  let hash = SEED ^ size
  let at = start
  for (const end = start + (size & ~3); at < end; at += 4) {
    let word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    word = Math.imul(word, M)
    word = Math.imul(word ^ (word >>> 24), M)
    hash = Math.imul(hash, M) ^ word
  }
  const rest = size & 3
  if (rest > 0) {
    if (rest === 3) hash ^= bytes[at + 2] << 16
    if (rest >= 2) hash ^= bytes[at + 1] << 8
    hash = Math.imul(hash ^ bytes[at], M)
  }
  hash = Math.imul(hash ^ (hash >>> 13), M)
  return hash ^ (hash >>> 15)
}

/** Skips what follows a tag. Returns where it ends. */
function skip(bytes: Uint8Array, start: number, tag: number): number {
  switch (tag & 7) {
    case 0:
      return skipVarint(bytes, start)
    case 1:
      return start + 8
    case 2: {
      const size = readVarint(bytes, start)
      return next + size // in this order: reading it sets `next`
    }
    case 3:
      return skipGroup(bytes, start)
    default:
      return start + 4
  }
}

/** To the end of the group whose fields begin here. Groups end in the reverse order of their beginnings. */
function skipGroup(bytes: Uint8Array, start: number): number {
  let at = start
  for (let open = 1; open > 0; ) {
    const tag = readVarint(bytes, at)
    at = next
    const wireType = tag & 7
    if (wireType === 3) open++
    else if (wireType === 4) open--
    else at = skip(bytes, at, tag)
  }
  return at
}

function skipVarint(bytes: Uint8Array, start: number): number {
  let at = start
  while (bytes[at++] > 127);
  return at
}

/** Reads a tag or a length of any width, leaving the place after it in `next`. */
function readVarint(bytes: Uint8Array, start: number): number {
  let value = 0
  let at = start
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]
    value |= (byte & 127) << shift
    if (byte < 128) {
      next = at
      return value >>> 0
    }
  }
}
