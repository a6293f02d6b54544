// Dead letters: events that a handler could not handle, kept with the reason until someone replays or drops them.
//
//   id                 24 hex digits: u48 time of death in Unix milliseconds, u8 partition, u40 number of the letter
//                      in its partition. In the order of death, unique, and it says which partition has the letter
//   letters[id]        JSON of what there is to say of it (`Head`)
//   letterEvents[id]   the event, as it stood in its frame: an encoded millrace.v1.Event
//
// Each partition keeps so many letters and bytes of them; past that the oldest leave, and are counted.

import type { ProblemCode } from '../errors.ts'
import { DEAD_LETTER_REASON_BYTES_MAX, DEAD_LETTERS_BYTES_MAX, DEAD_LETTERS_MAX } from '../limits.ts'
import { decodeEvent } from './decode-event.ts'
import type { Kept } from './environment.ts'
import type { Counters } from './progress.ts'
import type { Snapshot } from './store.ts'

const TIME_DIGITS = 12
const PARTITION_DIGITS = 2
const NUMBER_DIGITS = 10
const form = /^[0-9a-f]{24}$/
const first = Buffer.of(0)
const end = Buffer.of(0xff)

/** An event that a handler could not handle. */
export interface NewLetter {
  /** Its name. */
  handler: string
  /** For people; what is longer than DEAD_LETTER_REASON_BYTES_MAX is cut. */
  reason: string
  /** Unix milliseconds at which the event was received. */
  at: number
  /** Of the request that the event came with; empty where it had none. */
  correlationId: string
  /** An encoded millrace.v1.Event. */
  event: Uint8Array
}

/** What there is to say of a letter, without its event. */
export interface Head {
  id: string
  handler: string
  reason: string
  at: number
  /** Unix milliseconds. */
  diedAt: number
  /** How often it was handled. */
  attempts: number
  correlationId: string
  /** Of the event: how many, and what it says of itself. */
  bytes: number
  type: string
  source: string
  subject: string
}

export interface Letter extends Head {
  event: Buffer
}

/** What is asked of whoever owns letters. */
export interface Order {
  act: 'replay' | 'drop'
  ids: string[]
}

/**
 * What became of a letter: `failed`: its handler could not handle it again, and it stays, with the reason; `unknown`:
 * there is none of this id; `refused`: nothing was done, for this reason.
 */
export type Outcome =
  | { id: string; outcome: 'replayed' | 'dropped' | 'unknown' }
  | { id: string; outcome: 'failed'; reason: string }
  | { id: string; outcome: 'refused'; code: ProblemCode; reason: string }

/** The part of a commit, and of one store or several, that is needed here. */
export interface LetterBatch {
  put(to: Kept, key: Buffer, value: Buffer): void
  remove(from: Kept, key: Buffer): void
}
export interface LetterSource {
  get(from: Kept, key: Buffer): Buffer | Buffer[] | undefined
}

/** Those that one partition's owner keeps. What is done to them is part of its next commit. */
export class DeadLetters {
  readonly #store: LetterSource
  readonly #partition: number
  readonly #counters: Counters
  readonly #lettersMax: number
  readonly #bytesMax: number
  /** Bytes by id, the oldest first. */
  readonly #kept = new Map<string, number>()
  #bytes = 0
  #lastDiedAt = 0
  /** Since the last `write`; undefined: removed. */
  #changed = new Map<string, { head: Head; event?: Buffer } | undefined>()
  /** The one that was added last, until whoever tells of it sets it to undefined. */
  newest: { id: string; handler: string; correlationId: string } | undefined
  /** How many had to go because there were too many; whoever tells of them sets it to 0. */
  left = 0

  /** `counters`: of this partition, which count with it. */
  constructor(
    store: LetterSource & { snapshot(): Snapshot },
    partition: number,
    counters: Counters,
    { lettersMax = DEAD_LETTERS_MAX, bytesMax = DEAD_LETTERS_BYTES_MAX } = {},
  ) {
    this.#store = store
    this.#partition = partition
    this.#counters = counters
    this.#lettersMax = lettersMax
    this.#bytesMax = bytesMax
    const snapshot = store.snapshot()
    for (const { id, bytes, diedAt } of heads(snapshot)) {
      this.#keep(id, bytes)
      this.#lastDiedAt = diedAt
    }
    snapshot.done()
  }

  get size(): number {
    return this.#kept.size
  }

  has(id: string): boolean {
    return this.#kept.has(id)
  }

