// `millrace log-level`: how much the daemon logs, shown and changed while it runs.

import { levels } from '../api/log-level.ts'
import { didYouMean } from '../config/nearest.ts'
import { roles } from '../telemetry/catalogue.ts'
import { Admin, adminOption } from './admin.ts'
import { daemonOptions } from './client.ts'
import { type Command, UsageError, type Words } from './command.ts'
import { Table } from './table.ts'

const CONFIGURED = 'configured'

export const logLevel: Command = {
  name: 'log-level',
  operands: '[LEVEL]',
  arity: [0, 1],
  summary: 'show how much the daemon logs, or change it until it is restarted or reloaded',
  options: {
    role: { value: 'ROLE', help: `of ${roles.join(', ')} only (default: of all)` },
    json: { help: 'print JSON' },
    admin: adminOption,
    'auth-key': daemonOptions['auth-key'],
  },
  notes: `LEVEL is one of ${levels.join(', ')}; or ${CONFIGURED}, which undoes all changes.`,
  async run(words, io) {
    const response = await new Admin(words, io).ask(...requestOf(words))
    const answer = (await response.json()) as { configured: string; levels: Record<string, string> }
    if (words.flag('json')) io.stdout.write(`${JSON.stringify(answer)}\n`)
    else io.stdout.write(new Table(['role', 'level']).page(Object.entries(answer.levels)))
    return 0
  },
}

function requestOf(words: Words): [path: string, init: RequestInit] {
  const [level] = words.operands
  const role = words.choice('role', roles)
  const query = new URLSearchParams(role === undefined ? {} : { role })
  if (level === undefined) {
    if (role !== undefined) throw new UsageError('--role says whose level changes: to which LEVEL?')
    return ['/log-level', {}]
  }
  if (level === CONFIGURED) return [`/log-level?${query}`, { method: 'DELETE' }]
  const known = [...levels, CONFIGURED]
  if (!known.includes(level)) {
    throw new UsageError(`${level}: one of ${known.join(', ')}${didYouMean(level, known)}`)
  }
  query.set('level', level)
  return [`/log-level?${query}`, { method: 'PUT' }]
}
