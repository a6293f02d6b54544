// The levels of the logs, by role: as configured, and changed while the daemon runs, until it is restarted or reloaded.

import type { Level, LogLevels } from '../api/log-level.ts'
import { type Role, roles } from '../telemetry/catalogue.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Link, RoleName } from './link.ts'

export class Levels implements LogLevels {
  readonly #logger: Logger
  #configured: Level
  readonly #set = new Map<Role, Level>()
  readonly #workers = new Map<Link, RoleName>()

  /** `logger`: the primary's own. */
  constructor(logger: Logger, configured: Level) {
    this.#logger = logger
    this.#configured = configured
  }

  get configured(): Level {
    return this.#configured
  }

  of(role: Role): Level {
    return this.#set.get(role) ?? this.#configured
  }

  /** Undefined: as configured. */
  set(role: Role, level: Level | undefined): void {
    if (level !== this.#set.get(role)) {
      this.#logger.info({ of: role, to: level ?? this.#configured }, 'the level of the log changes')
    }
    if (level === undefined) this.#set.delete(role)
    else this.#set.set(role, level)
    this.#tell(role)
  }

  /** After a reload. */
  reset(configured: Level): void {
    this.#configured = configured
    this.#set.clear()
    for (const role of roles) this.#tell(role)
  }

  /** One that starts begins with what is configured, and is told where that is not in force. */
  attach(role: RoleName, link: Link): void {
    this.#workers.set(link, role)
    link.onMessage(({ type }) => {
      const level = this.#set.get(role)
      if (type === 'hello' && level !== undefined) link.send({ type: 'level', level })
    })
  }

  detach(link: Link): void {
    this.#workers.delete(link)
  }

  #tell(role: Role): void {
    const level = this.of(role)
    if (role === 'primary') this.#logger.level = level
    for (const [link, its] of this.#workers) if (its === role) link.send({ type: 'level', level })
  }
}
