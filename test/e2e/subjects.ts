// Clients whose events are of very many subjects, and what must come of them: each subject's numbers in each minute.

import assert from 'node:assert/strict'
import { Client, type Sent } from './client.ts'
import type { Daemon } from './daemon.ts'
import { generator } from './random.ts'

export const SUBJECTS = 30_000
const MINUTES = 2
export const MINUTE_MS = 60_000
/** Of so many subjects one makes a key, with its source, that is longer than a key of the store. */
const LONG_EACH = 1500
const LONG_CHARACTERS = 1000
const BODY_EVENTS = 300

export interface Numbers {
  count: number
  sum: number
  min: number
  max: number
}

/** By subject, or by subject and minute. */
export type Table = Map<string, Numbers>

/** Of the measure; those of one source each. */
export const by = ['subject', 'source']

/** A row as it is answered. */
export interface Answered extends Numbers {
  key: string[]
  windowStart: string
}

export function subjectOf(n: number): string {
  const name = `s${String(n).padStart(5, '0')}`
  return n % LONG_EACH === 0 ? name.padEnd(LONG_CHARACTERS, '.') : name
}

/** Sends whole numbers of random subjects, and in the long run of every one, and knows what was acknowledged. */
export class Subjects extends Client {
  readonly #random: ReturnType<typeof generator>
  readonly #table: Table
  readonly #room: () => Promise<void>
  #next: number

  /** `table`: may be of several clients. A body is sent when `room` has resolved. */
  constructor(daemon: Daemon, name: string, seed: number, table: Table, room: () => Promise<void>) {
    super(daemon, name, seed)
    this.#random = generator(seed)
    this.#table = table
    this.#room = room
    this.#next = this.#random.between(0, SUBJECTS - 1)
  }

  protected override async events(): Promise<Sent[]> {
    await this.#room()
    const { between } = this.#random
    return Array.from({ length: BODY_EVENTS }, (_, i) => {
      const n = i % 2 === 0 ? between(0, SUBJECTS - 1) : this.#next++ % SUBJECTS
      const timeUnixNano = between(0, MINUTES - 1) * MINUTE_MS * 1e6 + 1
      const source = n % LONG_EACH === 0 ? 'source'.padEnd(LONG_CHARACTERS, '.') : 'source'
      return { subject: subjectOf(n), source, value: between(-1000, 1000), timeUnixNano }
    })
  }

  protected override took(events: Sent[]): void {
    for (const { subject, value, timeUnixNano } of events) {
      const minute = Math.floor(Number(timeUnixNano) / 1e6 / MINUTE_MS)
      add(this.#table, `${subject} ${minute}`, { count: 1, sum: value, min: value, max: value })
    }
  }
}

function add(table: Table, key: string, more: Numbers): void {
  const row = table.get(key)
  if (row === undefined) {
    table.set(key, { ...more })
    return
  }
  row.count += more.count
  row.sum += more.sum
  row.min = Math.min(row.min, more.min)
  row.max = Math.max(row.max, more.max)
}

/** Minutes folded. */
export function bySubject(table: Table): Table {
  const folded: Table = new Map()
  for (const [key, numbers] of table) add(folded, key.slice(0, key.lastIndexOf(' ')), numbers)
  return folded
}

/** All rows of a measure as the daemon answers them, page by page: none twice, and in order. */
export async function walk(daemon: Daemon, { merge = false, limit = 10_000 } = {}): Promise<Answered[]> {
  const rows: Answered[] = []
  let cursor: string | undefined
  do {
    const more = cursor === undefined ? '' : `&cursor=${cursor}`
    const page = await daemon.get(`/v1/measures/by-subject?limit=${limit}&merge=${merge}${more}`)
    assertInOrder(page.rows, rows.at(-1))
    rows.push(...page.rows)
    cursor = page.cursor
  } while (cursor !== undefined)
  return rows
}

export function assertInOrder(rows: readonly Answered[], before?: Answered): void {
  let last = before
  for (const row of rows) {
    if (last !== undefined) assert.ok(comesBefore(last, row), `${nameOf(last)} and then ${nameOf(row)}`)
    last = row
  }
}

function comesBefore(a: Answered, b: Answered): boolean {
  return a.key[0] === b.key[0] ? a.windowStart < b.windowStart : a.key[0] < b.key[0]
}

export function nameOf({ key, windowStart }: Answered): string {
  return `${key[0]} ${Date.parse(windowStart) / MINUTE_MS}`
}

/** Answered rows are these, no fewer and no others, whether or not their minutes are folded. */
export function assertSame(rows: readonly Answered[], table: Table, folded: boolean): void {
  const wrong: string[] = []
  for (const { count, sum, min, max, ...row } of rows) {
    const name = folded ? row.key[0] : nameOf({ count, sum, min, max, ...row })
    const numbers = table.get(name)
    const same = numbers?.count === count && numbers.sum === sum && numbers.min === min && numbers.max === max
    if (!same)
      wrong.push(
        `${name.slice(0, 20)}: ${JSON.stringify({ count, sum, min, max })}, not ${JSON.stringify(numbers)}`,
      )
  }
  const [first] = wrong
  assert.equal(wrong.length, 0, `${wrong.length} rows of ${rows.length} are wrong; ${first}`)
  assert.equal(rows.length, table.size)
}

/** Every way to ask tells what was acknowledged. */
export async function assertExact(daemon: Daemon, table: Table): Promise<void> {
  const folded = bySubject(table)
  assertSame(await walk(daemon), table, false)
  assertSame(await walk(daemon, { merge: true, limit: 7_777 }), folded, true)
  for (const by of ['count', 'sum', 'max'] as const) {
    const { rows } = await daemon.get(`/v1/measures/by-subject/top?by=${by}&limit=100`)
    const most = [...folded].sort(([a, x], [b, y]) => y[by] - x[by] || (a < b ? -1 : 1)).slice(0, 100)
    assertSame(rows, new Map(most), true)
    assert.deepEqual(
      rows.map(({ key }: Answered) => key[0]),
      most.map(([subject]) => subject),
      `the most by ${by}`,
    )
  }
}
