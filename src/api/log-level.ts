// /log-level on the admin port: how much the processes log, read and changed while they run.
//
//   GET                            {"configured":"info","levels":{"primary":"info","listener":"debug",…}}
//   PUT ?level=debug&role=listener  the same in a JSON body: {"level":"debug","role":"listener"}; without a role, of all
//   DELETE ?role=listener          as configured again
//
// All three answer with what is in force then. A change lasts until the daemon is restarted or reloaded; a worker that is
// started again meanwhile has it too.

import type { IncomingMessage } from 'node:http'
import type { Config } from '../config/config.ts'
import { didYouMean } from '../config/nearest.ts'
import { Problem } from '../errors.ts'
import { LOG_LEVEL_BODY_BYTES_MAX } from '../limits.ts'
import { type Role, roles } from '../telemetry/catalogue.ts'
import type { AdminRoute } from './admin.ts'

export type Level = Config['logging']['level']
export const levels: readonly Level[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace']

export interface LogLevels {
  readonly configured: Level
  of(role: Role): Level
  /** Undefined: as configured. */
  set(role: Role, level: Level | undefined): void
}

export function logLevelRoute(logLevels: LogLevels): AdminRoute {
  return {
    methods: ['GET', 'HEAD', 'PUT', 'DELETE'],
    async answer(request, response, { searchParams }) {
      if (request.method === 'PUT' || request.method === 'DELETE') {
        const asked = { ...Object.fromEntries(searchParams), ...(await bodyOf(request)) }
        change(logLevels, asked, request.method === 'DELETE')
      }
      const inForce = Object.fromEntries(roles.map((role) => [role, logLevels.of(role)]))
      const text = JSON.stringify({ configured: logLevels.configured, levels: inForce })
      response.writeHead(200, { 'content-type': 'application/json' }).end(text)
    },
  }
}

function change(logLevels: LogLevels, asked: Record<string, unknown>, back: boolean): void {
  const names = back ? ['role'] : ['level', 'role']
  for (const name of Object.keys(asked)) {
    if (names.includes(name)) continue
    throw new Problem('malformed', `there is no ${name} here${didYouMean(name, names)}`)
  }
  const level = back ? undefined : oneOf('level', asked.level, levels)
  const of = asked.role === undefined ? roles : [oneOf('role', asked.role, roles)]
  for (const role of of) logLevels.set(role, level)
}

function oneOf<T extends string>(name: string, given: unknown, choices: readonly T[]): T {
  const choice = choices.find((one) => one === given)
  if (choice !== undefined) return choice
  if (given === undefined) throw new Problem('malformed', `${name} is missing: one of ${choices.join(', ')}`)
  const near = typeof given === 'string' ? didYouMean(given, choices) : ''
  throw new Problem(
    'malformed',
    `${name}: one of ${choices.join(', ')}, not ${JSON.stringify(given)?.slice(0, 40)}${near}`,
  )
}

/** An object, empty where there is no body. */
async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > LOG_LEVEL_BODY_BYTES_MAX) {
      throw new Problem('too-large', `a body of ${LOG_LEVEL_BODY_BYTES_MAX} bytes is more than enough here`)
    }
  }
  if (text === '') return {}
  try {
    const parsed = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed
  } catch {
    // told below
  }
  throw new Problem('malformed', 'the body is no JSON object, such as {"level":"debug"}')
}
