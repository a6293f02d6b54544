// `millrace start`: the daemon.

import { DEFAULT_FILE, loadConfig } from '../config/load.ts'
import type { Roles } from '../daemon/primary.ts'
import { type Command, UsageError } from './command.ts'

const roleNames = ['ingest', 'processor', 'gateway'] as const

export const start: Command = {
  name: 'start',
  operands: '',
  arity: [0, 0],
  summary: 'run the daemon until SIGTERM or Ctrl-C',
  options: {
    config: {
      value: 'FILE',
      help: `read the configuration from FILE (default: ${DEFAULT_FILE}, if it is there)`,
    },
    roles: {
      value: 'ROLES',
      help: `run only these, with commas between: ${roleNames.join(', ')} (default: all)`,
    },
    set: { value: 'KEY=VALUE', repeatable: true, help: 'set one key, such as log.kind=memory' },
  },
  notes:
    'MILLRACE_LOG__KIND=memory in the environment sets log.kind. The environment wins over the file, --set over both.',
  async run(words, io) {
    const load = (more: readonly string[] = []) =>
      loadConfig({ file: words.text('config'), env: io.env, sets: [...words.all('set'), ...more] })
    const loaded = load()
    const roles = rolesOf(words.text('roles'))
    // Only here: the other commands do without the daemon's code.
    const daemon = await import('../daemon/primary.ts')
    const { withPlans } = await import('../processor/handler-check.ts')
    return daemon.start(await withPlans(loaded.config), {
      load: async (more) => withPlans(load(more).config),
      ...(loaded.file === undefined ? {} : { file: loaded.file }),
      ...(roles === undefined ? {} : { roles }),
    })
  },
}

function rolesOf(text: string | undefined): Roles | undefined {
  if (text === undefined) return undefined
  const roles = text.split(',').map((name) => {
    const role = roleNames.find((known) => known === name.trim())
    if (role === undefined) {
      throw new UsageError(`--roles ${text}: ${name.trim() || 'nothing'} is none of ${roleNames.join(', ')}`)
    }
    return role
  })
  return [...new Set(roles)]
}
