// `millrace start`: the daemon.

import { DEFAULT_FILE, loadConfig } from '../config/load.ts'
import type { Command } from './command.ts'

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
    set: { value: 'KEY=VALUE', repeatable: true, help: 'set one key, such as log.kind=memory' },
  },
  notes:
    'MILLRACE_LOG__KIND=memory in the environment sets log.kind. The environment wins over the file, --set over both.',
  async run(words, io) {
    const loaded = loadConfig({ file: words.text('config'), env: io.env, sets: words.all('set') })
    // Only here: the other commands do without the daemon's code.
    const daemon = await import('../daemon/primary.ts')
    return daemon.start(loaded.config, loaded.file === undefined ? {} : { file: loaded.file })
  },
}
