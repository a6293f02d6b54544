// `millrace status`: where the daemon stands.

import type { Status } from '../client/answers.ts'
import { asking, daemonOptions } from './client.ts'
import type { Command } from './command.ts'
import { formatBytes, formatNumber, printable, Table } from './table.ts'

export const status: Command = {
  name: 'status',
  operands: '',
  arity: [0, 0],
  summary: 'print what was accepted and processed, and the processes',
  options: { json: { help: 'print JSON' }, ...daemonOptions },
  async run(words, io) {
    const answer = await asking(words, io, (client) => client.status())
    io.stdout.write(words.flag('json') ? `${JSON.stringify(answer)}\n` : describe(answer))
    return 0
  },
}

function describe(status: Status): string {
  const { accepted, processed, deadLetters, handlers = [], lag, log, roles, reload } = status
  const events = (count: { events: number; frames?: number }) => {
    const frames = count.frames === undefined ? '' : ` in ${formatNumber(count.frames)} bodies`
    return `${formatNumber(count.events)} events${frames}`
  }
  const lines = [`accepted    ${events(accepted)}`, `processed   ${events(processed)}`]
  if (processed.duplicates?.frames) lines.push(`duplicates  ${events(processed.duplicates)}`)
  if (processed.damaged?.events) lines.push(`damaged     ${events(processed.damaged)}`)
  if (deadLetters?.total) lines.push(`letters     ${lettersLine(deadLetters)}`)
  const behind = `${formatBytes(lag.bytes)}, ${formatNumber(lag.seconds)} s`
  lines.push(`lag         ${lag.events === 0 ? 'none' : `${events(lag)} (${behind})`}`)
  lines.push(`log         ${log.kind}, ${log.durability}`)
  if (reload !== undefined) {
    lines.push(
      `reload      ${reload.outcome}, ${reload.at}`,
      ...reload.problems.map((one) => `            ${one}`),
    )
    if (reload.needsRestart.length > 0)
      lines.push(`            needs a restart: ${reload.needsRestart.join(', ')}`)
  }
  for (const { name, handled, dropped, deadLettered } of handlers) {
    const counts = [`handled ${formatNumber(handled)}`, `dead letters ${formatNumber(deadLettered)}`]
    for (const [reason, events] of Object.entries(dropped))
      counts.push(`dropped ${formatNumber(events)}: ${reason}`)
    lines.push(`handler     ${name}: ${counts.join(', ')}`)
  }
  lines.push('')
  const rows = roles.map(({ role, pid, ready, restarts }) => [
    role,
    String(pid),
    ready === false ? 'no' : 'yes',
    restarts ?? 0,
  ])
  const table = new Table(['role', 'pid', 'ready', 'restarts'])
  return `${printable(lines.join('\n'))}\n${table.page(rows)}`
}

/** Of dead letters, for people. */
export function lettersLine({ kept, total, left }: { kept: number; total: number; left: number }): string {
  const gone = left > 0 ? `; ${formatNumber(left)} have left, for there were too many` : ''
  return `${formatNumber(kept)} dead letters kept of ${formatNumber(total)} that there were${gone}`
}
