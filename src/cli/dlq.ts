// `millrace dlq`: dead letters: the events that handlers could not handle.

import type { Client } from '../client/client.ts'
import type { LettersFilter } from '../client/letters.ts'
import { QUERY_ROWS_MAX } from '../limits.ts'
import { asking, daemonOptions } from './client.ts'
import { type Command, type Io, UsageError, type Words } from './command.ts'
import { lettersLine } from './status.ts'
import { formatNumber, printable, Table } from './table.ts'

type Act = 'replay' | 'drop'
const KINDS_SHOWN = 20
const filters = ['handler', 'reason']

/** What is done with letters, and which options it takes beside those of every command. */
const verbs: Record<
  string,
  { options: string[]; run(words: Words, io: Io, client: Client): Promise<number> }
> = {
  ls: { options: [...filters, 'limit', 'all'], run: list },
  show: { options: [], run: show },
  replay: { options: [...filters, 'all'], run: (words, io, client) => change('replay', words, io, client) },
  drop: { options: [...filters, 'all'], run: (words, io, client) => change('drop', words, io, client) },
}

export const dlq: Command = {
  name: 'dlq',
  operands: 'ls|show|replay|drop [ID…]',
  arity: [1, Number.POSITIVE_INFINITY],
  summary: 'dead letters: list them, show some, have them handled again, drop them',
  options: {
    handler: { value: 'NAME', help: 'only those of this handler; * at either end stands for anything' },
    reason: { value: 'TEXT', help: 'only those that died for this reason; * as above' },
    limit: { value: 'LETTERS', help: `ls: how many, 1 to ${QUERY_ROWS_MAX}` },
    all: { help: 'ls: however many; replay, drop: all there are' },
    json: { help: 'print JSON' },
    ...daemonOptions,
  },
  notes:
    'replay and drop take IDs, or --handler and --reason, or --all. What a handler cannot handle again stays, with the\n' +
    'new reason, and the exit code is 1.',
  async run(words, io) {
    const [name] = words.operands
    const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined
    if (verb === undefined) throw new UsageError(`${name}: one of ${Object.keys(verbs).join(', ')}`)
    const stray = [...filters, 'limit', 'all'].find((option) => {
      return words.flag(option) && !verb.options.includes(option)
    })
    if (stray !== undefined) throw new UsageError(`${name} takes no --${stray}`)
    return asking(words, io, (client) => verb.run(words, io, client))
  },
}

async function list(words: Words, io: Io, client: Client): Promise<number> {
  if (words.operands.length > 1) throw new UsageError('ls takes no ID: show prints one')
  const all = words.flag('all')
  const limit = words.flag('limit') ? words.count('limit', 0, 1, QUERY_ROWS_MAX) : undefined
  if (all && limit !== undefined) throw new UsageError('--all and --limit do not go together')
  const query = { ...filter(words), limit: all ? QUERY_ROWS_MAX : limit }
  const table = new Table(['id', 'died', 'handler', 'attempts', 'type', 'subject', 'bytes', 'reason'])
  let page = await client.deadLetters(query)
  const { kinds = [], otherKinds = 0 } = page
  if (words.flag('json')) {
    const { letters } = page
    while (all && page.cursor !== undefined) {
      page = await client.deadLetters({ ...query, cursor: page.cursor })
      letters.push(...page.letters)
    }
    io.stdout.write(`${JSON.stringify({ ...page, letters, kinds, otherKinds })}\n`)
    return 0
  }
  for (;;) {
    const rows = page.letters.map((letter) => [
      letter.id,
      letter.diedAt,
      letter.handler,
      letter.attempts,
      letter.type,
      letter.subject ?? '-',
      letter.bytes,
      letter.reason,
    ])
    if (rows.length > 0) io.stdout.write(table.page(rows))
    if (!all || page.cursor === undefined) break
    page = await client.deadLetters({ ...query, cursor: page.cursor })
  }
  if (kinds.length > 0) {
    const shown = kinds.slice(0, KINDS_SHOWN)
    const rest = kinds.slice(KINDS_SHOWN).reduce((sum, { count }) => sum + count, otherKinds)
    const counts = shown.map(({ count, handler, reason }) => [count, handler, reason])
    const others = rest > 0 ? [[rest, '(others)', '(others)']] : []
    io.stdout.write(`\n${new Table(['count', 'handler', 'reason']).page([...counts, ...others])}\n`)
  }
  io.stdout.write(`${lettersLine(page)}\n`)
  if (page.cursor !== undefined) io.stderr.write('there are more dead letters: --all prints them\n')
  return 0
}

async function show(words: Words, io: Io, client: Client): Promise<number> {
  const ids = words.operands.slice(1)
  if (ids.length === 0) throw new UsageError('show: which ID? ls lists them')
  for (const id of ids) {
    const letter = await client.deadLetter(id)
    const text = words.flag('json') ? JSON.stringify(letter) : printable(JSON.stringify(letter, null, 2))
    io.stdout.write(`${text}\n`)
  }
  return 0
}

async function change(act: Act, words: Words, io: Io, client: Client): Promise<number> {
  const ids = words.operands.slice(1)
  const all = words.flag('all')
  const filtered = filters.some((name) => words.flag(name))
  if ([ids.length > 0, all, filtered].filter(Boolean).length !== 1) {
    throw new UsageError(
      `${act}: which? Give IDs, or --handler and --reason, or --all, and only one of these`,
    )
  }
  const done = await client[act](ids.length > 0 ? ids : all ? 'all' : filter(words))
  const { replayed, dropped, failed, refused, failures } = done
  if (words.flag('json')) io.stdout.write(`${JSON.stringify(done)}\n`)
  else {
    for (const { id, reason } of failures) io.stderr.write(printable(`${id}  ${reason}\n`))
    const told = [`${act === 'replay' ? 'replayed' : 'dropped'} ${formatNumber(replayed + dropped)}`]
    if (failed > 0) told.push(`${formatNumber(failed)} could not be handled again, and stay`)
    if (refused > 0) told.push(`${formatNumber(refused)} were refused, and stay`)
    io.stdout.write(`${told.join('; ')}\n`)
  }
  return failed + refused > 0 ? 1 : 0
}

function filter(words: Words): LettersFilter {
  return { handler: words.text('handler'), reason: words.text('reason') }
}