  /** Of one that is committed. */
  get(id: string): Letter | undefined {
    return this.has(id) ? readLetter(this.#store, id) : undefined
  }

  /** `now`: Unix milliseconds. Returns the letter's id. The event is copied. */
  add({ handler, reason, at, correlationId, event }: NewLetter, now: number): string {
    this.#lastDiedAt = Math.max(this.#lastDiedAt, now) // a clock that was set back would mix up their order
    const diedAt = this.#lastDiedAt
    const id = idOf(diedAt, this.#partition, this.#counters.deadLetters++)
    const { type, source, subject } = decodeEvent(event)
    const about = { type, source, subject, bytes: event.length }
    const head = { id, handler, reason: cut(reason), at, diedAt, attempts: 1, correlationId, ...about }
    this.#changed.set(id, { head, event: Buffer.from(event) })
    this.newest = { id, handler, correlationId }
    this.#keep(id, event.length)
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= this.#lettersMax && (this.#bytes <= this.#bytesMax || oldest === id)) break
      this.#forget(oldest)
      this.#counters.deadLettersLeft++
      this.left++
    }
    return id
  }

  /** It was handled again, in vain. */
  failedAgain(letter: Letter, reason: string): void {
    if (!this.has(letter.id)) return
    const { event: _, ...head } = letter
    this.#changed.set(letter.id, { head: { ...head, reason: cut(reason), attempts: head.attempts + 1 } })
  }

  /** False where there is none of this id. */
  remove(id: string, why: 'replayed' | 'dropped'): boolean {
    if (!this.#forget(id)) return false
    if (why === 'replayed') this.#counters.deadLettersReplayed++
    else this.#counters.deadLettersDropped++
    return true
  }

  /** Puts what has changed since the last call into a commit. The counters are put by whoever has them. */
  write(batch: LetterBatch): void {
    for (const [id, letter] of this.#changed) {
      const key = Buffer.from(id)
      if (letter === undefined) {
        batch.remove('letters', key)
        batch.remove('letterEvents', key)
        continue
      }
      const { id: _, diedAt: __, ...head } = letter.head // they are in the key
      batch.put('letters', key, Buffer.from(JSON.stringify(head)))
      if (letter.event !== undefined) batch.put('letterEvents', key, letter.event)
    }
    this.#changed = new Map()
  }

  #keep(id: string, bytes: number): void {
    this.#kept.set(id, bytes)
    this.#bytes += bytes
  }

  #forget(id: string): boolean {
    const bytes = this.#kept.get(id)
    if (bytes === undefined) return false
    this.#kept.delete(id)
    this.#bytes -= bytes
    this.#changed.set(id, undefined)
    return true
  }
}

export function isLetterId(id: string): boolean {
  return form.test(id)
}

/** The partition that has the letter of this id. */
export function partitionOf(id: string): number {
  return Number.parseInt(id.slice(TIME_DIGITS, TIME_DIGITS + PARTITION_DIGITS), 16)
}

export function readLetter(source: LetterSource, id: string): Letter | undefined {
  if (!isLetterId(id)) return undefined
  const key = Buffer.from(id)
  const [head] = [source.get('letters', key) ?? []].flat()
  const [event] = [source.get('letterEvents', key) ?? []].flat()
  return head === undefined || event === undefined ? undefined : { ...headOf(id, head), event }
}

/** Those whose id is past `after`, the oldest first. */
export function* heads(snapshot: Snapshot, after = ''): Iterable<Head> {
  const start = after === '' ? first : Buffer.from(`${after}\0`)
  for (const { key, value } of snapshot.kept('letters', start, end)) yield headOf(key.toString(), value)
}

function headOf(id: string, value: Buffer): Head {
  return { id, diedAt: Number.parseInt(id.slice(0, TIME_DIGITS), 16), ...JSON.parse(value.toString()) }
}

function idOf(diedAt: number, partition: number, number: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')
  return hex(diedAt, TIME_DIGITS) + hex(partition, PARTITION_DIGITS) + hex(number, NUMBER_DIGITS)
}

/** The beginning of a text that is too long, without half a character. */
function cut(reason: string): string {
  const bytes = Buffer.from(reason)
  if (bytes.length <= DEAD_LETTER_REASON_BYTES_MAX) return reason
  return bytes.toString('utf8', 0, DEAD_LETTER_REASON_BYTES_MAX).replace(/\uFFFD+$/, '')
}
